"""Where a search stands, in the few figures that lists and headers show."""

from dataclasses import dataclass
from functools import cached_property

from evomerge.dashboard.signs import SEARCH_SIGNS, Sign
from evomerge.fitness import Split
from evomerge.service import ENDED
from evomerge.spec import Budget
from evomerge.store import SQLStore
from evomerge.store.pages import SearchRow
from evomerge.store.types import Progress, SearchRecord, SearchStatus


@dataclass(frozen=True)
class Heading:
    """What every page about a search has at its top. owner: None where no server runs it."""

    search: SearchRecord
    owner: str | None

    @property
    def sign(self) -> Sign:
        return SEARCH_SIGNS[self.search.status]


@dataclass(frozen=True)
class Standing(Heading):
    """A search, its budget and its counts. priority: None where no server runs it."""

    priority: int | None
    progress: Progress
    budget: Budget
    workers: int

    @property
    def ended(self) -> bool:
        """Whether nothing will ever change any more."""
        return self.search.status in ENDED

    @property
    def moving(self) -> bool:
        """Whether a look in a few seconds may show something else."""
        still = (SearchStatus.PAUSED, SearchStatus.FAILED, *ENDED)
        return self.search.status not in still

    @property
    def total(self) -> int:
        """Candidates that the budget allows."""
        return self.budget.candidates

    @cached_property
    def done(self) -> int:
        """Candidates of the search that need nothing more, baselines apart.

        What the budget does not count, the mean of the last distribution, is left out.
        """
        ended = self.progress.ended(Split.SEARCH) - self.progress.baselines
        return min(max(0, ended), self.total)

    @property
    def share(self) -> float:
        return self.done / self.total

    @property
    def phase(self) -> str:
        """What is being done now, in a word."""
        for split, word in ((Split.TEST, "test"), (Split.VALIDATION, "validation")):
            if sum(self.progress.counts[split].values()):
                return word
        return "search" if self.progress.candidates > self.progress.baselines else "baselines"

    def counted(self, status: str) -> int:
        """Evaluations of the search split with this status."""
        return self.progress.counts[Split.SEARCH].get(status, 0)


def read_standing(store: SQLStore, row: SearchRow) -> Standing:
    """The standing of a search."""
    limits = store.limits(row.search.id)
    return Standing(
        search=row.search,
        owner=row.owner,
        priority=row.priority,
        progress=store.progress(row.search.id),
        budget=limits.budget_of(row.search.spec),
        workers=limits.workers_of(row.search.spec),
    )


def read_heading(store: SQLStore, search: SearchRecord) -> Heading:
    """The heading of a search: quick however long it is."""
    return Heading(search, store.owner_of(search.id))


def find_row(store: SQLStore, search: SearchRecord) -> SearchRow:
    """A search with its place on a server."""
    place = store.place(search.id)
    return SearchRow(search, place.owner if place else None, place.priority if place else None)
