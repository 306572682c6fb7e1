"""A search that runs elsewhere, followed until it stops: its events, read from the store."""

import time
from collections.abc import Iterator

from evomerge.cli.output import note
from evomerge.cli.progress import SearchProgress
from evomerge.controller.events import Event, PhaseStarted, Scored
from evomerge.fitness import Split
from evomerge.results.status import PHASES
from evomerge.spec import SOUP
from evomerge.store import SQLStore
from evomerge.store.api import Store
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
        self._seen: set[int] = set()
        self._phase: str | None = None
        self._first = True

    def poll(self) -> Iterator[Event]:
        """The events since the last poll, in the order of the phases."""
        candidates = {c.id: c for c in self._store.candidates(self._search.id)}
        evaluations = self._store.evaluations(self._search.id)
        rows = sorted(
            ((phase_of(candidates[e.candidate_id], e), e) for e in evaluations),
            key=lambda row: (PHASES.index(row[0]), row[1].id),
        )
        expected = expected_totals(self._search, [phase for phase, _ in rows])
        for phase, evaluation in rows:
            if phase != self._phase and self._later(phase):
                self._phase = phase
                yield PhaseStarted(phase, expected[phase])
            if evaluation.status in FINAL and evaluation.id not in self._seen:
                self._seen.add(evaluation.id)
                yield Scored(candidates[evaluation.candidate_id], evaluation, self._first)
        self._first = False

    def _later(self, phase: str) -> bool:
        return self._phase is None or PHASES.index(phase) > PHASES.index(self._phase)


def phase_of(candidate: CandidateRecord, evaluation: EvaluationRecord) -> str:
    """The phase in which an evaluation was asked for."""
    if evaluation.split is not Split.SEARCH:
        return evaluation.split.value
    return "baselines" if candidate.origin is Origin.BASELINE else "search"


def expected_totals(search: SearchRecord, phases: list[str]) -> dict[str, int]:
    """How many evaluations each phase will have; what is there already where nobody can know."""
    experts, budget = len(search.spec.models), search.spec.budget.candidates
    there = {phase: phases.count(phase) for phase in PHASES}
    planned = {"baselines": 2 * experts + 5, "search": budget}
    if search.spec.strategy.name == SOUP:
        planned = {"baselines": 2 * experts + 1, "search": 1}
    return {phase: max(planned.get(phase, 0), count) for phase, count in there.items()}
