"""Calibration on a Ray cluster: one task a model, each on a worker of its own.

Statistics stay on the node that measured them. A search's workers measure what their own node lacks; for
`evomerge merge` elsewhere the nodes need a folder in common (EVOMERGE_CALIBRATION).
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import ray
from ray.exceptions import RayError, RayTaskError

from evomerge.dispatch.connection import connect
from evomerge.errors import EngineError, EvomergeError

if TYPE_CHECKING:
    from evomerge.calibration.collect import Options
    from evomerge.evaluation.calibrated import Work


def calibrate_on_ray(
    work: "Work", options: "Options", address: str | None, tell: Callable[[str], None]
) -> int:
    """Measure what is not there yet; how many statistics that were.

    Args:
        address: a cluster; None starts a local Ray.

    Raises ResourceError where no cluster answers, EngineError where a task is lost, and what the tasks
    raise.
    """
    connect(address)
    gpus = 1 if ray.cluster_resources().get("GPU", 0.0) >= 1 else 0
    task = ray.remote(_measure).options(num_cpus=1, num_gpus=gpus, max_retries=3)
    shared = ray.put((work, options))
    waiting = {task.remote(shared, model): model for model in work.models}
    total = 0
    while waiting:
        (done,), _ = ray.wait(list(waiting), num_returns=1)
        model = waiting.pop(done)
        count = _result(done)
        tell(f"{model}: {count} statistics measured")
        total += count
    return total


def _measure(given: tuple["Work", "Options"], model: str) -> int:
    """The task: one model."""
    from evomerge.evaluation.calibrated import calibrate

    work, options = given
    work.texts.save()
    return calibrate(work, options=options, only=model)


def _result(reference: Any) -> int:
    try:
        count: int = ray.get(reference)
    except RayTaskError as error:
        if isinstance(error.cause, EvomergeError):
            raise error.cause from error
        raise EngineError(f"a calibration task failed: {error.cause}") from error
    except RayError as error:
        raise EngineError(
            f"a calibration task was lost ({str(error).splitlines()[0]})",
            remedy="run it again: what was measured is kept",
        ) from error
    return count
