"""Freezes the schema of a release: `python -m tests.store.frozen.make` writes `REVISION.sql` here.

Run once for each released revision, then never again: what lies here stands for the databases that
users have.
"""

from __future__ import annotations

import sqlite3
import tempfile
from pathlib import Path

from evomerge.errors import EvaluationError
from evomerge.fitness import Fitness, Split
from evomerge.limits import Limits
from evomerge.spec import Budget
from evomerge.store import open_store
from evomerge.store.access import OwnerLimits, Scope
from evomerge.store.schema import REVISIONS
from evomerge.testing.store_conformance.samples import hold, make_candidate, make_result


def fill(url: str) -> None:
    """Something in every table and column."""
    store = open_store(url)
    held = hold(store, search_id="frozen")
    first_two = (make_candidate(n, generation=0, label=str(n), asked_after=0) for n in range(2))
    records = held.add(*first_two)
    rival = held.evaluations()[0].id
    held.add(make_candidate(2, generation=0, label="2", asked_after=0, rival=rival))
    held.add(make_candidate(3, 0.001, generation=1, asked_after=2))
    first, second, third, _ = (e.id for e in held.evaluations())
    held.score(first, 0.5)
    for _ in range(2):
        store.begin_attempt(second, "worker")
    store.finish_attempt(second, 1, make_result(0.25))
    store.finish_attempt(second, 2, make_result(0.75))
    store.set_fitness({second: Fitness(0.75, None, 0.5)})
    attempt = store.begin_attempt(third, "worker")
    store.fail_attempt(third, attempt, EvaluationError("engine died"), final=True)
    store.mark_told(held.id, held.owner, {records[1].id: -0.75, records[0].id: -0.5})
    store.request_evaluations(held.id, held.owner, [records[0].id], Split.TEST)
    store.set_limits(held.id, Limits(budget=Budget(candidates=9), workers=2))
    store.adopt(held.id, "ada")
    store.set_owner("ada", weight=2.0, limits=OwnerLimits(running=3))
    store.create_token("ada", Scope.SUBMIT, seconds=3600, note="laptop")
    store.log(held.id, "began")
    store.add_export(records[0].id, "ada", "/exports/frozen")
    store.close()


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "store.db"
        fill(str(path))
        connection = sqlite3.connect(path)
        dump = "\n".join(connection.iterdump())
        connection.close()
    target = Path(__file__).with_name(f"{REVISIONS[-1]}.sql")
    target.write_text(dump + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
