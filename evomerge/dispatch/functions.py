"""Calls of one function spread over a Ray cluster, each on a worker of its own, in whatever order they end.

For work that is no candidate of a search: it writes its own results into a folder that all nodes see. A call
whose worker or node goes away is made again on another one.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from evomerge.dispatch import placing
from evomerge.dispatch.connection import connect
from evomerge.dispatch.losses import LOST, cause, loss, no_start
from evomerge.spec import WorkersSpec

_LOOK_SECONDS = 1.0


def call_on_ray(
    function: Callable[..., Any],
    arguments: Sequence[tuple[Any, ...]],
    address: str | None,
    needs: WorkersSpec,
    check: Callable[[], None] = lambda: None,
) -> Iterator[tuple[int, Any]]:
    """The place of each call among `arguments`, and what it returned, as soon as it ends.

    An EvomergeError that a call raised, or the loss of its workers, is yielded as its result.

    Args:
        function: of an importable module.
        address: a cluster; None starts a local Ray.
        needs: the resources of each call, and how often it is made again.
        check: called every second; what it raises ends the calls.

    Raises ResourceError where no cluster answers, or none of its nodes can hold a call.
    """
    connect(address, needs.max * needs.cpus)
    placing.check_fits(needs)
    task = ray.remote(function).options(**_options(needs))
    waiting = {task.remote(*given): place for place, given in enumerate(arguments)}
    try:
        while waiting:
            check()
            ended, _ = ray.wait(list(waiting), timeout=_LOOK_SECONDS)
            for reference in ended:
                yield waiting.pop(reference), _result(reference)
    finally:
        for reference in waiting:
            ray.cancel(reference, force=True)


def _options(needs: WorkersSpec) -> dict[str, Any]:
    wanted = placing.needed(needs)
    return {
        "num_cpus": wanted.pop("CPU", 0),
        "num_gpus": wanted.pop("GPU", 0),
        "resources": wanted,
        "max_retries": needs.attempts,
        "runtime_env": placing.runtime_env(needs),
    }


def _result(reference: Any) -> Any:
    try:
        return ray.get(reference)
    except RayTaskError as error:
        return cause(error)
    except LOST as error:
        return loss(error)
    except RayError as error:
        return no_start(error)
