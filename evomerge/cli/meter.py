"""What progress knows: a running count of a search's events, apart from how it is shown."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from evomerge.controller.events import Event, PhaseStarted, Scored
from evomerge.fitness import Fitness, Split
from evomerge.results import label_of
from evomerge.store.types import CandidateRecord, EvaluationRecord, EvaluationStatus


@dataclass
class Meter:
    """Fed with events in order; `clock` gives seconds and is changed by tests alone.

    Replayed results count as done but say nothing about speed.
    """

    clock: Callable[[], float] = time.monotonic
    phase: str = "starting"
    done: int = 0
    total: int = 0
    dropped: int = 0
    failed: int = 0
    best: Fitness | None = None
    best_label: str | None = None
    _fresh: int = field(default=0, init=False)
    _since: float = field(default=0.0, init=False)

    def feed(self, event: Event) -> None:
        """Take one event into account."""
        if isinstance(event, PhaseStarted):
            self.phase, self.total = event.name, event.total
            self.done = self._fresh = 0
            self._since = self.clock()
        elif isinstance(event, Scored):
            self.done += 1
            self.dropped += event.evaluation.status is EvaluationStatus.DROPPED
            self.failed += event.evaluation.status is EvaluationStatus.FAILED
            if event.replayed:
                self._since = self.clock() if not self._fresh else self._since
            else:
                self._fresh += 1
            self.consider(event.candidate, event.evaluation)

    def consider(self, candidate: CandidateRecord, evaluation: EvaluationRecord) -> None:
        """Keep the best fitness on the search split; equal ones do not replace it, nor estimates."""
        if evaluation.fitness is None or evaluation.split is not Split.SEARCH:
            return
        if evaluation.status is EvaluationStatus.DROPPED:
            return
        fitness = Fitness(evaluation.fitness, None, evaluation.violation or 0.0)
        if self.best is None or fitness.sort_key > self.best.sort_key:
            self.best, self.best_label = fitness, label_of(candidate)

    @property
    def per_minute(self) -> float | None:
        """Fresh results a minute in this phase."""
        passed = self.clock() - self._since
        return 60 * self._fresh / passed if self._fresh and passed > 0 else None

    @property
    def seconds_left(self) -> float | None:
        """Until this phase ends, at this phase's pace."""
        rate, left = self.per_minute, max(0, self.total - self.done)
        return 60 * left / rate if rate else None

    @property
    def best_text(self) -> str:
        return "" if self.best is None else f"best {self.best.value:.4f} ({self.best_label})"

    @property
    def pace_text(self) -> str:
        """Candidates a minute and the time left, as far as they are known."""
        rate, left = self.per_minute, self.seconds_left
        parts = [f"{rate:.1f}/min" if rate else "", f"{duration(left)} left" if left else ""]
        return " · ".join(part for part in parts if part)

    @property
    def line(self) -> str:
        """Everything in one line."""
        dropped = f"{self.dropped} left early" if self.dropped else ""
        failed = f"{self.failed} failed" if self.failed else ""
        counts = f"{self.phase} {self.done}/{max(self.total, self.done)}"
        return " · ".join(x for x in (counts, self.best_text, self.pace_text, dropped, failed) if x)


def duration(seconds: float) -> str:
    """Seconds as people say them."""
    whole = round(seconds)
    if whole < 90:
        return f"{whole} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02} min"
