"""What a search has spent, and whether it may ask for one more candidate.

Everything is counted from stored costs, so that a replay counts the same. A limit is never exceeded: as
long as candidates are under way, each is expected to cost as much as the dearest one so far, and so is
the mean of the last distribution, which is scored when nothing else is asked for.
"""

from evomerge.fitness import Costs, Fitness
from evomerge.spec import Budget
from evomerge.store.types import EvaluationRecord, EvaluationStatus

_MEAN = 1
ALL_TRIED = "all candidates of its budget were tried"


class Spending:
    """Fed with every result, in told order.

    Args:
        gpus: of each worker.
    """

    def __init__(self, gpus: float) -> None:
        self._gpus = gpus
        self._candidates = self._idle = 0
        self._tokens, self._seconds = 0, 0.0
        self._dearest_tokens, self._dearest_seconds = 0, 0.0
        self._best: Fitness | None = None

    def note_baseline(self, evaluation: EvaluationRecord) -> None:
        """A baseline costs the budget nothing, but says what a candidate may cost."""
        self._note_price(evaluation.costs or Costs())
        self._improves(evaluation)

    def note(self, evaluation: EvaluationRecord) -> None:
        """A candidate's result; one that was taken over cost nothing."""
        self._candidates += 1
        self._idle = 0 if self._improves(evaluation) else self._idle + 1
        if evaluation.costs is not None and evaluation.copied_from is None:
            self._tokens += evaluation.costs.tokens
            self._seconds += evaluation.costs.total_seconds
            self._note_price(evaluation.costs)

    def refusal(self, budget: Budget, workers: int, under_way: int) -> str | None:
        """Why no further candidate may be asked for beside those `under_way`; None if one may."""
        reserved = under_way + 1 + _MEAN
        tokens = self._tokens + reserved * self._dearest_tokens
        seconds = self._seconds + reserved * self._dearest_seconds
        gpu_hours = seconds * self._gpus / 3600
        if self._candidates + under_way >= budget.candidates:
            return ALL_TRIED
        if budget.tokens is not None and tokens > budget.tokens:
            return "the tokens of its budget are spent"
        if budget.hours is not None and seconds / workers > budget.hours * 3600:
            return "the hours of its budget are spent"
        if budget.gpu_hours is not None and gpu_hours > budget.gpu_hours:
            return "the GPU hours of its budget are spent"
        if budget.patience is not None and self._idle >= budget.patience:
            return f"{self._idle} candidates brought nothing better"
        return None

    def _note_price(self, costs: Costs) -> None:
        self._dearest_tokens = max(self._dearest_tokens, costs.tokens)
        self._dearest_seconds = max(self._dearest_seconds, costs.total_seconds)

    def _improves(self, evaluation: EvaluationRecord) -> bool:
        """Whether it is the best one so far, on all documents."""
        if evaluation.fitness is None or evaluation.status is not EvaluationStatus.SCORED:
            return False
        fitness = Fitness(evaluation.fitness, None, evaluation.violation or 0.0)
        if self._best is not None and fitness.sort_key <= self._best.sort_key:
            return False
        self._best = fitness
        return True
