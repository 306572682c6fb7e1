"""Result tables, kept for those who ask again: bootstraps take longer than everything else on a page."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from typing import Any

from evomerge.errors import TaskError
from evomerge.results import Results, read_table
from evomerge.store import SQLStore
from evomerge.store.types import CandidateRecord, EvaluationRecord, SearchRecord

_KEPT = 256


class Tables:
    """What was computed of results that cannot change, for the latest askers. Threads may share it."""

    def __init__(self) -> None:
        self._found: OrderedDict[Hashable, Any] = OrderedDict()
        self._lock = threading.Lock()

    def read(
        self,
        store: SQLStore,
        search: SearchRecord,
        chosen: Sequence[tuple[CandidateRecord, EvaluationRecord]],
    ) -> Results | None:
        """The results of a search.

        None where none of the candidates was scored, and where the objective is one of a package that
        is not installed here.
        """
        if not any(e.fitness is not None for _, e in chosen):
            return None
        scored = tuple((e.id, e.fitness) for _, e in chosen if e.fitness is not None)
        key = ("table", search.id, search.status, scored)
        try:
            found: Results = self.keep(key, lambda: read_table(store, search, chosen))
        except TaskError:
            return None
        return found

    def keep(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """What `make` gave for this key, now or earlier."""
        with self._lock:
            if key in self._found:
                self._found.move_to_end(key)
                return self._found[key]
        made = make()
        with self._lock:
            self._found[key] = made
            while len(self._found) > _KEPT:
                self._found.popitem(last=False)
        return made
