"""Scoring: lm-eval's tasks on a live engine.

`make_evaluator` loads torch, lm-eval and vLLM only when it is called.
"""

from evomerge.evaluation.base import Evaluator
from evomerge.fitness import Objective
from evomerge.spec import SearchSpec


def make_evaluator(spec: SearchSpec) -> Evaluator:
    """Start the engine that the search names; none is ever chosen silently.

    Raises EngineError where it is not installed or does not start, TaskError or Problems for the
    tasks, CheckpointError for the models.
    """
    if spec.engine.name == "fake":
        from evomerge.evaluation.fake import FakeEvaluator

        return FakeEvaluator(spec)
    if spec.engine.name == "hf":
        from evomerge.evaluation.hf_engine import HFEvaluator

        return HFEvaluator(spec)
    from evomerge.evaluation.vllm_engine import VLLMEvaluator

    return VLLMEvaluator(spec)


def pin_objective(spec: SearchSpec) -> Objective:
    """The search's objective with every metric and direction filled in, as its engine scores them.

    What is stored with a search is pinned: a later lm-eval with other defaults changes nothing.
    Raises TaskError or Problems.
    """
    if spec.engine.name == "fake":
        from evomerge.evaluation.fake import pin_fake

        return pin_fake(spec.objective)
    from evomerge.evaluation.tasks import resolve_objective

    return resolve_objective(spec.objective)


__all__ = ["Evaluator", "make_evaluator", "pin_objective"]
