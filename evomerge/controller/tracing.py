"""The controller's part of a candidate's trace: when it was asked for, when its result was told.

The first span of a candidate, above those of dispatch and workers, is written when it is told: only then
is its length known. Where a controller was resumed in between, it begins when this one took it over.
"""

import time
from collections.abc import Iterable

from evomerge.store.types import CandidateRecord
from evomerge.telemetry import traces


class CandidateTraces:
    """Costs nothing while traces are off."""

    def __init__(self, search_id: str) -> None:
        self._search_id = search_id
        self._begun: dict[int, float] = {}
        self._since = time.time()

    def asked(self, candidates: Iterable[CandidateRecord], seconds: float) -> None:
        """Candidates were asked for and stored together, which took so long."""
        if not traces.enabled():
            return
        for candidate in candidates:
            self._begun[candidate.number] = time.time() - seconds
            carrier = traces.candidate_carrier(self._search_id, candidate.number)
            traces.record("ask", seconds, carrier=carrier, candidate=candidate.number)

    def told(self, candidates: Iterable[CandidateRecord], seconds: float) -> None:
        """Their results were told and stored together, which took so long."""
        if not traces.enabled():
            return
        for candidate in candidates:
            carrier = traces.candidate_carrier(self._search_id, candidate.number)
            traces.record("tell", seconds, carrier=carrier, candidate=candidate.number)
            begin = self._begun.pop(candidate.number, self._since)
            traces.record_candidate(self._search_id, candidate.number, begin)
