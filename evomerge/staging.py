"""Brings a search's models to the node that reads them: once a node, verified, onto its own disk.

A copy is known by its content: it lies in the folder named after its fingerprint, which it only gets
when it is whole and its fingerprint was computed again from what was written. Whoever comes while
another process of the node copies waits for it, and a process that is killed leaves nothing behind that
anybody would take for a model. Copies in use are locked; where the disk is short, those that nobody
uses go, the longest unused first.

Where a model comes from is left to its name: a folder that this node can see, or the hub.
"""

import logging
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from evomerge import platforms
from evomerge.errors import CheckpointError, ResourceError
from evomerge.fingerprint import fingerprint
from evomerge.hub import model_folders
from evomerge.layout import CheckpointIndex
from evomerge.resources import cache_folder
from evomerge.spec import SearchSpec

FOLDER_VARIABLE = "EVOMERGE_MODELS"
MODEL = "model "
"""What the fingerprints of models are called among a search's versions, before their names."""
_MOUNTS = Path("/proc/self/mounts")
_NETWORK = (
    *("nfs", "cifs", "smb", "lustre", "gpfs", "beegfs", "ceph", "glusterfs", "9p", "afs"),
    *("wekafs", "panfs", "pvfs", "fuse."),
)
_SPARE_BYTES = 1 << 30
_held: list[int] = []
"""Locks on copies that this process reads: they last as long as it does."""
_log = logging.getLogger("evomerge.staging")


def stage_models(spec: SearchSpec, prints: Mapping[str, str]) -> dict[str, Path]:
    """The folder of every part of every model of a search, on this node.

    Args:
        prints: the fingerprints of the parts that the search was submitted with, where known.

    Raises CheckpointError where a model is missing here or is another one, ResourceError where the disk
    has no room for it.
    """
    found: dict[str, Path] = {}
    for part, folder in model_folders((spec.base_model, *spec.models)).items():
        copies = spec.workers.stage == "always" or (
            spec.workers.stage == "auto" and on_network(folder)
        )
        if copies:
            found[part] = stage(folder, prints.get(part) or content_of(folder))
        else:
            _check(part, folder, prints.get(part))
            found[part] = folder
    return found


def prints_in(versions: Mapping[str, str]) -> dict[str, str]:
    """The fingerprints of models, by part, among the versions that a search was submitted with."""
    return {
        name.removeprefix(MODEL): print
        for name, print in versions.items()
        if name.startswith(MODEL)
    }


def stage(source: Path, print: str, root: Path | None = None) -> Path:
    """The copy of a model's folder on this node's own disk; made if nobody has made it yet.

    Args:
        print: what its fingerprint has to be.
        root: where copies lie; EVOMERGE_MODELS decides if not given, else the cache folder.
    """
    home = root or Path(os.environ.get(FOLDER_VARIABLE) or cache_folder() / "models")
    home.mkdir(parents=True, exist_ok=True)
    target = home / print
    if not _hold(target):
        with _alone(target):
            if not target.is_dir():
                _copy(source, target)
        _hold(target)
    os.utime(target)
    return target


def content_of(folder: Path) -> str:
    """The fingerprint of whatever a folder holds: model or adapter."""
    return fingerprint(CheckpointIndex(folder, {}, {}))


def on_network(folder: Path, mounts: Path = _MOUNTS) -> bool:
    """Whether a folder lies on a file system of another machine."""
    if not mounts.is_file():
        return False
    lines = [line.split() for line in mounts.read_text(encoding="utf-8").splitlines()]
    resolved = folder.resolve()
    above = [(fields[1], fields[2]) for fields in lines if resolved.is_relative_to(fields[1])]
    _, kind = max(above, key=lambda mount: len(mount[0]), default=("", ""))
    return kind.startswith(_NETWORK)


def _check(part: str, folder: Path, print: str | None) -> None:
    if print is not None and content_of(folder) != print:
        raise _another(part)


def _another(where: str) -> CheckpointError:
    return CheckpointError(
        "is not the model that the search was submitted with",
        where=f"{where} on this node",
        remedy="make the same files visible under this name on every node, or name a hub revision",
    )


def _copy(source: Path, target: Path) -> None:
    """Copy, write through to the disk, verify, and only then give the copy its name."""
    for left in target.parent.glob(f"{target.name}.part*"):
        shutil.rmtree(left, ignore_errors=True)
    files = [file for file in sorted(source.iterdir()) if file.is_file()]
    _make_room(target.parent, sum(file.stat().st_size for file in files))
    _log.info("copying a model to this node", extra={"model": source.name})
    draft = target.with_name(f"{target.name}.part-{os.getpid()}")
    try:
        draft.mkdir()
        for file in files:
            shutil.copyfile(file, draft / file.name)
            _flush(draft / file.name)
        if content_of(draft) != target.name:
            raise _another(str(source))
        draft.rename(target)
    except OSError as error:
        raise ResourceError(
            f"{source} cannot be copied to this node: {error.strerror or error}",
            where=str(target.parent),
            remedy=f"mend it, or name a folder on another disk in {FOLDER_VARIABLE}",
        ) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _make_room(home: Path, needed: int) -> None:
    """Remove copies that nobody reads until `needed` bytes fit; ResourceError where they never do."""
    for copy in _unused_first(home):
        if shutil.disk_usage(home).free >= needed + _SPARE_BYTES:
            return
        with _alone(copy, wait=False) as mine:
            if mine:  # first out of its name: half a copy must never be found under it
                gone = copy.rename(copy.with_name(f"{copy.name}.part-gone"))
                shutil.rmtree(gone, ignore_errors=True)
    free = shutil.disk_usage(home).free
    if free < needed + _SPARE_BYTES:
        raise ResourceError(
            f"a model of {needed / 1e9:.1f} GB does not fit: {free / 1e9:.1f} GB are free",
            where=str(home),
            remedy=f"free some space, or name a folder on another disk in {FOLDER_VARIABLE}",
        )


def _unused_first(home: Path) -> Sequence[Path]:
    copies = [entry for entry in home.iterdir() if entry.is_dir() and "." not in entry.name]
    return sorted(copies, key=lambda copy: copy.stat().st_mtime)


def _hold(target: Path) -> bool:
    """Keep a copy from being removed as long as this process lives; False where there is none."""
    lock = _open_lock(target)
    platforms.lock(lock, shared=True)
    if target.is_dir():
        _held.append(lock)
        return True
    os.close(lock)
    return False


@contextmanager
def _alone(target: Path, *, wait: bool = True) -> Iterator[bool]:
    """Whether this process has a copy to itself within the block; without `wait` it may not."""
    lock = _open_lock(target)
    try:
        yield platforms.lock(lock, wait=wait)
    finally:
        os.close(lock)


def _open_lock(target: Path) -> int:
    return os.open(f"{target}.lock", os.O_RDWR | os.O_CREAT, 0o600)


def _flush(file: Path) -> None:
    with file.open("rb") as stream:
        os.fsync(stream.fileno())
