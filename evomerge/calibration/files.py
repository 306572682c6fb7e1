"""Files that appear whole or not at all, and locks between processes."""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from evomerge.platforms import lock


def write_whole(file: Path, content: bytes) -> None:
    """Write a file that nobody ever sees half of."""

    def fill(draft: Path) -> None:
        draft.write_bytes(content)

    replace_whole(file, fill)


def replace_whole(file: Path, fill: Callable[[Path], None]) -> None:
    """The same where `fill` writes it: to a draft beside it, which then takes its place."""
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}-")
    os.close(handle)
    draft = Path(name)
    try:
        fill(draft)
        with draft.open("rb") as stream:
            os.fsync(stream.fileno())
        draft.chmod(0o644)
        draft.replace(file)
    finally:
        draft.unlink(missing_ok=True)


@contextmanager
def locked(file: Path, *, wait: bool = True) -> Iterator[bool]:
    """Hold the lock `file`, which ends with this process at the latest; gives whether it is held.

    `wait`: until it is free; else go on without it where another process has it.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w") as stream:
        yield lock(stream.fileno(), wait=wait)
