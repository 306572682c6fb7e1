"""Windows: names of models mean the same there, and what it lacks is missed in one sentence."""

import ast
import sys
from pathlib import Path

import pytest

from evomerge import platforms
from evomerge.calibration.files import locked
from evomerge.errors import ResourceError
from evomerge.export.card import public_name
from evomerge.hub import is_path, parts_of, short_name

PACKAGE = Path(platforms.__file__).parent
POSIX_ONLY = {"fcntl", "grp", "pty", "pwd", "resource", "termios", "tty"}


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("C:\\models\\base", "base"),
        ("C:/models/base/", "base"),
        ("\\\\server\\share\\base", "base"),
        ("/models/base/", "base"),
        ("models/base", "base"),
        ("org/base@v1", "base@v1"),
        ("base", "base"),
        ("C:\\", "C:\\"),
    ],
)
def test_the_last_part_of_a_name_is_the_same_on_all_systems(model: str, name: str) -> None:
    assert short_name(model) == name


@pytest.mark.parametrize(
    "model", ["C:\\m\\base", "C:/m/base", "\\\\s\\share\\m", "..\\m", "/m/base"]
)
def test_paths_of_either_system_are_told_from_hub_ids(model: str) -> None:
    assert is_path(model)
    assert parts_of(model) == (model,)
    assert public_name(f"{model}+{model}") == " + ".join([short_name(model)] * 2)


@pytest.mark.parametrize("model", ["org/base", "org/base@v1", "base"])
def test_hub_ids_are_no_paths(model: str) -> None:
    assert not is_path(model)


def test_nothing_that_windows_lacks_is_imported_before_it_is_needed() -> None:
    files = list(PACKAGE.rglob("*.py"))
    assert len(files) > 400
    assert [f"{file}: {name}" for file in files for name in _early_imports(file)] == []


def _early_imports(file: Path) -> set[str]:
    """What of POSIX a file imports outside of functions."""
    found: set[str] = set()
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
    return found & POSIX_ONLY


def test_a_lock_without_posix_is_refused_with_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "fcntl", None)
    with pytest.raises(ResourceError, match="POSIX") as refused, locked(tmp_path / "lock"):
        pass
    assert "WSL" in (refused.value.remedy or "")


def test_what_needs_posix_says_so_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    platforms.require_posix("a local Ray")
    with monkeypatch.context() as windows:
        windows.setattr("os.name", "nt")
        with pytest.raises(ResourceError) as refused:
            platforms.require_posix("a local Ray")
    assert "a local Ray needs a POSIX system" in str(refused.value)
    assert "--server" in str(refused.value)


def test_a_lock_is_held_by_one_and_shared_by_several(tmp_path: Path) -> None:
    with (tmp_path / "lock").open("w") as one, (tmp_path / "lock").open("w") as other:
        assert platforms.lock(one.fileno(), shared=True)
        assert platforms.lock(other.fileno(), shared=True, wait=False)
        assert not platforms.lock(other.fileno(), wait=False)
    with (tmp_path / "lock").open("w") as last:
        assert platforms.lock(last.fileno(), wait=False)
