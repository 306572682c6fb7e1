"""Every example runs as it stands; what starts servers, Rays or many processes is with the slow tests."""

from __future__ import annotations

import os
import runpy
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from evomerge.cli.exits import run
from tests.docs.blocks import ROOT

EXAMPLES = ROOT / "examples"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with the tiny models and search.yml."""
    monkeypatch.chdir(tmp_path)
    script("models.py", ".", monkeypatch=monkeypatch)
    return tmp_path


def script(name: str, *arguments: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run an example in Python in this process, as `python examples/NAME`."""
    monkeypatch.setattr(sys, "argv", [name, *arguments])
    runpy.run_path(str(EXAMPLES / name), run_name="__main__")


def environment(**more: str) -> dict[str, str]:
    """Where `python` and `evomerge` are those of the tests."""
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": programs, **more}


def shell(name: str, folder: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """Run an example in bash, in a folder."""
    command = ["bash", str(EXAMPLES / name)]
    done = subprocess.run(
        command, cwd=folder, env=environment(**more), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def package(name: str, site: Path) -> None:
    """Install an example's package into `site`, built from its pyproject.toml."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    offline = ["--no-deps", "--no-index", "--no-build-isolation", "--target", str(site)]
    subprocess.run([*pip, *offline, str(EXAMPLES / name)], check=True)


def command(*words: str, site: Path) -> subprocess.CompletedProcess[str]:
    """`evomerge`, with the packages in `site` installed."""
    return subprocess.run(
        [sys.executable, "-m", "evomerge", *words],
        env=environment(PYTHONPATH=str(site)),
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_library_example_prints_every_row_and_the_sentence(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script("library.py", "search.yml", monkeypatch=monkeypatch)
    said = capsys.readouterr().out
    assert "greedy soup" in said
    assert "trivial merge" in said


def test_the_library_example_ends_with_words_for_a_mistake(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SystemExit, match="no such file"):
        script("library.py", "nothing.yml", monkeypatch=monkeypatch)


def test_a_method_of_a_package_merges_and_is_searched(folder: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    package("custom_method", site)
    for name in ("merge.yml", "search.yml"):
        (folder / name).write_text((EXAMPLES / "custom_method" / name).read_text(encoding="utf-8"))
    merged = command("merge", "merge.yml", "merged", site=site)
    assert merged.returncode == 0, merged.stderr
    store = ("--store", str(tmp_path / "s.db"))
    searched = command("run", "search.yml", "--inline", *store, site=site)
    assert searched.returncode == 0, searched.stderr
    assert "candidate" in searched.stdout


def test_an_objective_of_a_package_is_climbed(folder: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    package("custom_objective", site)
    file = EXAMPLES / "custom_objective" / "search.yml"
    (folder / "search.yml").write_text(file.read_text(encoding="utf-8"), encoding="utf-8")
    store = ("--store", str(tmp_path / "s.db"))
    searched = command("run", "search.yml", "--inline", *store, "--search-id", "b", site=site)
    assert searched.returncode == 0, searched.stderr
    best = command("best", "--search", "b", "--limit", "1", *store, site=site)
    assert best.returncode == 0, best.stderr


def test_without_its_package_an_example_says_what_is_missing(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("custom_method", "custom_objective"):
        file = folder / f"{name}.yml"
        text = (EXAMPLES / name / "search.yml").read_text(encoding="utf-8")
        file.write_text(text, encoding="utf-8")
        assert run(["validate", str(file)]) == 2
        assert "→" in capsys.readouterr().err


@pytest.mark.parametrize("file", sorted(EXAMPLES.rglob("*")), ids=lambda file: file.name)
def test_every_example_opens_with_what_it_is_for(file: Path) -> None:
    if file.is_dir() or file.suffix in (".pyc", ".db") or "__pycache__" in file.parts:
        return
    first, *rest = file.read_text(encoding="utf-8").splitlines()
    head = rest[0] if first.startswith("#!") else first
    assert head.startswith(("# ", '"""')), f"{file.name} has no line that says what it is for"


def test_packages_of_examples_depend_on_evomerge_alone() -> None:
    for file in EXAMPLES.glob("*/pyproject.toml"):
        project = tomllib.loads(file.read_text(encoding="utf-8"))["project"]
        assert project["dependencies"] == ["evomerge"]


@pytest.mark.slow
def test_the_shell_example_runs_from_the_models_to_the_merged_one(tmp_path: Path) -> None:
    shell("command_line.sh", tmp_path)
    assert {"merged", "winner", "report.html"} <= {file.name for file in tmp_path.iterdir()}
    for name in ("merged", "winner"):
        assert (tmp_path / name / "model.safetensors").exists()
        assert (tmp_path / name / "mergekit_config.yml").exists()


@pytest.mark.slow
def test_the_cluster_example_survives_the_loss_of_a_node(tmp_path: Path) -> None:
    done = shell("cluster.sh", tmp_path, EVOMERGE_RAY_PORT=str(_free_port()))
    assert "merge_method" in done.stdout


@pytest.fixture
def server(folder: Path) -> Iterator[str]:
    """A real server on the models' folder."""
    port = _free_port()
    words = ["serve", "--port", str(port), "--inline", "--store", str(folder / "server.db")]
    process = subprocess.Popen([sys.executable, "-m", "evomerge", *words], env=environment())
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.2)
    yield f"http://127.0.0.1:{port}"
    process.terminate()
    process.wait(timeout=60)


@pytest.mark.slow
def test_the_client_example_gets_its_recipe_from_a_server(
    folder: Path, server: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EVOMERGE_SERVER", server)
    script("client.py", "search.yml", monkeypatch=monkeypatch)
    assert "merge_method" in capsys.readouterr().out


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
