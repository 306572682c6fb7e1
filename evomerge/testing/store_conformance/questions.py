"""`best`, and every file of `db/queries`."""

from typing import Any

import pytest

from evomerge.errors import MergeError, NotFoundError, StoreError
from evomerge.fitness import Fitness, Split
from evomerge.store import Store
from evomerge.store import questions as questions_module
from evomerge.store.types import Origin, QueryInfo
from evomerge.testing.store_conformance.samples import (
    ALPHA,
    BETA,
    Held,
    hold,
    make_candidate,
    make_recipe,
)


def _filled(store: Store, **spec: Any) -> Held:
    """Baselines 0.3 and 0.5; candidates 0.6, that one again, 0.9 though infeasible, one failed."""
    held = hold(store, **spec)
    held.add(
        make_candidate(0, 0.1, origin=Origin.BASELINE, label="base", genome=None),
        make_candidate(1, 0.2, origin=Origin.BASELINE, label="average", genome=None),
        make_candidate(2, 0.3),
        make_candidate(3, 0.3),
        make_candidate(4, 0.4),
        make_candidate(5, 0.5),
    )
    ids = [evaluation.id for evaluation in held.evaluations()]
    for place, value, violation in ((0, 0.3, 0), (1, 0.5, 0), (2, 0.6, 0), (4, 0.9, 0.2)):
        held.score(ids[place], value, violation)
    fitness = store.evaluation(ids[2])
    assert fitness.fitness is not None
    store.set_fitness({ids[3]: Fitness(fitness.fitness, 0.01)})
    _fail(store, ids[5])
    return held


def _fail(store: Store, evaluation_id: int) -> None:
    attempt = store.begin_attempt(evaluation_id, "worker")
    store.fail_attempt(evaluation_id, attempt, MergeError("weights cancel"), final=True)


def _rows(store: Store, name: str, **parameters: Any) -> list[dict[str, Any]]:
    columns, rows = store.query(name, parameters)
    return [dict(zip(columns, row, strict=True)) for row in rows]


class QuestionTests:
    """What people ask."""

    def test_the_best_come_first_feasible_ones_before_others_and_each_recipe_once(
        self, store: Store
    ) -> None:
        held = _filled(store)
        rows = store.best()
        assert [row.number for row in rows] == [2, 1, 0, 4]
        first = rows[0]
        assert (first.search_id, first.search_name, first.origin) == (
            held.id,
            "sample",
            Origin.SEARCH,
        )
        assert (first.fitness, first.stderr, first.violation) == (0.6, 0.01, 0.0)
        assert first.recipe == make_recipe(0.3)
        assert dict(first.scores) == {ALPHA: 0.6, BETA: 6.0}
        assert rows[3].violation == 0.2
        assert [row.number for row in store.best(limit=1)] == [2]

    def test_a_task_ranks_in_the_direction_that_the_search_gives_it(self, store: Store) -> None:
        _filled(store)
        assert [row.number for row in store.best(task=ALPHA)] == [4, 2, 1, 0]
        assert [row.number for row in store.best(task=BETA)] == [0, 1, 2, 4]

    def test_best_keeps_to_the_search_the_base_model_and_the_split_asked_for(
        self, store: Store
    ) -> None:
        one = _filled(store)
        two = _filled(store, scope="other", base_model="org/other")
        assert {row.search_id for row in store.best(limit=99)} == {one.id, two.id}
        assert {row.search_id for row in store.best(search_id=two.id)} == {two.id}
        assert {row.search_id for row in store.best(base_model="org/other")} == {two.id}
        assert store.best(split=Split.TEST) == []

    def test_a_misspelt_task_or_base_model_is_no_empty_answer(self, store: Store) -> None:
        assert store.best(task=ALPHA) == []
        _filled(store)
        with pytest.raises(NotFoundError, match="did you mean 'alpha'"):
            store.best(task="alfa")
        with pytest.raises(NotFoundError, match="did you mean 'org/base'"):
            store.best(base_model="org/bse")

    def test_every_query_says_what_it_answers_and_runs_with_and_without_parameters(
        self, store: Store
    ) -> None:
        held = _filled(store)
        needed = {
            "best_recipes",
            "failures",
            "costs",
            "progress",
            "duplicates",
            "baselines_vs_best",
        }
        assert needed <= {info.name for info in store.queries()}
        for info in store.queries():
            file = f"db/queries/{info.name}.sql"
            sentence = f"{file} opens with a comment that says, in a sentence, what it answers"
            assert info.summary.endswith("."), sentence
            assert "search" in info.parameters, f"{file} takes :search (NULL: all searches)"
            everything = store.query(info.name, {})
            alone = store.query(info.name, {"search": held.id})
            assert everything[1] == alone[1] != [], f"{file}: without parameters, all there is"
            values = {"limit": "1", "split": "search", "base": "org/base", "task": ALPHA}
            narrow = {key: values[key] for key in info.parameters if key != "search"}
            assert 0 < len(store.query(info.name, narrow)[1]) <= len(everything[1])

    def test_queries_answer_alike_on_every_database(self, store: Store) -> None:
        held = _filled(store)
        best = _rows(store, "best_recipes", search=held.id, limit=2)
        assert [(r["number"], r["fitness"]) for r in best] == [(2, 0.6), (1, 0.5)]
        (failure,) = _rows(store, "failures")
        assert (failure["number"], failure["error_type"]) == (5, "MergeError")
        (cost,) = _rows(store, "costs")
        assert (cost["candidates"], cost["tokens"]) == (4, 4 * 1234)
        assert cost["forward_seconds"] == pytest.approx(4 / 3)
        (progress,) = _rows(store, "progress")
        counts = ("candidates", "told", "scored", "taken_over", "failed", "running", "pending")
        assert [progress[name] for name in counts] == [6, 0, 5, 1, 1, 0, 0]
        assert progress["best_fitness"] == 0.6
        (duplicate,) = _rows(store, "duplicates")
        assert (duplicate["number"], duplicate["first_number"]) == (3, 2)
        compared = _rows(store, "baselines_vs_best")
        assert [(r["baseline"], r["best_number"]) for r in compared] == [
            ("average", 2),
            ("base", 2),
        ]
        assert compared[0]["gain"] == pytest.approx(0.1)

    def test_an_unknown_query_or_parameter_names_the_nearest(self, store: Store) -> None:
        with pytest.raises(NotFoundError, match="did you mean 'costs'"):
            store.query("cost", {})
        with pytest.raises(NotFoundError, match="did you mean 'search'"):
            store.query("costs", {"serach": "x"})
        with pytest.raises(NotFoundError, match="no search 'x'"):
            store.query("costs", {"search": "x"})

    def test_a_query_cannot_write(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        held = _filled(store)
        evil = (QueryInfo("evil", "", ()), "UPDATE searches SET name = 'x' RETURNING id")
        monkeypatch.setattr(questions_module, "load_query", lambda name: evil)
        with pytest.raises(StoreError):
            store.query("evil", {})
        assert store.search(held.id).name == "sample"
