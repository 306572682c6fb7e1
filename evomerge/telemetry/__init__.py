"""What a process says of its work while it works: log records and traces, without any dependency.

Every process of a search uses it: controller, workers, server. What is worked on (search, candidate,
attempt) is kept in one context, from which logs and traces take their fields.
"""

from evomerge.telemetry.context import current, working_on
from evomerge.telemetry.logs import configure_logs
from evomerge.telemetry.redact import redact

__all__ = ["configure_logs", "current", "redact", "working_on"]
