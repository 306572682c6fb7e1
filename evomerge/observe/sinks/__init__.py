"""Other trackers that a search also writes to: TensorBoard, Weights & Biases, MLflow.

The store stays the only truth. A sink is told what the controller's listener is told, as it happens;
one that fails is given up with a warning, and the search goes on.
"""

from evomerge.observe.sinks.base import Run, Sink
from evomerge.observe.sinks.listening import SinkListener
from evomerge.observe.sinks.make import VARIABLE, make_sinks

__all__ = ["VARIABLE", "Run", "Sink", "SinkListener", "make_sinks"]
