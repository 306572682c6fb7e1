"""Structured logs on the standard library's logging: one JSON object a line, or a line for people.

Each record carries what was being worked on (`telemetry.context`) and, where traces are on, the ids of
the active span. Secrets are taken out of the finished line, wherever in it they came from.
"""

import json
import logging
import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal, TextIO

from evomerge.telemetry.context import current
from evomerge.telemetry.redact import redact

LogFormat = Literal["text", "json"]
LogLevel = Literal["debug", "info", "warning", "error"]
FORMAT_VARIABLE, LEVEL_VARIABLE = "EVOMERGE_LOG_FORMAT", "EVOMERGE_LOG_LEVEL"
ROOT = "evomerge"
_MARK = "_evomerge_handler"
_MADE_LATER = {"message", "asctime", "taskName"}


class JsonFormatter(logging.Formatter):
    """One JSON object a record: `time` (ISO, UTC), `level`, `logger`, `message`, fields, `error`."""

    def format(self, record: logging.LogRecord) -> str:
        content: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": redact(record.getMessage()),
            "pid": record.process,
        }
        content |= {name: _clean(value) for name, value in _fields(record).items()}
        if record.exc_info:
            content["error"] = redact(self.formatException(record.exc_info))
        return json.dumps(content, ensure_ascii=False, default=str)


class TextFormatter(logging.Formatter):
    """`TIME LEVEL MESSAGE (field=value …)`, and a traceback where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        when = datetime.fromtimestamp(record.created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        fields = " ".join(f"{name}={value}" for name, value in _fields(record).items())
        line = f"{when} {record.levelname.lower()} {record.getMessage()}"
        line += f" ({fields})" if fields else ""
        return redact(
            f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line
        )


def configure_logs(
    format: LogFormat | None = None, level: str | None = None, stream: TextIO | None = None
) -> None:
    """Send evomerge's own records to `stream` (stderr); a second call replaces the first.

    Args:
        format, level: where not given, EVOMERGE_LOG_FORMAT and EVOMERGE_LOG_LEVEL decide, else `text`
            and `info`. What is given is also written there, so that processes started from here do
            the same.

    Raises ValueError for an unknown format or level.
    """
    chosen = format or os.environ.get(FORMAT_VARIABLE) or "text"
    threshold = (level or os.environ.get(LEVEL_VARIABLE) or "info").upper()
    formatters = {"text": TextFormatter, "json": JsonFormatter}
    if chosen not in formatters:
        raise ValueError(f"unknown log format {chosen!r}: text or json")
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(formatters[chosen]())
    setattr(handler, _MARK, True)
    logger = logging.getLogger(ROOT)
    logger.setLevel(threshold)
    for old in [one for one in logger.handlers if hasattr(one, _MARK)]:
        logger.removeHandler(old)
    logger.addHandler(handler)
    logger.propagate = False
    os.environ.update({FORMAT_VARIABLE: chosen, LEVEL_VARIABLE: threshold.lower()})


def wanted() -> bool:
    """Whether the environment asks for logs: processes that were started by others look here."""
    return FORMAT_VARIABLE in os.environ or LEVEL_VARIABLE in os.environ


def _fields(record: logging.LogRecord) -> Mapping[str, Any]:
    """Context, then what the record itself brings (`extra=`), then the active span's ids."""
    from evomerge.telemetry.traces import span_ids

    # What every record has, also since a library (vLLM does) had all of them bear a mark of its own.
    usual = vars(logging.makeLogRecord({})).keys() | _MADE_LATER
    own = {
        name: value
        for name, value in vars(record).items()
        if name not in usual and not name.startswith("_")
    }
    return {**current(), **own, **span_ids()}


def _clean(value: Any) -> Any:
    return redact(value) if isinstance(value, str) else value
