"""TensorBoard: one folder of event files a search, by TensorBoard's own writer."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evomerge.observe.sinks.base import MARK, Known, Run


class TensorBoardSink:
    """Writes to FOLDER/SEARCH; a resumed search adds a file there, which TensorBoard reads as one."""

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)
        self._writer: Any = None

    def open(self, run: Run) -> Known:
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        folder = self._folder / run.id
        known = _read(folder) if folder.is_dir() else frozenset()
        self._writer = EventFileWriter(str(folder), flush_secs=10)
        return known

    def log(self, step: int, values: Mapping[str, float]) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        rows = [Summary.Value(tag=name, simple_value=value) for name, value in values.items()]
        summary = Summary(value=rows)
        self._writer.add_event(Event(wall_time=time.time(), step=step, summary=summary))

    def close(self, *, finished: bool) -> None:
        del finished
        self._writer.close()


def _read(folder: Path) -> Known:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    events.Reload()
    tags = [tag for tag in events.Tags()["scalars"] if tag.endswith(f"/{MARK}")]
    return frozenset((tag.split("/")[0], e.step) for tag in tags for e in events.Scalars(tag))
