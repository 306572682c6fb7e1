"""Archives: per-document outcomes moved from the database into files, and back.

One file a search: gzipped JSON lines. The first says what it is, the others are the rows as they are
stored (data in base64, in the format of `codec`). A file gets its name when it is whole; beside it lies
`FILE.sha256`, as `sha256sum -c` reads it. Rows leave the database only after the file was read back and
found equal to them, in small transactions; a run that is broken off is finished by the next one.
"""

import base64
import gzip
import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evomerge.errors import StoreError
from evomerge.store.archives import OutcomeRow
from evomerge.store.sql import SQLStore

FORMAT = 1
_BATCH = 500


@dataclass(frozen=True)
class Moved:
    """What was done with a search: how many outcomes went into `file`, or why none did."""

    search_id: str
    file: Path | None
    outcomes: int
    reason: str = ""


def archive(store: SQLStore, folder: Path, days: float) -> Iterator[Moved]:
    """Move the outcomes of searches that ended `days` ago or earlier into files in `folder`.

    Archives of earlier runs whose rows are still there come first.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for unfinished in [one for one in store.archives() if one.deleted_at is None]:
        _verify(Path(unfinished.file), unfinished.sha256)
        gone = _delete(store, unfinished.search_id)
        yield Moved(unfinished.search_id, Path(unfinished.file), gone)
    for search_id in store.archivable(days):
        yield _archive(store, search_id, folder.resolve())


def restore(store: SQLStore, file: Path) -> Moved:
    """Put the outcomes of an archive back into the store that it was made from.

    Raises StoreError where the file is damaged, is no archive, or belongs to another store.
    """
    header = _header(file)
    search_id = str(header["search"])
    noted = next((one for one in store.archives() if one.search_id == search_id), None)
    if noted is not None:
        _verify(file, noted.sha256)
    count = 0
    for batch in _batches(_read(file)):
        count += store.put_back(search_id, batch)
    store.end_archive(search_id)
    return Moved(search_id, file, count)


def _archive(store: SQLStore, search_id: str, folder: Path) -> Moved:
    target = folder / f"{search_id}.outcomes.jsonl.gz"
    digest, count = _write(store, search_id, target)
    _check_equal(store, search_id, target, count)
    try:
        store.begin_archive(search_id, str(target), digest, count)
    except StoreError as error:
        target.unlink()
        target.with_name(f"{target.name}.sha256").unlink()
        return Moved(search_id, None, 0, error.message)
    return Moved(search_id, target, _delete(store, search_id))


def _write(store: SQLStore, search_id: str, target: Path) -> tuple[str, int]:
    """Write a search's outcomes to a file; its SHA-256 and how many there are."""
    draft = target.with_name(f"{target.name}.draft")
    count = 0
    with draft.open("wb") as raw:
        with gzip.GzipFile(fileobj=raw, mode="wb", filename="", mtime=0) as stream:
            stream.write(_line({"evomerge_outcomes": FORMAT, "search": search_id}))
            for row in _stored(store, search_id):
                stream.write(_line({**vars(row), "data": base64.b64encode(row.data).decode()}))
                count += 1
        raw.flush()
        os.fsync(raw.fileno())
    draft.replace(target)
    digest = _digest(target)
    note = target.with_name(f"{target.name}.sha256")
    note.write_text(f"{digest}  {target.name}\n", encoding="ascii")
    return digest, count


def _stored(store: SQLStore, search_id: str) -> Iterator[OutcomeRow]:
    after = (-1, "")
    while rows := store.outcome_rows(search_id, after, _BATCH):
        yield from rows
        after = (rows[-1].evaluation_id, rows[-1].task)


def _check_equal(store: SQLStore, search_id: str, file: Path, count: int) -> None:
    """StoreError unless the file holds exactly what the database holds."""
    pairs = zip(_read(file), _stored(store, search_id), strict=True)
    try:
        equal = sum(kept == stored for kept, stored in pairs)
    except ValueError:
        equal = -1
    if equal != count:
        raise StoreError(
            "what was written is not what is stored; nothing was deleted",
            where=str(file),
            remedy="check the disk, and run it again",
        )


def _delete(store: SQLStore, search_id: str) -> int:
    total = 0
    while gone := store.delete_outcomes(search_id, _BATCH):
        total += gone
    return total


def _header(file: Path) -> dict[str, Any]:
    try:
        with gzip.open(file, "rb") as stream:
            header = json.loads(stream.readline())
        if header["evomerge_outcomes"] == FORMAT:
            return dict(header)
    except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
        raise _damaged(file, str(error)) from error
    raise StoreError(
        f"the archive has format {header['evomerge_outcomes']}, this version reads {FORMAT}",
        where=str(file),
        remedy="update evomerge",
    )


def _read(file: Path) -> Iterator[OutcomeRow]:
    """The rows of an archive. StoreError where it is damaged."""
    try:
        with gzip.open(file, "rb") as stream:
            stream.readline()
            for line in stream:
                row = json.loads(line)
                yield OutcomeRow(**{**row, "data": base64.b64decode(row["data"], validate=True)})
    except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
        raise _damaged(file, str(error)) from error


def _batches(rows: Iterator[OutcomeRow]) -> Iterator[list[OutcomeRow]]:
    batch: list[OutcomeRow] = []
    for row in rows:
        batch.append(row)
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _verify(file: Path, sha256: str) -> None:
    if not file.is_file():
        raise StoreError("the archive is missing", where=str(file), remedy="bring it back there")
    if _digest(file) != sha256:
        raise _damaged(file, "its checksum is another one")


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _damaged(file: Path, why: str) -> StoreError:
    return StoreError(
        f"the archive is damaged: {why}",
        where=str(file),
        remedy="take another copy of it; `sha256sum -c` tells which one is whole",
    )


def _line(content: dict[str, Any]) -> bytes:
    return json.dumps(content, separators=(",", ":")).encode() + b"\n"
