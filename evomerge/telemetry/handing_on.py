"""Which variables a process hands on to those that it has started elsewhere: how to log and trace."""

import os

from evomerge.telemetry.logs import FORMAT_VARIABLE, LEVEL_VARIABLE
from evomerge.telemetry.traces import VARIABLE

SINKS = "EVOMERGE_SINKS"
_OF_OPENTELEMETRY = "OTEL_"


def variables() -> dict[str, str]:
    """Their names and values here."""
    names = (FORMAT_VARIABLE, LEVEL_VARIABLE, VARIABLE, SINKS)
    return {
        name: value
        for name, value in os.environ.items()
        if name in names or name.startswith(_OF_OPENTELEMETRY)
    }
