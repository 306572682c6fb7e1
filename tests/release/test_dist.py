"""What is published: a wheel, an sdist and a bill of materials that were looked into, and that run."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
from pathlib import Path
from types import ModuleType

import pytest

from tests.docs.blocks import ROOT


def _load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("release", ROOT / "requirements" / "release.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


release = _load()


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `make dist` makes."""
    folder = tmp_path_factory.mktemp("dist")
    assert release.main(["--out", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def installed(dist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel in an environment of its own; its dependencies are those of this one, by a path."""
    folder = tmp_path_factory.mktemp("clean")
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    site = Path(
        subprocess.check_output(
            [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], text=True
        ).strip()
    )
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]
    wheel = release.only(dist, "*.whl")
    options = ["--no-deps", "--no-index", "--disable-pip-version-check"]
    subprocess.run([*pip, *options, str(wheel)], check=True)
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    return folder


def evomerge(installed: Path, *arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the installed command, far from the checkout."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment = {**kept, "HOME": str(folder), "XDG_CACHE_HOME": str(folder / "cache")}
    command = [str(installed / "bin" / "evomerge"), *arguments]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def test_what_is_built_passes_its_own_examination(dist: Path) -> None:
    assert list(release.complaints(dist)) == []


def test_the_examination_finds_what_is_missing_and_what_does_not_belong() -> None:
    names = ["evomerge/__init__.py", "evomerge-1.dist-info/METADATA"]
    assert len(list(release.wheel_complaints(names))) == len(release.CARRIED)
    wrong = [*release.CARRIED.values(), "evomerge-1.dist-info/METADATA", "tests/test_a.py"]
    assert [line for line in release.wheel_complaints(wrong) if "tests" in line] != []
    assert any("PKG-INFO" in line for line in release.sdist_complaints(["evomerge-1/README.md"]))


def test_the_bill_of_materials_names_every_pinned_package_once(dist: Path) -> None:
    bill = json.loads(release.only(dist, "*.cdx.json").read_text(encoding="utf-8"))
    lines = (ROOT / "requirements" / "cpu.txt").read_text(encoding="utf-8").splitlines()
    pinned = {tuple(line.split("==")) for line in lines if "==" in line}
    assert {(part["name"], part["version"]) for part in bill["components"]} == pinned
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    assert "+" not in bill["metadata"]["component"]["purl"]  # of a version between two tags
    references = [part["bom-ref"] for part in bill["components"]]
    assert len(set(references)) == len(references)
    assert bill["dependencies"][0]["dependsOn"] == references


def test_the_version_is_the_tag_and_what_came_after_it(tmp_path: Path) -> None:
    """In a clone with a tag, without one, and in a folder without any history."""
    folder = tmp_path / "clone"
    folder.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)

    def git(*arguments: str) -> None:
        identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)

    def version() -> str:
        command = [sys.executable, "-m", "hatchling", "version"]
        return subprocess.check_output(command, cwd=folder, text=True).strip()

    assert version() == "0.1.0.dev0"
    git("init", "-q")
    git("add", "-A")
    git("commit", "-qm", "first")
    assert re.fullmatch(r"0\.1\.0\.dev1\+g[0-9a-f]+", version())
    git("tag", "v1.2.3")
    assert version() == "1.2.3"
    git("commit", "-qm", "second", "--allow-empty")
    assert re.fullmatch(r"1\.2\.4\.dev1\+g[0-9a-f]+", version())


def test_the_wheel_runs_in_a_clean_environment(installed: Path, dist: Path, tmp_path: Path) -> None:
    version = release.metadata_of(release.only(dist, "*.whl"))["Version"]
    said = evomerge(installed, "--version", folder=tmp_path)
    assert (said.stdout.strip(), said.stderr) == (f"evomerge {version}", "")
    where = [str(installed / "bin" / "python"), "-c", "import evomerge; print(evomerge.__file__)"]
    file = subprocess.check_output(where, cwd=tmp_path, text=True).strip()
    assert Path(file).is_relative_to(installed)
    schema = evomerge(installed, "schema", folder=tmp_path)
    assert json.loads(schema.stdout)["properties"]["base_model"]
    queries = evomerge(
        installed, "query", "--format", "json", "--store", str(tmp_path / "s.db"), folder=tmp_path
    )
    assert "best_recipes" in queries.stdout, queries.stderr


@pytest.mark.slow
def test_the_wheel_runs_the_demo(installed: Path, tmp_path: Path) -> None:
    done = evomerge(installed, "demo", "--inline", "--candidates", "6", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "merge_method" in done.stdout


def test_the_sdist_holds_the_licence_and_no_tests(dist: Path) -> None:
    with tarfile.open(release.only(dist, "*.tar.gz")) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert "LICENSE" in names
    assert not any(name.startswith("tests") for name in names)


def test_the_changelog_knows_every_released_version() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    if not (ROOT / ".git").exists():
        pytest.skip("no history here")
    tags = subprocess.check_output(["git", "tag", "--list", "v*"], cwd=ROOT, text=True).split()
    assert [tag for tag in tags if f"## {tag.removeprefix('v')}" not in text] == []
    assert "## Unreleased" in text
