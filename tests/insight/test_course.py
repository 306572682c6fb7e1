"""History and spending, from rows as the store gives them, and from the rows of a search."""

from dataclasses import replace

import pytest

from evomerge.controller.events import ignore
from evomerge.fitness import Split, TaskScore
from evomerge.insight import read_importance, read_insight
from evomerge.insight.history import read_history
from evomerge.insight.spending import Documents
from evomerge.recipe import Recipe, Source, constant
from evomerge.service import check_search, make_dispatcher, run_search, submit_search
from evomerge.store import open_store
from evomerge.store.types import (
    CandidateRecord,
    EvaluationRecord,
    EvaluationStatus,
    Origin,
)
from tests.support import fake_spec

SCORED, DROPPED, FAILED = (
    EvaluationStatus.SCORED,
    EvaluationStatus.DROPPED,
    EvaluationStatus.FAILED,
)


def candidate(number, origin=Origin.SEARCH):
    source = Source(model="x", parameters={"weight": constant(0.01 * number)})
    recipe = Recipe(merge_method="ties", base_model="b", models=(source,))
    return CandidateRecord(
        number, "s", number, origin, recipe, recipe.recipe_id, None, None, None, None, None
    )


def evaluation(number, fitness, status=SCORED, documents=100, **more):
    scores = (TaskScore("a", "acc", 0.5, None, documents, headline=True),)
    return EvaluationRecord(
        number, number, Split.SEARCH, status, 1, fitness=fitness, scores=scores, **more
    )


def test_the_best_so_far_is_the_best_that_answered_everything_and_keeps_its_constraints():
    rows = [
        evaluation(0, 0.9),
        evaluation(1, 0.5, violation=0.0),
        evaluation(2, 0.8, DROPPED, 30),
        evaluation(3, 0.7, violation=0.1),
        evaluation(4, None, FAILED, 0),
        evaluation(5, 0.6, copied_from=1),
        evaluation(6, 0.55),
    ]
    candidates = [candidate(0, Origin.BASELINE), *map(candidate, range(1, 7))]
    points = read_history(candidates, rows)
    assert [p.number for p in points] == [1, 2, 3, 5, 6]
    assert [p.best for p in points] == [0.5, 0.5, 0.5, 0.6, 0.6]
    assert [p.dropped for p in points] == [False, True, False, False, False]
    assert [p.feasible for p in points] == [True, True, False, True, True]
    assert [p.documents for p in points] == [100, 130, 230, 230, 330]


def test_importance_hears_dropped_candidates_and_no_failed_ones():
    rows = [evaluation(n, 0.01 * n, DROPPED if n % 2 else SCORED) for n in range(60)]
    rows += [evaluation(60, None, FAILED)]
    found = read_importance([candidate(n) for n in range(61)], rows, candidate)
    assert found.candidates == 60
    assert found.features[0].label == "weight · x"
    alone = read_importance([candidate(n) for n in range(61)], rows[:10], candidate)
    assert "too few" in alone.note


def test_of_a_long_search_a_thousand_candidates_are_looked_at():
    rows = [evaluation(n, 0.0001 * n) for n in range(3000)]
    found = read_importance([candidate(n) for n in range(3000)], rows, candidate)
    assert found.candidates == 1000
    assert found.features[0].share.value > 0.8


def test_documents_saved_are_those_that_nobody_answered():
    assert Documents(40, 100, 10, 7, 0).saved == pytest.approx(0.6)
    assert Documents(0, 0, 0, 0, 0).saved == 0.0


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    folder = tmp_path_factory.mktemp("insight")
    store = open_store(folder / "s.db")
    spec = fake_spec(
        folder,
        budget={"candidates": 60},
        engine={"name": "fake", "fake_seconds": 0.01},
        racing={"enabled": True, "blocks": 6},
    )
    search = submit_search(store, check_search(spec, store.url))
    run_search(store, search.id, make_dispatcher(spec, store.url, inline=True), ignore)
    yield store, store.search(search.id)
    store.close()


def test_races_of_a_search_save_documents_and_are_counted(searched):
    store, search = searched
    documents = read_insight(store, search).spending.documents
    dropped = [
        e
        for e in store.evaluations(search.id, Split.SEARCH)
        if e.status is EvaluationStatus.DROPPED
    ]
    assert documents.dropped == len(dropped) > 0
    assert 0 < documents.saved < 1
    assert documents.answered < documents.full


def test_the_last_point_of_the_history_has_all_documents_of_the_search(searched):
    found = read_insight(*searched)
    assert found.history[-1].documents == found.spending.documents.answered
    assert any(point.dropped for point in found.history)


def test_worker_time_adds_up_to_what_the_workers_were_there(searched):
    store, search = searched
    spending = read_insight(store, search).spending
    columns, rows = store.query("workers", {"search": search.id})
    present = sum(dict(zip(columns, row, strict=True))["present_seconds"] for row in rows)
    assert spending.workers == 1
    assert sum(spending.seconds.values()) == pytest.approx(present, rel=0.02)
    assert spending.seconds["forward"] > 0.01 * 60 * 0.5
    assert 0 < spending.busy <= 1


def test_waiting_is_what_is_left_of_a_workers_time(searched):
    spending = read_insight(*searched).spending
    idle = replace(spending, seconds={"forward": 3.0, "waiting": 1.0})
    assert idle.busy == 0.75
