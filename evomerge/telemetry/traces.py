"""Traces of a candidate's way (ask, dispatch, merge, score, tell), if OpenTelemetry is wanted.

Off unless the variable EVOMERGE_TRACE says where spans go: `otlp` (the collector that OpenTelemetry's
own variables name) or a file, to which each span is appended as one JSON line. While it is off nothing
of OpenTelemetry is imported, and a span costs one look at a variable.

A candidate's trace id is a hash of search and number, and its first span's id too. So every process
that works on it adds to the same trace, a resumed controller included, and whoever knows the candidate
finds its trace.
"""

import hashlib
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from evomerge.errors import SpecError
from evomerge.telemetry.context import current

VARIABLE = "EVOMERGE_TRACE"
_PARENT = "traceparent"
Carrier = Mapping[str, str]
"""W3C trace context: `{"traceparent": "00-TRACE-SPAN-01"}`, or nothing."""


def enabled() -> bool:
    """Whether spans are recorded."""
    return bool(os.environ.get(VARIABLE))


def candidate_carrier(search_id: str, number: int) -> Carrier:
    """The parent of everything that is done for a candidate; nothing while traces are off."""
    if not enabled():
        return {}
    trace_id, span_id = _ids(search_id, number)
    return {_PARENT: f"00-{trace_id:032x}-{span_id:016x}-01"}


@contextmanager
def span(name: str, carrier: Carrier | None = None, **attributes: Any) -> Iterator[Any]:
    """A span around the block, below `carrier` or the active span; yields it, or None while off."""
    if not enabled():
        yield None
        return
    with _tracer().start_as_current_span(
        name, context=_context(carrier), attributes={**current(), **attributes}
    ) as active:
        yield active


def record(
    name: str,
    seconds: float,
    end: float | None = None,
    carrier: Carrier | None = None,
    **attributes: Any,
) -> None:
    """A span that lasted `seconds` and ended at `end` (seconds since 1970), or now."""
    if not enabled():
        return
    stop = time.time() if end is None else end
    one = _tracer().start_span(
        name,
        context=_context(carrier),
        start_time=int((stop - seconds) * 1e9),
        attributes={**current(), **attributes},
    )
    one.end(int(stop * 1e9))


def record_candidate(search_id: str, number: int, begin: float, **attributes: Any) -> None:
    """The first span of a candidate's trace, above all others: from `begin` until now."""
    if not enabled():
        return
    trace_id, span_id = _ids(search_id, number)
    ids = _provider().id_generator
    ids.next_ids = (trace_id, span_id)
    from opentelemetry.context import Context

    one = _tracer().start_span(
        "candidate",
        context=Context(),
        start_time=int(begin * 1e9),
        attributes={"search": search_id, "candidate": number, **attributes},
    )
    one.end()


def inject() -> Carrier:
    """What another process needs to go on below the active span."""
    ids = span_ids()
    return {_PARENT: f"00-{ids['trace_id']}-{ids['span_id']}-01"} if ids else {}


def span_ids() -> dict[str, str]:
    """`trace_id` and `span_id` of the active span, in hexadecimal; nothing where there is none."""
    if not enabled():
        return {}
    from opentelemetry import trace

    context = trace.get_current_span().get_span_context()
    if not context.is_valid:
        return {}
    return {"trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}"}


def flush() -> None:
    """Hand over what was recorded so far; processes that are about to end call it."""
    if enabled() and _provider.cache_info().currsize:
        _provider().force_flush()


def _ids(search_id: str, number: int) -> tuple[int, int]:
    digest = hashlib.sha256(f"{search_id}/{number}".encode()).digest()
    return int.from_bytes(digest[:16]) or 1, int.from_bytes(digest[16:24]) or 1


def _context(carrier: Carrier | None) -> Any:
    """OpenTelemetry's context below `carrier`; None means the active one."""
    if not carrier:
        return None
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    return TraceContextTextMapPropagator().extract(dict(carrier))


def _tracer() -> Any:
    return _provider().get_tracer("evomerge")


@cache
def _provider() -> Any:
    """One provider a process, made at the first span. SpecError where OpenTelemetry is missing."""
    try:
        from evomerge.telemetry.exporting import make_provider
    except ImportError as error:
        raise SpecError(
            f"traces need OpenTelemetry ({error.name} is missing)",
            where=VARIABLE,
            remedy="pip install 'evomerge[trace]', or unset the variable",
        ) from error
    target = os.environ[VARIABLE]
    return make_provider(None if target == "otlp" else Path(target))
