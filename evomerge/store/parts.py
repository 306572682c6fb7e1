"""Long searches read in parts: of a hundred thousand candidates, all recipes at once are a gigabyte."""

from collections.abc import Iterator
from itertools import count

from evomerge.fitness import Split
from evomerge.store.api import Store
from evomerge.store.types import CandidateRecord, EvaluationRecord

AT_ONCE = 256
"""How many candidates a part has."""


def parts(start: int = 0) -> Iterator[range]:
    """Numbers from `start` on, without an end."""
    return (range(first, first + AT_ONCE) for first in count(start, AT_ONCE))


def searched(
    store: Store, search_id: str, start: int = 0
) -> Iterator[tuple[CandidateRecord, EvaluationRecord]]:
    """Candidates with their evaluations on the search split, by number from `start` on."""
    for part in parts(start):
        # A candidate comes with its evaluation: those that are added meanwhile are the last ones.
        evaluations = store.evaluations(search_id, Split.SEARCH, part)
        yield from zip(store.candidates(search_id, part), evaluations, strict=False)
        if len(evaluations) < AT_ONCE:
            return
