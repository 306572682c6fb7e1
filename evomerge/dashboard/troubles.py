"""What went wrong, by kind, each with its remedy; and the latest cases."""

from collections.abc import Sequence
from dataclasses import dataclass

from evomerge.dashboard.paging import Pager
from evomerge.dashboard.signs import ATTEMPT_SIGNS, SEARCH_SIGNS, Sign
from evomerge.store import SQLStore
from evomerge.store.pages import Mishap, SearchView
from evomerge.store.types import SearchRecord, SearchStatus

PAGE = 50
_ARROW = "→ "

_KINDS = {
    "MergeError": (
        "The recipe gives no usable weights",
        "Nothing, where it is rare: such candidates rank last and the search goes on. Where it is "
        "not, narrow the ranges of the search space.",
    ),
    "OutOfMemoryError": (
        "A candidate did not fit into memory",
        "Lower engine.gpu_memory_utilization or engine.max_model_len, or use more GPUs a worker "
        "(engine.tensor_parallel_size).",
    ),
    "EvaluationError": (
        "The engine or the harness failed on a candidate",
        "See the message of the latest case, and try the tasks alone: evomerge validate FILE.",
    ),
    "WorkerLostError": (
        "A worker vanished while it had a candidate",
        "Nothing, where it is rare: the candidate is tried again elsewhere. Where it is not, look "
        "for the system's out-of-memory killer, or for nodes that are taken away.",
    ),
    "EngineError": (
        "An engine did not start",
        "Run evomerge doctor on the node that is named.",
    ),
    "lost": (
        "A worker was not heard of again",
        "Nothing, where it is rare: the candidate is tried again. Where it is not, look for nodes "
        "that restart.",
    ),
    "late": (
        "A result came after it was given up",
        "Nothing: it is kept for the record and changes nothing. Where it is frequent, nodes are "
        "overloaded or their network is slow.",
    ),
}


@dataclass(frozen=True)
class Kind:
    """A kind of trouble, how often it came, and what to do about it."""

    name: str
    title: str
    remedy: str
    count: int


@dataclass(frozen=True)
class Case:
    """One attempt that came to nothing. what, remedy: the two halves of its message."""

    mishap: Mishap
    sign: Sign
    what: str
    remedy: str | None


@dataclass(frozen=True)
class Stopped:
    """A search that failed."""

    search: SearchRecord
    sign: Sign
    what: str
    remedy: str | None


@dataclass(frozen=True)
class Troubles:
    """The page. search: None where it is about all of them."""

    search: SearchRecord | None
    kinds: tuple[Kind, ...]
    cases: tuple[Case, ...]
    stopped: tuple[Stopped, ...]
    pager: Pager


def read_troubles(
    store: SQLStore,
    search: SearchRecord | None,
    page: int = 1,
    *,
    restricted_to: str | None = None,
) -> Troubles:
    """What went wrong in a search, or in all. restricted_to: the owner whose searches count."""
    failed = _failed(store, search, restricted_to)
    only = _only(store, search, restricted_to)
    counts = store.mishap_counts(only)
    total = sum(counts.values())
    cases = store.mishaps(only, limit=PAGE, offset=PAGE * (page - 1))
    return Troubles(
        search,
        tuple(_kinds(counts)),
        tuple(_case(mishap) for mishap in cases),
        tuple(_stopped(record) for record in failed),
        Pager(page, PAGE, total),
    )


def _only(
    store: SQLStore, search: SearchRecord | None, restricted_to: str | None
) -> Sequence[str] | None:
    if search is not None:
        return [search.id]
    if restricted_to is None:
        return None
    found = store.search_page(SearchView(owner=restricted_to), limit=1000)
    return [row.search.id for row in found.rows]


def _failed(
    store: SQLStore, search: SearchRecord | None, restricted_to: str | None
) -> list[SearchRecord]:
    if search is not None:
        return [search] if search.status is SearchStatus.FAILED else []
    view = SearchView(status=SearchStatus.FAILED, owner=restricted_to)
    return [row.search for row in store.search_page(view, limit=PAGE).rows]


def _kinds(counts: dict[tuple[str, str], int]) -> list[Kind]:
    totals: dict[str, int] = {}
    for (name, _), number in counts.items():
        totals[name] = totals.get(name, 0) + number
    ordered = sorted(totals.items(), key=lambda pair: (-pair[1], pair[0]))
    unknown = ("An attempt failed", "See the message of the latest case.")
    return [Kind(name, *_KINDS.get(name, unknown), number) for name, number in ordered]


def _case(mishap: Mishap) -> Case:
    what, remedy = split_remedy(mishap.error)
    missing = _KINDS.get(mishap.error_type or mishap.status, (mishap.status, ""))[0]
    return Case(mishap, ATTEMPT_SIGNS[mishap.status], what or missing, remedy)


def _stopped(search: SearchRecord) -> Stopped:
    what, remedy = split_remedy(search.message)
    resume = f"evomerge resume {search.id}"
    return Stopped(search, SEARCH_SIGNS[search.status], what or "no message", remedy or resume)


def split_remedy(text: str | None) -> tuple[str, str | None]:
    """What is wrong, and what to do: errors are stored with both, as they are printed."""
    if not text:
        return "", None
    what, arrow, remedy = text.partition(_ARROW)
    return what.strip(), remedy.strip() if arrow else None
