"""Scoring: lm-eval's tasks on a live engine.

`make_evaluator` loads torch, lm-eval and vLLM only when it is called.
"""

import logging

from evomerge.evaluation.base import Evaluator
from evomerge.spec import SearchSpec

_log = logging.getLogger("evomerge.evaluation")


def make_evaluator(spec: SearchSpec) -> Evaluator:
    """Start the engine that the search names; none is ever chosen silently.

    What the search's methods need of its models is measured before that, unless it is there already.
    Raises EngineError where it is not installed or does not start, TaskError or Problems for the
    tasks, CheckpointError for the models.
    """
    if spec.engine.name == "fake":
        from evomerge.evaluation.fake import FakeEvaluator

        return FakeEvaluator(spec)
    if spec.calibration.set is not None:
        from evomerge.evaluation.calibrated import calibrate, work_of

        if (work := work_of(spec)) is not None:
            calibrate(work, tell=_log.info)
    if spec.engine.name == "hf":
        from evomerge.evaluation.hf_engine import HFEvaluator

        return HFEvaluator(spec)
    from evomerge.evaluation.vllm_engine import VLLMEvaluator

    return VLLMEvaluator(spec)


__all__ = ["Evaluator", "make_evaluator"]
