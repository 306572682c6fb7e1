"""Measured statistics on disk, each under a hash of everything that it depends on.

    KEY/header.json          what it is: model, texts, counts, moments; there once all is measured
    KEY/part-00000.safetensors …   the values, fp32
    KEY.work/                the same while it is measured, and what a killed process goes on from
    locks/KEY                held by the process that measures it

A key is made of the statistic and its version, the model's content and the texts' content: what it
names never changes, and two processes that want the same one measure it once.
"""

import json
import shutil
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evomerge.calibration.files import locked, write_whole
from evomerge.calibration.statistic import get_statistic
from evomerge.fingerprint import digest
from evomerge.resources import cache_folder, calibration_folder

HEADER = "header.json"
_FORMAT = 1


@dataclass(frozen=True)
class Request:
    """One statistic of one model on some texts.

    model: as a recipe names it. fingerprint: of its content. texts: digest of what it is measured on.
    owner: whose texts these are, where that is another model.
    """

    statistic: str
    model: str
    fingerprint: str
    texts: str
    owner: str | None = None

    @property
    def key(self) -> str:
        version = get_statistic(self.statistic).version
        return digest([_FORMAT, self.statistic, version, self.fingerprint, self.texts])

    @property
    def description(self) -> str:
        """For people."""
        whose = f" on the texts of {self.owner}" if self.owner not in {None, self.model} else ""
        return f"{self.statistic} of {self.model}{whose}"


class StatisticStore:
    """The folder of statistics; `root` is None for the shared one, or the user's cache."""

    def __init__(self, root: Path | None = None) -> None:
        self.root = root or calibration_folder() or cache_folder() / "calibration"

    def folder(self, request: Request) -> Path:
        """Where a finished one lies."""
        return self.root / request.key

    def work(self, request: Request) -> Path:
        """Where an unfinished one lies."""
        return self.root / f"{request.key}.work"

    def has(self, request: Request) -> bool:
        """Whether it has been measured."""
        return (self.folder(request) / HEADER).is_file()

    def header(self, request: Request) -> dict[str, Any]:
        """What is known of a finished one."""
        loaded: dict[str, Any] = json.loads((self.folder(request) / HEADER).read_text("utf-8"))
        return loaded

    def holding(self, name: str, *, wait: bool = True) -> AbstractContextManager[bool]:
        """Hold the lock of that name against other processes: see `files.locked`."""
        return locked(self.root / "locks" / name, wait=wait)

    def finish(self, request: Request, header: dict[str, Any]) -> None:
        """Publish what lies in the work folder; the caller holds the lock of the request's key."""
        work = self.work(request)
        about = {"format": _FORMAT, **vars(request), **header}
        write_whole(work / HEADER, json.dumps(about, sort_keys=True).encode())
        shutil.rmtree(self.folder(request), ignore_errors=True)
        work.rename(self.folder(request))
