"""Per-document outcomes as bytes: exact, compact, versioned, and no pickle.

Layout: `EMO`, the version as one byte, then zlib of a little-endian uint32 (length of the header),
the header (JSON: number of documents, names of metrics), the document ids as differences (int64),
and each metric's values (float64), in the header's order.
"""

import json
import struct
import zlib

import numpy as np
from numpy.typing import NDArray

from evomerge.errors import StoreError
from evomerge.fitness import TaskOutcomes

MAGIC = b"EMO"
VERSION = 1
_INTS, _FLOATS = np.dtype("<i8"), np.dtype("<f8")


def pack(outcomes: TaskOutcomes) -> bytes:
    """The bytes of one task's outcomes. ValueError where values and documents do not align."""
    count = len(outcomes.doc_ids)
    for metric, values in outcomes.values.items():
        if np.shape(values) != (count,):
            raise ValueError(
                f"{outcomes.task}: {np.shape(values)} values of {metric!r} for {count} documents"
            )
    header = json.dumps({"n": count, "metrics": list(outcomes.values)}).encode()
    ids = np.diff(np.asarray(outcomes.doc_ids, _INTS), prepend=0).astype(_INTS)
    arrays = [ids, *(np.asarray(values, _FLOATS) for values in outcomes.values.values())]
    body = struct.pack("<I", len(header)) + header + b"".join(array.tobytes() for array in arrays)
    return MAGIC + bytes([VERSION]) + zlib.compress(body)


def unpack(task: str, data: bytes) -> TaskOutcomes:
    """What `pack` was given, bit for bit. StoreError where the bytes are damaged or newer."""
    if data[:4] != MAGIC + bytes([VERSION]):
        raise StoreError(
            f"outcomes of {task} have an unknown format",
            remedy="they were written by a newer version: update evomerge",
        )
    try:
        return _unpack(task, zlib.decompress(data[4:]))
    except (zlib.error, struct.error, ValueError, KeyError) as error:
        raise StoreError(
            f"outcomes of {task} are damaged: {error}", remedy="restore the database from a backup"
        ) from error


def _unpack(task: str, body: bytes) -> TaskOutcomes:
    (length,) = struct.unpack_from("<I", body)
    header = json.loads(body[4 : 4 + length])
    count, metrics = int(header["n"]), list(header["metrics"])
    offset = 4 + length
    ids = np.cumsum(np.frombuffer(body, _INTS, count, offset))
    values: dict[str, NDArray[np.float64]] = {}
    for place, metric in enumerate(metrics, start=1):
        column = np.frombuffer(body, _FLOATS, count, offset + 8 * count * place)
        values[metric] = column.astype(np.float64)
    return TaskOutcomes(task, tuple(ids.tolist()), values)
