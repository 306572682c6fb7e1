"""What Ray's complaints mean: a candidate's fault, a worker's end, or a node that went away."""

from ray.exceptions import OutOfMemoryError as RayOutOfMemoryError
from ray.exceptions import RayActorError, RayTaskError, RuntimeEnvSetupError

from evomerge import __version__
from evomerge.errors import (
    CandidateError,
    EngineError,
    EvomergeError,
    NodeLostError,
    OutOfMemoryError,
    ResourceError,
    WorkerLostError,
)

LOST = (RayActorError, RayOutOfMemoryError)
"""A worker is gone, as opposed to one that says what is wrong."""
_NODE_WORDS = ("node has died", "node was terminated", "node died", "node is dead", "node_died")


def loss(error: Exception) -> CandidateError:
    """The typed failure of whatever a lost worker was doing."""
    if isinstance(error, RayOutOfMemoryError):
        return OutOfMemoryError(first_line(error))
    if is_lost_node(error):
        return NodeLostError("the node of its worker went away")
    return WorkerLostError(first_line(error))


def is_lost_node(error: Exception) -> bool:
    """Whether a whole node vanished, as spot nodes do: that says nothing about the candidate."""
    text = str(error).lower()
    return bool(getattr(error, "preempted", False)) or any(words in text for words in _NODE_WORDS)


def no_start(error: Exception) -> EvomergeError:
    """Why no worker can be started."""
    if "No module named 'evomerge" in str(error):
        return ResourceError(
            "a node of the cluster has no evomerge, or an older one",
            where="workers",
            remedy=f"install evomerge {__version__} on every node, or name it in workers.runtime_env",
        )
    if isinstance(error, RuntimeEnvSetupError):
        return ResourceError(
            f"the runtime environment cannot be set up: {_last_line(error)}",
            where="workers.runtime_env",
            remedy="mend it as Ray's documentation of runtime environments says",
        )
    return EngineError(
        f"workers die while their engine starts ({first_line(error)})",
        remedy="look at the worker's log in Ray's session folder; memory is often short",
    )


def cause(error: RayTaskError) -> EvomergeError:
    """The evomerge error that a worker raised, or an EngineError around anything else."""
    found = error.cause
    if isinstance(found, EvomergeError):
        return found
    return EngineError(
        f"a worker failed: {type(found).__name__}: {first_line(found)}",
        remedy="this is a fault in evomerge: please report it with the worker's log",
    )


def first_line(error: object) -> str:
    """The first line of an error's text, or its type where it has none."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _last_line(error: object) -> str:
    lines = str(error).strip().splitlines()
    return lines[-1].strip() if lines else type(error).__name__
