"""Where spans go: OpenTelemetry's collector, or a file. Imported only while traces are on."""

import json
import os
import threading
from collections.abc import Sequence
from pathlib import Path

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import (
    BatchSpanProcessor,
    SimpleSpanProcessor,
    SpanExporter,
    SpanExportResult,
)
from opentelemetry.sdk.trace.id_generator import IdGenerator, RandomIdGenerator


class GivenIds(IdGenerator):
    """Random ids, except for the next span of a thread that names its own."""

    def __init__(self) -> None:
        self._random = RandomIdGenerator()
        self._given = threading.local()

    @property
    def next_ids(self) -> tuple[int, int] | None:
        """Trace and span id that the next span of this thread takes."""
        return getattr(self._given, "ids", None)

    @next_ids.setter
    def next_ids(self, ids: tuple[int, int] | None) -> None:
        self._given.ids = ids

    def generate_trace_id(self) -> int:
        ids = self.next_ids
        return ids[0] if ids else self._random.generate_trace_id()

    def generate_span_id(self) -> int:
        """A span's own id is generated after its trace's: the given ones are spent then."""
        ids, self.next_ids = self.next_ids, None
        return ids[1] if ids else self._random.generate_span_id()


class FileExporter(SpanExporter):
    """Appends each span to a file as one JSON line; several processes may share it."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        lines = "".join(f"{json.dumps(json.loads(one.to_json()))}\n" for one in spans)
        # One write to a file that is open for appending is not torn by others.
        with self._file.open("ab", buffering=0) as stream:
            stream.write(lines.encode())
        return SpanExportResult.SUCCESS


def make_provider(file: Path | None) -> TracerProvider:
    """A provider that sends to OTLP, or appends to `file`."""
    resource = Resource.create({"service.name": "evomerge", "process.pid": os.getpid()})
    provider = TracerProvider(resource=resource, id_generator=GivenIds())
    if file is not None:
        provider.add_span_processor(SimpleSpanProcessor(FileExporter(file)))
        return provider
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider
