"""The images and the compose file: parsed, and checked against what the package really has."""

import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest
from dockerfile_parse import DockerfileParser
from jsonschema import ValidationError, validate
from ruamel.yaml import YAML

from tests.launch.schemas import COMPOSE

ROOT = Path(__file__).parent.parent.parent
DOCKER = ROOT / "docker"
DOCKERFILES = sorted(DOCKER.glob("*.Dockerfile"))
CONTROLLER = ("cluster", "postgres", "server", "metrics")
"""Extras of the controller's image, and those that they bring."""
INSTRUCTIONS = {
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
    "COMMENT",
}


def parsed(file: Path) -> list[dict[str, Any]]:
    with file.open("rb") as stream:
        return list(DockerfileParser(fileobj=stream).structure)


def compose() -> dict[str, Any]:
    return dict(YAML(typ="safe").load(DOCKER / "compose.yml"))


@pytest.mark.parametrize("file", DOCKERFILES, ids=lambda file: file.name)
def test_a_dockerfile_has_known_instructions_alone_and_starts_from_an_image(file: Path) -> None:
    steps = [step["instruction"] for step in parsed(file)]
    assert set(steps) <= INSTRUCTIONS
    assert next(step for step in steps if step not in {"COMMENT", "ARG"}) == "FROM"
    assert steps.count("CMD") == 1


@pytest.mark.parametrize("file", DOCKERFILES, ids=lambda file: file.name)
def test_an_image_copies_what_exists_and_all_that_the_wheel_needs(file: Path) -> None:
    copied = set()
    for step in parsed(file):
        if step["instruction"] == "COPY":
            copied |= set(shlex.split(step["value"])[:-1])
    assert all((ROOT / name).exists() for name in copied)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = {*wheel["packages"], *wheel["force-include"], project["project"]["readme"]}
    assert {*needed, "pyproject.toml"} <= copied


@pytest.mark.parametrize("file", DOCKERFILES, ids=lambda file: file.name)
def test_an_image_installs_extras_that_the_package_has_and_ends_as_no_root(file: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    steps = parsed(file)
    installs = " ".join(step["value"] for step in steps if step["instruction"] == "RUN")
    (extras,) = re.findall(r'"\.\[([\w,]+)\]"', installs)
    assert set(extras.split(",")) <= set(project["optional-dependencies"])
    assert [step["value"] for step in steps if step["instruction"] == "USER"][-1] == "evomerge"


def test_the_controller_s_image_brings_no_engine() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
        "optional-dependencies"
    ]
    text = (DOCKER / "controller.Dockerfile").read_text(encoding="utf-8")
    assert '".[cluster,postgres,server]"' in text
    heavy = re.compile(r"torch|vllm|lm-eval|transformers|accelerate|evomerge\[(?!metrics)")
    brought = [name for extra in CONTROLLER for name in extras[extra]]
    assert not [name for name in brought if heavy.match(name)]


def test_compose_has_keys_of_its_specification_and_no_others() -> None:
    validate(compose(), COMPOSE)


def test_a_misspelt_key_of_compose_is_found_so_the_schema_means_something() -> None:
    content = compose()
    content["services"]["worker"]["shm-size"] = "8gb"
    with pytest.raises(ValidationError, match="shm-size"):
        validate(content, COMPOSE)


def test_services_that_stay_have_a_health_check_and_all_have_limits() -> None:
    for name, service in compose()["services"].items():
        assert service["deploy"]["resources"]["limits"]["memory"], name
        assert ("healthcheck" in service) == (service["restart"] != "no"), name


def test_the_server_is_given_options_that_serve_has() -> None:
    import typer.main

    from evomerge.cli.app import app

    server = typer.main.get_command(app).commands["serve"]
    known = {option for parameter in server.params for option in parameter.opts}
    command, *given = compose()["services"]["server"]["command"]
    assert command == "serve"
    assert {option.split("=")[0] for option in given} <= known


def test_services_wait_only_for_services_that_can_be_waited_for() -> None:
    services = compose()["services"]
    for service in services.values():
        for other, wanted in service.get("depends_on", {}).items():
            if wanted["condition"] == "service_healthy":
                assert "healthcheck" in services[other]
            else:
                assert wanted["condition"] == "service_completed_successfully"
                assert services[other]["restart"] == "no"


def test_compose_builds_the_dockerfiles_that_are_there() -> None:
    services = compose()["services"].values()
    built = {s["build"]["dockerfile"] for s in services if "build" in s}
    assert built == {f"docker/{file.name}" for file in DOCKERFILES}
    assert all((DOCKER / s["build"]["context"]).resolve() == ROOT for s in services if "build" in s)


def test_named_volumes_are_declared() -> None:
    content = compose()
    used = {v.split(":")[0] for s in content["services"].values() for v in s.get("volumes", [])}
    named = {volume for volume in used if re.fullmatch(r"[a-z]+", volume)}
    assert named == set(content["volumes"])


def test_no_port_is_open_to_other_machines_and_no_secret_has_a_default() -> None:
    content = compose()
    ports = [port for s in content["services"].values() for port in s.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)
    text = (DOCKER / "compose.yml").read_text(encoding="utf-8")
    for secret in ("POSTGRES_PASSWORD", "RAY_AUTH_TOKEN"):
        assert set(re.findall(rf"\$\{{{secret}(.*?)\}}", text)) == {f":?set {secret}"}
