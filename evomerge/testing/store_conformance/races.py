"""Races: an evaluation that lost one has an estimate, and nobody takes it for a result."""

import pytest

from evomerge.errors import EvaluationError, NotFoundError, StoreError
from evomerge.fitness import Fitness, Split
from evomerge.limits import Limits
from evomerge.spec import Budget
from evomerge.store import Store
from evomerge.store.types import EvaluationStatus, Origin, Wanted
from evomerge.testing.store_conformance.samples import (
    Held,
    hold,
    make_candidate,
    make_result,
)


def _race(held: Held, *, lost: bool) -> int:
    """The evaluation of a candidate that raced against another one."""
    held.add(make_candidate(0))
    rival = held.evaluations()[0].id
    held.score(rival, 0.9)
    held.add(make_candidate(1, rival=rival, asked_after=1))
    raced = held.evaluations()[1].id
    attempt = held.store.begin_attempt(raced, "worker")
    assert held.store.finish_attempt(raced, attempt, make_result(0.4, 7, dropped=lost))
    held.store.set_fitness({raced: Fitness(0.4, 0.05, 0.0)})
    return raced


class RaceTests:
    """What a store does with races, late asks and changed limits."""

    def test_a_candidate_remembers_how_much_had_been_told_when_it_was_asked(
        self, store: Store
    ) -> None:
        held = hold(store)
        held.add(
            make_candidate(0), make_candidate(1, asked_after=0), make_candidate(2, asked_after=7)
        )
        assert [c.asked_after for c in store.candidates(held.id)] == [None, 0, 7]

    def test_a_lost_race_leaves_an_estimate_that_no_best_list_shows(self, store: Store) -> None:
        held = hold(store)
        raced = _race(held, lost=True)
        found = store.evaluation(raced)
        assert (found.status, found.fitness) == (EvaluationStatus.DROPPED, 0.4)
        assert found.rival == held.evaluations()[0].id
        assert [row.number for row in store.best(search_id=held.id)] == [0]
        assert len(store.outcomes(raced)[0].doc_ids) == 7

    def test_standings_say_of_each_candidate_what_ranking_needs(self, store: Store) -> None:
        held = hold(store)
        held.add(make_candidate(5, origin=Origin.BASELINE))
        raced = _race(held, lost=True)
        (first, second) = store.standings(held.id, Split.SEARCH)
        assert (first.number, first.status, first.fitness) == (0, EvaluationStatus.SCORED, 0.9)
        assert (second.number, second.status) == (1, EvaluationStatus.DROPPED)
        assert (second.fitness, second.violation) == (0.4, 0.0)
        known = store.candidate(store.evaluation(raced).candidate_id)
        assert second.candidate_id == known.id
        assert (second.recipe_id, second.label) == (known.recipe_id, known.label)
        assert store.standings(held.id, Split.VALIDATION) == []

    def test_a_race_that_was_not_lost_is_a_result_like_any_other(self, store: Store) -> None:
        held = hold(store)
        raced = _race(held, lost=False)
        assert store.evaluation(raced).status is EvaluationStatus.SCORED
        assert [row.number for row in store.best(search_id=held.id)] == [0, 1]

    def test_the_same_recipe_in_the_same_search_follows_a_dropped_one(self, store: Store) -> None:
        held = hold(store)
        raced = _race(held, lost=True)
        held.add(make_candidate(2, 0.001))
        again = held.evaluations()[2]
        assert (again.copied_from, again.status) == (raced, EvaluationStatus.DROPPED)
        assert again.fitness == 0.4

    def test_another_search_scores_a_dropped_recipe_itself(self, store: Store) -> None:
        _race(hold(store), lost=True)
        other = hold(store)
        other.add(make_candidate(0, 0.001))
        found = other.evaluations()[0]
        assert (found.copied_from, found.status) == (None, EvaluationStatus.PENDING)

    def test_a_dropped_evaluation_is_not_attempted_again(self, store: Store) -> None:
        raced = _race(hold(store), lost=True)
        with pytest.raises(StoreError):
            store.begin_attempt(raced, "worker")

    def test_progress_counts_dropped_candidates_apart(self, store: Store) -> None:
        held = hold(store)
        _race(held, lost=True)
        columns, rows = store.query("progress", {"search": held.id})
        row = dict(zip(columns, rows[0], strict=True))
        assert (row["scored"], row["dropped"], row["best_fitness"]) == (1, 1, 0.9)

    def test_progress_in_counts_and_the_best_candidate(self, store: Store) -> None:
        held = hold(store)
        empty = store.progress(held.id)
        assert (empty.candidates, empty.told, empty.best) == (0, 0, None)
        held.add(make_candidate(0, origin=Origin.BASELINE))
        rival = held.evaluations()[0].id
        held.score(rival, 0.5)
        held.add(*(make_candidate(n, rival=rival) for n in (1, 2, 3)), make_candidate(4, 0.001))
        first, second, third = (e.id for e in held.evaluations()[1:4])
        held.score(first, 0.7, violation=0.1)
        attempt = store.begin_attempt(second, "worker")
        store.finish_attempt(second, attempt, make_result(0.1, 3, dropped=True))
        attempt = store.begin_attempt(third, "worker")
        store.fail_attempt(third, attempt, EvaluationError("broken"), final=True)
        store.mark_told(held.id, held.owner, {held.evaluations()[1].candidate_id: -0.7})
        progress = store.progress(held.id)
        assert (progress.baselines, progress.candidates, progress.told) == (1, 5, 1)
        counts = {name: n for name, n in progress.counts[Split.SEARCH].items() if n}
        assert counts == {"scored": 2, "dropped": 1, "failed": 1, "reused": 1}
        assert progress.ended(Split.SEARCH) == 5
        assert progress.best is not None
        assert (progress.best.number, progress.best_fitness) == (0, 0.5)

    def test_limits_overrule_the_file_until_they_are_replaced(self, store: Store) -> None:
        held = hold(store)
        assert store.limits(held.id) == Limits()
        status = store.search(held.id).status
        assert store.wanted(held.id) == Wanted(status, Limits(), None)
        for limits in (Limits(workers=3), Limits(budget=Budget(candidates=9, hours=2.5))):
            store.set_limits(held.id, limits)
            assert store.limits(held.id) == limits
            assert store.wanted(held.id).limits == limits
        with pytest.raises(NotFoundError):
            store.set_limits("nowhere", Limits())
        with pytest.raises(NotFoundError):
            store.wanted("nowhere")
