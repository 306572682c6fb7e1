"""Scoring: lm-eval's tasks on a live engine.

`make_evaluator` loads torch, lm-eval and vLLM only when it is called.
"""

from evomerge.evaluation.base import Evaluator
from evomerge.spec import SearchSpec


def make_evaluator(spec: SearchSpec) -> Evaluator:
    """The evaluator of the engine that the search names."""
    if spec.engine.name == "fake":
        from evomerge.evaluation.fake import FakeEvaluator

        return FakeEvaluator(spec)
    raise NotImplementedError(spec.engine.name)


__all__ = ["Evaluator", "make_evaluator"]
