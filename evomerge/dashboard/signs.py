"""What a state looks like: a word, a shape and a colour, of which the colour is never needed."""

from dataclasses import dataclass

from evomerge.store.types import EvaluationStatus, SearchStatus


@dataclass(frozen=True)
class Sign:
    """word: what people read. icon: a shape of `icons.html.j2`. tone: a colour of the style sheet."""

    word: str
    icon: str
    tone: str


SEARCH_SIGNS = {
    SearchStatus.PENDING: Sign("waiting", "clock", "quiet"),
    SearchStatus.RUNNING: Sign("running", "play", "accent"),
    SearchStatus.PAUSING: Sign("pausing", "pause", "caution"),
    SearchStatus.PAUSED: Sign("paused", "pause", "caution"),
    SearchStatus.CANCELLING: Sign("cancelling", "stop", "quiet"),
    SearchStatus.CANCELLED: Sign("cancelled", "stop", "quiet"),
    SearchStatus.FINISHED: Sign("finished", "tick", "good"),
    SearchStatus.FAILED: Sign("failed", "cross", "bad"),
}
EVALUATION_SIGNS = {
    EvaluationStatus.PENDING: Sign("waiting", "clock", "quiet"),
    EvaluationStatus.RUNNING: Sign("running", "play", "accent"),
    EvaluationStatus.SCORED: Sign("scored", "tick", "good"),
    EvaluationStatus.DROPPED: Sign("left early", "early", "quiet"),
    EvaluationStatus.FAILED: Sign("failed", "cross", "bad"),
}
ATTEMPT_SIGNS = {
    "running": Sign("running", "play", "accent"),
    "scored": Sign("scored", "tick", "good"),
    "failed": Sign("failed", "cross", "bad"),
    "lost": Sign("worker lost", "cross", "bad"),
    "late": Sign("came too late", "clock", "caution"),
}
