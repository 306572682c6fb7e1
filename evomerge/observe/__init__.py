"""Watching a store and its searches from outside: metrics, health, and sinks for other trackers."""

from evomerge.observe.health import Check, readiness
from evomerge.observe.metrics import Metrics

__all__ = ["Check", "Metrics", "readiness"]
