"""A store with very many candidates, written in bulk, for benchmarks of what reads it.

    python -m benchmarks.many_candidates --store FILE --candidates 200000

Rows are those that a search of the fake engine over three experts leaves behind: recipes of a few
hundred bytes, two tasks, races that drop a third, some failures and repeated recipes, workers that were
lost. Fitness climbs with noise, as a search's does. Written through the tables themselves: a real
controller would need an hour for it.
"""

import argparse
import json
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import Connection, create_engine, func, insert, select, text

from evomerge.recipe import Recipe, Rule, Source
from evomerge.service import check_search, submit_search
from evomerge.store import open_store
from evomerge.store.connection import resolve_url
from evomerge.store.schema import Ask, Attempt, Candidate, Evaluation, Race, Score
from evomerge.store.types import SearchStatus
from tests.support import fake_spec

TASKS = ("alpha", "beta")
_CHUNK = 5000
_SECONDS = 40.0
_WORKERS = 16


@dataclass
class _Rows:
    """What goes into each table, a chunk at a time."""

    tables: dict[Any, list[dict[str, Any]]] = field(default_factory=dict)

    def add(self, table: Any, **values: Any) -> None:
        self.tables.setdefault(table, []).append(values)

    def write(self, db: Connection) -> None:
        for table in (Candidate, Ask, Evaluation, Race, Attempt, Score):
            rows = self.tables.get(table)
            if rows:
                db.execute(insert(table), rows)
        self.tables.clear()


def fill(
    url: str,
    folder: Path,
    candidates: int,
    *,
    name: str = "large",
    seed: int = 0,
    budget: int | None = None,
    **changes: Any,
) -> str:
    """Add a running search with so many candidates to the store at `url`; returns its id.

    changes: of the search file.
    """
    store = open_store(url)
    tasks = [{"task": TASKS[0]}, {"task": TASKS[1], "at_least": 0.3}]
    spec = fake_spec(
        folder,
        name=name,
        budget={"candidates": budget or candidates + 1000},
        objective={"tasks": tasks},
        workers={"max": _WORKERS},
        **changes,
    )
    search = submit_search(store, check_search(spec, store.url))
    store.set_status(search.id, SearchStatus.RUNNING)
    store.close()
    _Bulk(url, search.id, list(spec.models), spec.base_model, seed).write(candidates)
    return search.id


class _Bulk:
    def __init__(self, url: str, search: str, models: list[str], base: str, seed: int) -> None:
        self._engine = create_engine(resolve_url(url))
        self._search, self._models, self._base = search, models, base
        self._rng = np.random.default_rng(seed)
        self._now = time.time()
        experts = [f"expert {Path(model).name}" for model in models]
        self._baselines = ["base", *experts, "uniform average", "task arithmetic", "TIES"]

    def write(self, count: int) -> None:
        with self._engine.begin() as db:
            start = int(db.scalar(select(func.max(Candidate.id))) or 0) + 1
            self._evaluation = int(db.scalar(select(func.max(Evaluation.id))) or 0) + 1
            rows = _Rows()
            for number in range(count):
                self._candidate(rows, start + number, number, count)
                if number % _CHUNK == _CHUNK - 1:
                    rows.write(db)
            rows.write(db)
            if db.dialect.name == "postgresql":
                for table in ("candidates", "evaluations"):
                    db.execute(
                        text(
                            f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), "
                            f"(SELECT MAX(id) FROM {table}))"
                        )
                    )
        with self._engine.connect() as db:
            db.execution_options(isolation_level="AUTOCOMMIT").execute(text("ANALYZE"))
        self._engine.dispose()

    def _candidate(self, rows: _Rows, key: int, number: int, count: int) -> None:
        baseline = number < len(self._baselines)
        recipe = self._recipe(number)
        rows.add(
            Candidate,
            id=key,
            search_id=self._search,
            number=number,
            origin="baseline" if baseline else "search",
            generation=None if baseline else number // 12,
            label=self._baselines[number] if baseline else None,
            recipe_id=recipe.recipe_id,
            recipe=recipe.canonical_json(),
            genome=json.dumps([round(float(g), 6) for g in self._rng.random(6)]),
            told=number,
            loss=0.5,
            created_at=_at(self._ended(number, count)),
        )
        rows.add(Ask, candidate_id=key, tells=max(0, number - _WORKERS))
        self._evaluate(rows, key, number, count, recipe.recipe_id)

    def _evaluate(self, rows: _Rows, key: int, number: int, count: int, recipe_id: str) -> None:
        evaluation = self._evaluation + number
        share = number / count
        dropped = number > 50 and bool(self._rng.random() < 0.33)
        failed = number > 50 and not dropped and bool(self._rng.random() < 0.01)
        running = number >= count - _WORKERS
        alpha, beta = (
            float(0.35 + 0.4 * (1 - math.exp(-3 * share)) + noise)
            for noise in self._rng.normal(0, 0.03, 2)
        )
        fitness = round((alpha + beta) / 2, 6)
        violation = max(0.0, 0.3 - beta)
        status = "running" if running else "failed" if failed else "scored"
        kept = status == "scored" and not dropped
        error = ("MergeError", "the weights cancel: they add up to 0\n  → use other weights")
        rows.add(
            Evaluation,
            id=evaluation,
            candidate_id=key,
            search_id=self._search,
            recipe_id=recipe_id,
            split="search",
            status=status,
            copied_from=None,
            attempts=1,
            failures=int(failed),
            fitness=fitness if kept else None,
            fitness_stderr=0.02 if kept else None,
            violation=violation if kept else None,
            error_type=error[0] if failed else None,
            error=error[1] if failed else None,
            retryable=not failed,
            created_at=_at(self._ended(number, count)),
        )
        if number > 50 and not running:
            rows.add(
                Race,
                evaluation_id=evaluation,
                search_id=self._search,
                rival_id=self._evaluation,
                dropped=dropped,
                fitness=fitness if dropped else None,
                fitness_stderr=0.04 if dropped else None,
                violation=0.0 if dropped else None,
            )
        self._attempt(rows, evaluation, number, count, status, error)
        if status == "scored":
            for place, (task, value) in enumerate(zip(TASKS, (alpha, beta), strict=True)):
                n = 60 if dropped else 300
                values = {"metric": "acc", "headline": True, "value": value, "stderr": 0.03}
                rows.add(Score, evaluation_id=evaluation, task=task, position=place, n=n, **values)

    def _attempt(
        self,
        rows: _Rows,
        evaluation: int,
        number: int,
        count: int,
        status: str,
        error: tuple[str, str],
    ) -> None:
        ended = self._ended(number, count)
        seconds = _SECONDS * float(self._rng.uniform(0.6, 1.4))
        running, failed = status == "running", status == "failed"
        spent: Mapping[str, float | int | None] = {
            "merge_seconds": 0.02 * seconds,
            "load_seconds": 0.0,
            "forward_seconds": 0.93 * seconds,
            "overhead_seconds": 0.03 * seconds,
            "tokens": 90_000,
        }
        rows.add(
            Attempt,
            evaluation_id=evaluation,
            number=1,
            worker=f"worker-{number % _WORKERS:02}",
            status=status,
            started_at=_at(self._now - 20 if running else ended - seconds),
            finished_at=None if running else _at(ended),
            error_type=error[0] if failed else None,
            error=error[1] if failed else None,
            **(dict.fromkeys(spent) if status != "scored" else spent),
        )

    def _ended(self, number: int, count: int) -> float:
        return self._now - (count - number) * _SECONDS / _WORKERS

    def _recipe(self, number: int) -> Recipe:
        values = self._rng.random((len(self._models), 2, 4)).round(6)
        sources = tuple(
            Source(
                model=model,
                parameters={
                    "weight": tuple(_rules(values[place, 0])),
                    "density": tuple(_rules(values[place, 1])),
                },
            )
            for place, model in enumerate(self._models)
        )
        return Recipe(merge_method="ties", base_model=self._base, models=sources, seed=number)


def _rules(values: Any) -> Iterator[Rule]:
    for name, value in zip(("attn", None), values, strict=False):
        layers = tuple(float(value * (1 - layer / 8)) for layer in range(4))
        yield Rule(filter=name, value=layers)


def _at(seconds: float) -> Any:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(seconds, UTC)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", required=True)
    parser.add_argument("--candidates", type=int, default=200_000)
    parser.add_argument("--searches", type=int, default=1)
    given = parser.parse_args()
    each = given.candidates // given.searches
    models = Path("/tmp") / "evomerge-many-candidates"
    for number in range(given.searches):
        began = time.perf_counter()
        found = fill(given.store, models / "models", each, name=f"large {number}", seed=number)
        print(f"{found}: {each} candidates in {time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
