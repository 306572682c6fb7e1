"""Finds the folders that ship with evomerge but live outside the package.

In a checkout `search_spaces/` and `db/` stand beside `evomerge/`; in a wheel they are package data
under `evomerge/_data/`. Everything that loads them asks here.
"""

from pathlib import Path

_PACKAGE = Path(__file__).parent


def resource_folder(name: str) -> Path:
    """The folder `search_spaces` or `db`, installed or in a checkout."""
    installed = _PACKAGE / "_data" / name
    return installed if installed.is_dir() else _PACKAGE.parent / name


def cache_folder() -> Path:
    """Where evomerge keeps what it can make again: `$XDG_CACHE_HOME/evomerge`."""
    return _home("XDG_CACHE_HOME", ".cache")


def data_folder() -> Path:
    """Where evomerge keeps what it cannot make again (the default store): `$XDG_DATA_HOME/evomerge`."""
    return _home("XDG_DATA_HOME", ".local/share")


def calibration_folder() -> Path | None:
    """`$EVOMERGE_CALIBRATION`, one folder for texts and statistics that nodes may share; None without."""
    import os

    named = os.environ.get("EVOMERGE_CALIBRATION")
    return Path(named).expanduser() if named else None


def _home(variable: str, fallback: str) -> Path:
    import os

    root = os.environ.get(variable)
    return (Path(root) if root else Path.home() / fallback) / "evomerge"
