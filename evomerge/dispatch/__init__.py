"""How tasks reach workers: in this process, or on a Ray cluster (the only place that imports ray)."""

from evomerge.dispatch.base import Dispatcher
from evomerge.dispatch.inline import InlineDispatcher

__all__ = ["Dispatcher", "InlineDispatcher"]
