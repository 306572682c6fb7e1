"""What is being worked on right now: search, candidate, evaluation, attempt, worker.

A context variable, so that threads and tasks of one process do not mix their fields up.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType

Field = str | int
_NOTHING: Mapping[str, Field] = MappingProxyType({})
_fields: ContextVar[Mapping[str, Field]] = ContextVar("evomerge_fields", default=_NOTHING)


def current() -> Mapping[str, Field]:
    """The fields that hold now."""
    return _fields.get()


@contextmanager
def working_on(**fields: Field | None) -> Iterator[None]:
    """Within the block these fields hold, besides those that held before; None is left out."""
    given = {name: value for name, value in fields.items() if value is not None}
    token = _fields.set(MappingProxyType({**_fields.get(), **given}))
    try:
        yield
    finally:
        _fields.reset(token)
