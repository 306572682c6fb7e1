"""From `tensorboard:FOLDER`, `wandb:PROJECT` or `mlflow:URI` to a sink."""

from collections.abc import Callable, Sequence
from importlib.util import find_spec

from evomerge.errors import SpecError, did_you_mean
from evomerge.observe.sinks.base import Sink
from evomerge.telemetry.handing_on import SINKS

VARIABLE = SINKS
"""Sinks of every search that a process controls: separated by commas."""


def make_sinks(texts: Sequence[str]) -> list[Sink]:
    """The sinks that are named. Raises SpecError for an unknown one, or where its library is missing."""
    return [_make(text.strip()) for text in texts if text.strip()]


def check_sinks(texts: Sequence[str]) -> None:
    """Raise what `make_sinks` would, without making one."""
    for text in texts:
        _maker(text)


def _make(text: str) -> Sink:
    return _maker(text)(text.partition(":")[2])


def _maker(text: str) -> Callable[[str], Sink]:
    kind = text.partition(":")[0]
    if kind not in _MAKERS:
        remedy = did_you_mean(kind, list(_MAKERS))
        raise SpecError(f"no sink {kind!r}", where=f"--sink {text}", remedy=remedy)
    module, make = _MAKERS[kind]
    if find_spec(module) is None:
        raise SpecError(
            f"{module} is not installed",
            where=f"--sink {text}",
            remedy=f"pip install 'evomerge[{kind}]'",
        )
    return make


def _tensorboard(target: str) -> Sink:
    from evomerge.observe.sinks.tensorboard import TensorBoardSink

    return TensorBoardSink(target or "runs")


def _wandb(target: str) -> Sink:
    from evomerge.observe.sinks.wandb import WandbSink

    return WandbSink(target or "evomerge")


def _mlflow(target: str) -> Sink:
    from evomerge.observe.sinks.mlflow import MlflowSink

    return MlflowSink(target or None)


_MAKERS: dict[str, tuple[str, Callable[[str], Sink]]] = {
    "tensorboard": ("tensorboard", _tensorboard),
    "wandb": ("wandb", _wandb),
    "mlflow": ("mlflow", _mlflow),
}
