"""The most memory that this process has while something runs, looked up a few hundred times a second.

Only where a study works in its own process: a worker on another node has its own.
"""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from evomerge.calibration.files import write_whole

_PAUSE = 0.003


@dataclass
class Peak:
    """Resident bytes: when it began, and the most since."""

    before: int
    most: int

    @property
    def more(self) -> int:
        """What came on top."""
        return self.most - self.before


@contextmanager
def watched() -> Iterator[Peak]:
    """Watch this process until the block ends."""
    process, done = psutil.Process(), threading.Event()
    now = process.memory_info().rss
    peak = Peak(now, now)

    def look() -> None:
        while not done.wait(_PAUSE):
            peak.most = max(peak.most, process.memory_info().rss)

    thread = threading.Thread(target=look, name="evomerge-memory", daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        done.set()
        thread.join()
        peak.most = max(peak.most, process.memory_info().rss)


class Peaks:
    """What was seen of each recipe, kept in a folder: a recipe that is scored already is not run again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, recipe_id: str) -> int | None:
        """Bytes beyond what the process had before; None where it was not watched."""
        file = self._folder / f"{recipe_id}.json"
        return int(json.loads(file.read_text("utf-8"))["more"]) if file.is_file() else None

    def write(self, recipe_id: str, peak: Peak) -> None:
        """Keep what was seen."""
        content = {"before": peak.before, "more": peak.more}
        write_whole(self._folder / f"{recipe_id}.json", json.dumps(content).encode())
