"""A search that runs elsewhere, followed until it stops: its events, read from the store."""

import time
from collections.abc import Iterator, Mapping

from evomerge.cli.output import note
from evomerge.cli.progress import SearchProgress
from evomerge.controller.events import Event, PhaseStarted, Scored
from evomerge.fitness import Split
from evomerge.results.status import PHASES
from evomerge.spec import SOUP
from evomerge.store import SQLStore
from evomerge.store.api import Store
from evomerge.store.parts import searched
from evomerge.store.types import (
    FINAL,
    STOPPED,
    CandidateRecord,
    EvaluationRecord,
    Origin,
    SearchRecord,
)

_SILENCE = 120.0


def follow(store: SQLStore, search: SearchRecord, interval: float) -> SearchRecord:
    """Show progress until the search stops; returns it as it then is."""
    feed = EventFeed(store, search)
    news_at, warned = time.monotonic(), False
    with SearchProgress(store, search.id) as progress:
        while True:
            current = store.search(search.id)
            for event in feed.poll():
                progress(event)
                news_at, warned = time.monotonic(), False
            if current.status in STOPPED:
                return current
            if time.monotonic() - news_at > _SILENCE and not warned:
                warned = True
                note(
                    f"no news for {_SILENCE:.0f} s; if its controller died: evomerge resume {search.id}"
                )
            time.sleep(interval)


class EventFeed:
    """Turns what the store holds into the events that the controller sent; each comes once.

    What the first look finds counts as replayed: nobody watched how fast it came.
    """

    def __init__(self, store: Store, search: SearchRecord) -> None:
        self._store, self._search = store, search
        self._open = 0
        """The number of the first candidate whose score was not final at the last look."""
        self._seen: set[int] = set()
        """The evaluations that were announced, without those before."""
        self._phase: str | None = None
        self._first = True

    def poll(self) -> Iterator[Event]:
        """The events since the last poll, in the order of the phases."""
        for candidate, evaluation in self._under_way():
            phase = phase_of(candidate, evaluation)
            if phase != self._phase and self._later(phase):
                self._phase = phase
                yield PhaseStarted(phase, expected_total(self._search, phase, self._counts()))
            if evaluation.status in FINAL and evaluation.id not in self._seen:
                self._seen.add(evaluation.id)
                yield Scored(candidate, evaluation, self._first)
        self._first = False

    def _under_way(self) -> Iterator[tuple[CandidateRecord, EvaluationRecord]]:
        """What may have something new, in the order of the phases."""
        for candidate, evaluation in searched(self._store, self._search.id, self._open):
            yield candidate, evaluation
            if candidate.number == self._open and evaluation.status in FINAL:
                self._open += 1
                self._seen.discard(evaluation.id)
        for split in (Split.VALIDATION, Split.TEST):
            for evaluation in self._store.evaluations(self._search.id, split):
                if evaluation.id not in self._seen:
                    yield self._store.candidate(evaluation.candidate_id), evaluation

    def _counts(self) -> dict[str, int]:
        """How many evaluations each phase has."""
        progress = self._store.progress(self._search.id)
        found = {split.value: sum(progress.counts[split].values()) for split in Split}
        proper = progress.candidates - progress.baselines
        return {**found, "baselines": progress.baselines, "search": proper}

    def _later(self, phase: str) -> bool:
        return self._phase is None or PHASES.index(phase) > PHASES.index(self._phase)


def phase_of(candidate: CandidateRecord, evaluation: EvaluationRecord) -> str:
    """The phase in which an evaluation was asked for."""
    if evaluation.split is not Split.SEARCH:
        return evaluation.split.value
    return "baselines" if candidate.origin is Origin.BASELINE else "search"


def expected_total(search: SearchRecord, phase: str, there: Mapping[str, int]) -> int:
    """How many evaluations a phase will have; what is there already where nobody can know."""
    experts, budget = len(search.spec.models), search.spec.budget.candidates
    planned = {"baselines": 2 * experts + 5, "search": budget}
    if search.spec.strategy.name == SOUP:
        planned = {"baselines": 2 * experts + 1, "search": 1}
    return max(planned.get(phase, 0), there[phase])
