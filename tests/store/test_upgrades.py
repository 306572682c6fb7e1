"""Every schema that was ever released is upgraded, and its searches are read and continued."""

from __future__ import annotations

import math
import sqlite3
from pathlib import Path

import pytest

from evomerge.fitness import Split
from evomerge.store import make_owner, open_store, upgrade
from evomerge.store.schema import REVISIONS
from evomerge.store.types import EvaluationStatus
from evomerge.testing.store_conformance.samples import make_candidate, make_result, make_spec

FROZEN = sorted((Path(__file__).parent / "frozen").glob("*.sql"))

AS_BEFORE = {
    "0001": make_spec(
        strategy={"name": "cma", "seed": 11, "asynchronous": False}, racing={"enabled": False}
    ),
    "0002": make_spec(),
    "0003": make_spec(),
}
"""What the searches of earlier releases did without saying so, and go on doing."""


def test_every_revision_but_the_newest_is_frozen():
    assert {path.stem for path in FROZEN} >= set(REVISIONS[:-1])


@pytest.mark.parametrize("frozen", FROZEN, ids=lambda path: path.stem)
def test_a_database_of_an_earlier_release_is_upgraded_read_and_continued(frozen, sqlite_url):
    connection = sqlite3.connect(sqlite_url)
    connection.executescript(frozen.read_text(encoding="utf-8"))
    connection.close()
    upgrade(sqlite_url)
    store = open_store(sqlite_url, create=False)
    assert store.search("frozen").spec == AS_BEFORE[frozen.stem]
    candidates = store.candidates("frozen")
    assert [(c.number, c.told, c.loss) for c in candidates] == [
        (0, 1, -0.5), (1, 0, -0.75), (2, None, None), (3, None, None),
    ]  # fmt: skip
    assert [c.recipe for c in candidates[:3]] == [make_candidate(n).recipe for n in range(3)]
    first, second, third, fourth = store.evaluations("frozen", Split.SEARCH)
    assert (first.fitness, second.fitness, second.violation) == (0.5, 0.75, 0.5)
    assert (third.status, third.error) == (EvaluationStatus.FAILED, "engine died")
    assert (fourth.copied_from, fourth.scores) == (second.id, make_result(0.75).scores)
    late, scored = store.attempts(second.id)
    assert (late.status, late.late_scores) == ("late", make_result(0.25).scores)
    assert not math.isnan(scored.started_at.timestamp())
    for found, made in zip(store.outcomes(first.id), make_result(0.5).outcomes, strict=True):
        assert (found.task, found.doc_ids) == (made.task, made.doc_ids)
        assert all((found.values[m] == made.values[m]).all() for m in made.values)
    with sqlite3.connect(sqlite_url) as connection:
        connection.execute("UPDATE searches SET lease_until = 0")
    connection.close()
    owner = make_owner()
    store.acquire_lease("frozen", owner, 60)
    store.add_candidates("frozen", owner, [make_candidate(4)])
    store.close()
