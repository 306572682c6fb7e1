"""Exports that a server makes: one at a time, each merged by a process of its own.

A merge needs torch and memory for a model; the server itself never loads either. The process ends when
its server does, so that two never write into one folder; the next server begins it anew.
"""

import argparse
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from evomerge.errors import EvomergeError, ResourceError, SpecError
from evomerge.queue.processes import Ended, Processes
from evomerge.store import SQLStore, open_store

CLAIM_SECONDS = 60.0
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_MODULE = "evomerge.queue.exports"


def target(export_folder: Path | None, name: str) -> Path:
    """Where an export of that name goes: a folder directly below the server's.

    Raises ResourceError where the server has none, SpecError where the name would lead elsewhere.
    """
    if export_folder is None:
        raise ResourceError(
            "this server exports nothing", remedy="start it with --export-folder FOLDER"
        )
    if not _NAME.fullmatch(name):
        raise SpecError(
            f"{name!r} is no name for a folder",
            where="folder",
            remedy="take up to 100 letters, digits, dots, dashes and underscores",
        )
    return export_folder.resolve() / name


class Exporter:
    """Works off the exports of a store. `tick` is one look.

    Args:
        server: the name under which it claims them. words: where the processes' words are kept.
    """

    def __init__(
        self, store: SQLStore, server: str, export_folder: Path | None, words: Path
    ) -> None:
        self._store, self._server, self._folder = store, server, export_folder
        self._processes = Processes(words, {"EVOMERGE_STORE": store.url})

    def tick(self) -> None:
        """Take note of what ended, keep what runs, begin the next."""
        for ended in self._processes.ended():
            self._settle(ended)
        for name in self._processes.names:
            if not self._store.renew_export(self._server, _number(name), CLAIM_SECONDS):
                self._processes.stop([name], grace=0.0)
        if self._folder is not None and not self._processes.names:
            self._begin(self._folder)

    def stop(self) -> None:
        """End what runs; it begins anew elsewhere."""
        names = self._processes.names
        self._processes.stop(names, grace=0.0)
        self._processes.ended()
        for name in names:
            self._store.release_export(self._server, _number(name))

    def _begin(self, folder: Path) -> None:
        found = self._store.claim_export(self._server, CLAIM_SECONDS)
        if found is None:
            return
        arguments = [str(found.candidate_id), str(target(folder, found.folder))]
        self._processes.start(f"export-{found.id}", _MODULE, arguments)

    def _settle(self, ended: Ended) -> None:
        words = ended.words or f"its process died (exit code {ended.code})"
        if "Traceback" in words:  # the whole of it is in the file; people get what it comes to
            words = f"a fault in evomerge: {words.splitlines()[-1]}"
        error = None if ended.code == 0 else words[-1000:]
        self._store.end_export(self._server, _number(ended.name), error)


def _number(name: str) -> int:
    return int(name.removeprefix("export-"))


def main(arguments: Sequence[str] | None = None) -> int:
    """The process: `python -m evomerge.queue.exports CANDIDATE FOLDER`."""
    parser = argparse.ArgumentParser(prog=_MODULE)
    parser.add_argument("candidate", type=int)
    parser.add_argument("folder", type=Path)
    given = parser.parse_args(arguments)
    from evomerge.export.candidates import export_candidate

    parent, store = os.getppid(), open_store(create=False)

    def go_on(done: int, total: int) -> None:
        if os.getppid() != parent:
            raise ResourceError("its server is gone", where=str(given.folder))

    try:
        export_candidate(store, store.candidate(given.candidate), given.folder, progress=go_on)
    except EvomergeError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    finally:
        store.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
