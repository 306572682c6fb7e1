"""One search of `benchmarks.search_efficiency`, watched while it runs: documents, tokens and time.

Documents are counted by the answers that each evaluation holds, also where the evaluation was taken
over from an earlier search of the same store: a run is charged for everything it would have scored in
an empty store. Seconds are those that passed, plus the stored cost of what was taken over. Baselines
and finals are counted apart.
"""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from evomerge.controller import Event, PhaseStarted, Scored
from evomerge.dispatch import InlineDispatcher
from evomerge.fitness import Split
from evomerge.results import find_winner, scored_by_split
from evomerge.service import check_search, run_search, submit_search
from evomerge.spec import SearchSpec
from evomerge.store import SQLStore
from evomerge.store.types import EvaluationRecord
from evomerge.worker import Worker


@dataclass
class Spent:
    """What a phase cost; seconds by the clock, cpu_seconds of this process."""

    evaluations: int = 0
    documents: int = 0
    tokens: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0


@dataclass(frozen=True)
class Step:
    """A candidate of the search phase, and what the phase had cost when it was scored.

    best: whether no earlier candidate has a better search score. dropped: it lost its race.
    """

    candidate_id: int
    fitness: float | None
    dropped: bool
    best: bool
    documents: int
    seconds: float
    cpu_seconds: float


@dataclass
class Run:
    """A finished search."""

    search_id: str
    zoo: str
    kind: str
    seed: int
    winner: int = -1
    test_fitness: float = float("nan")
    phases: dict[str, Spent] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)

    @property
    def full(self) -> int:
        """Documents of the whole search split."""
        return max(_differences([step.documents for step in self.steps]))

    def save(self, file: Path) -> None:
        """As JSON, in one piece."""
        draft = file.with_suffix(".part")
        draft.write_text(json.dumps(asdict(self)), encoding="utf-8")
        draft.rename(file)

    @classmethod
    def load(cls, file: Path) -> "Run":
        """What `save` wrote."""
        data: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        data["phases"] = {name: Spent(**spent) for name, spent in data["phases"].items()}
        data["steps"] = [Step(**step) for step in data["steps"]]
        return cls(**data)


class Watch:
    """The listener of a run: books every scored evaluation on the phase that is on."""

    def __init__(self, run: Run, store: SQLStore) -> None:
        self._run, self._store = run, store
        self._phase = Spent()
        self._clock, self._cpu = time.monotonic(), time.process_time()
        self._best: float | None = None

    def __call__(self, event: Event) -> None:
        if isinstance(event, PhaseStarted):
            self._book_time()
            self._phase = self._run.phases.setdefault(event.name, Spent())
        elif isinstance(event, Scored):
            self._book(event.evaluation)
            if self._phase is self._run.phases.get("search"):
                self._step(event)

    def _book_time(self) -> None:
        clock, cpu = time.monotonic(), time.process_time()
        self._phase.seconds += clock - self._clock
        self._phase.cpu_seconds += cpu - self._cpu
        self._clock, self._cpu = clock, cpu

    def _book(self, evaluation: EvaluationRecord) -> None:
        self._book_time()
        spent = self._phase
        spent.evaluations += 1
        spent.documents += documents_of(evaluation)
        if evaluation.costs is not None:
            spent.tokens += evaluation.costs.tokens
            if evaluation.copied_from is not None:
                spent.seconds += evaluation.costs.total_seconds
                spent.cpu_seconds += evaluation.costs.total_seconds

    def _step(self, event: Scored) -> None:
        evaluation, spent = event.evaluation, self._phase
        dropped = evaluation.status.value == "dropped"
        best = _is_best(evaluation, self._best) and not dropped
        if best:
            self._best = evaluation.fitness
        self._run.steps.append(
            Step(
                candidate_id=event.candidate.id,
                fitness=evaluation.fitness,
                dropped=dropped,
                best=best,
                documents=spent.documents,
                seconds=spent.seconds,
                cpu_seconds=spent.cpu_seconds,
            )
        )


def documents_of(evaluation: EvaluationRecord) -> int:
    """How many documents its headline scores are means of."""
    return sum(score.n for score in evaluation.scores if score.headline)


def search(
    zoo: str, kind: str, spec: SearchSpec, store: SQLStore, worker: Worker, seed: int
) -> Run:
    """Submit and run a search on a live worker, which stays open for the next one."""
    record = submit_search(store, check_search(spec, store.url))
    run = Run(record.id, zoo, kind, seed)
    watch = Watch(run, store)
    run_search(store, record.id, InlineDispatcher(worker), watch)
    winner = find_winner(store.candidates(record.id), scored_by_split(store, record.id))
    if winner is None:
        raise SystemExit(f"{zoo}, {kind}, seed {seed}: nothing could be scored")
    run.winner = winner.id
    run.test_fitness = test_evaluation(store, record.id, winner.id).fitness or float("nan")
    return run


def test_evaluation(store: SQLStore, search_id: str, candidate_id: int) -> EvaluationRecord:
    """A candidate's evaluation on the test split."""
    found = store.evaluations(search_id, Split.TEST)
    return next(one for one in found if one.candidate_id == candidate_id)


def _is_best(evaluation: EvaluationRecord, best: float | None) -> bool:
    fitness = evaluation.fitness
    return fitness is not None and (best is None or fitness > best)


def _differences(rising: Sequence[int]) -> list[int]:
    return [after - before for before, after in zip((0, *rising[:-1]), rising, strict=True)]
