"""The folder that a model is written into: made under another name, which it changes at the very end.

An interrupted merge leaves no half model, and none is written over something else.
"""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from evomerge.errors import ResourceError


@contextmanager
def model_folder(out: Path) -> Iterator[Path]:
    """A temporary folder that becomes `out` when the block ends well, and vanishes otherwise.

    Raises ResourceError where `out` exists and is not empty, or the disk is full.
    """
    refuse_existing(out)
    make_parent(out)
    with _disk_errors(out):
        temporary = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}-"))
    try:
        with _disk_errors(out):
            yield temporary
            temporary.chmod(0o777 & ~_umask())
            temporary.replace(out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def refuse_existing(out: Path) -> None:
    """Raise ResourceError where something lies at `out` already."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ResourceError(
            "exists already and is not empty",
            where=str(out),
            remedy="choose another folder or remove this one",
        )


def make_parent(out: Path) -> None:
    """The folder that `out` will lie in."""
    with _disk_errors(out):
        out.parent.mkdir(parents=True, exist_ok=True)


def check_space(out: Path, needed: int) -> None:
    """Raise ResourceError where the disk under `out` has not `needed` bytes left."""
    folder = next(parent for parent in (out, *out.resolve().parents) if parent.exists())
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise ResourceError(
            f"the merged model takes {needed / 1e9:.2f} GB, the disk has {free / 1e9:.2f} GB left",
            where=str(out),
            remedy="free some space, or choose a folder on another disk",
        )


@contextmanager
def _disk_errors(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        remedy = "check the permissions of the folder, or choose another"
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            remedy = "free some space, or choose a folder on another disk"
        raise ResourceError(
            f"cannot be written ({error.strerror or error})", where=str(out), remedy=remedy
        ) from error


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
