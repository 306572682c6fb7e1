"""One collector a statistic."""

from collections.abc import Callable, Sequence

from evomerge.calibration.batches import Encoded
from evomerge.calibration.collectors.activations import Activations
from evomerge.calibration.collectors.base import Collector, Sums, Unit
from evomerge.calibration.collectors.gradients import EmpiricalFisher, Fisher, Sensitivity
from evomerge.calibration.collectors.grams import InputGrams, OutputGradientGrams
from evomerge.calibration.collectors.logits import Logits
from evomerge.calibration.collectors.routing import Routing
from evomerge.calibration.loading import Loaded


def make_collector(statistic: str, loaded: Loaded, examples: Sequence[Encoded]) -> Collector:
    """The collector of a statistic for one model and its texts."""
    if statistic == "logits":
        return Logits(loaded, examples)
    if statistic == "activations":
        return Activations(loaded, examples)
    simple: dict[str, Callable[[Loaded], Collector]] = {
        "input_grams": InputGrams,
        "output_gradient_grams": OutputGradientGrams,
        "fisher": Fisher,
        "empirical_fisher": EmpiricalFisher,
        "sensitivity": Sensitivity,
        "routing": Routing,
    }
    return simple[statistic](loaded)


__all__ = ["Collector", "Sums", "Unit", "make_collector"]
