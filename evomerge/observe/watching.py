"""What watches a search while it is controlled: the log, the sinks, and whoever else listens."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

from evomerge.controller.events import Event, Listener, Note, PhaseStarted, Scored
from evomerge.observe.sinks import VARIABLE, SinkListener, make_sinks
from evomerge.store.types import EvaluationStatus, SearchRecord
from evomerge.telemetry import working_on

_log = logging.getLogger("evomerge.controller")


@contextmanager
def watching(search: SearchRecord, listener: Listener) -> Iterator[Listener]:
    """A listener for the search's controller that tells log, sinks and `listener`, in this order.

    Sinks are those of the variable EVOMERGE_SINKS. Raises SpecError where one cannot be made.
    """
    sinks = [
        SinkListener(one, search) for one in make_sinks(os.environ.get(VARIABLE, "").split(","))
    ]
    listeners: list[Listener] = [log_event, *sinks, listener]
    finished = False

    def tell(event: Event) -> None:
        for one in listeners:
            one(event)

    with working_on(search=search.id):
        try:
            yield tell
            finished = True
        finally:
            for sink in sinks:
                sink.close(finished=finished)


def log_event(event: Event) -> None:
    """The listener that writes the log; what was stored before is not news."""
    if isinstance(event, PhaseStarted):
        _log.info("phase %s began", event.name, extra={"expected": event.total})
    elif isinstance(event, Note):
        _log.info("%s", event.text)
    elif isinstance(event, Scored) and not event.replayed:
        _log_scored(event)


def _log_scored(event: Scored) -> None:
    evaluation = event.evaluation
    extra = {
        "candidate": event.candidate.number,
        "split": evaluation.split.value,
        "status": evaluation.status.value,
        "fitness": evaluation.fitness,
    }
    if evaluation.status is EvaluationStatus.FAILED:
        _log.warning("candidate failed: %s", evaluation.error, extra=extra)
    else:
        _log.info("candidate %s", evaluation.status.value, extra=extra)
