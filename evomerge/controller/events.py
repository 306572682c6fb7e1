"""What a controller tells whoever watches: plain records, no callbacks into its state."""

from collections.abc import Callable
from dataclasses import dataclass

from evomerge.store.types import CandidateRecord, EvaluationRecord


@dataclass(frozen=True)
class PhaseStarted:
    """`baselines`, `search`, `validation` or `test`; `total` evaluations are expected in it."""

    name: str
    total: int


@dataclass(frozen=True)
class Scored:
    """An evaluation ended; `replayed` if it was in the store before this run."""

    candidate: CandidateRecord
    evaluation: EvaluationRecord
    replayed: bool


@dataclass(frozen=True)
class Note:
    """Something worth a line to a person."""

    text: str


Event = PhaseStarted | Scored | Note
Listener = Callable[[Event], None]


def ignore(event: Event) -> None:
    """The listener that does nothing."""
