"""A recipe is scored once: everybody else who asks for it follows."""

import pytest

from evomerge.errors import MergeError, StoreError
from evomerge.fitness import Fitness, Split
from evomerge.store import Store
from evomerge.store.types import EvaluationStatus
from evomerge.testing.store_conformance.samples import hold, make_candidate


class FollowingTests:
    """Evaluations with `copied_from`."""

    def test_a_recipe_asked_for_again_in_a_search_follows_the_first(self, store: Store) -> None:
        held = hold(store)
        held.add(make_candidate(0, 0.5), make_candidate(1, 0.5))
        held.add(make_candidate(2, 0.5))
        first, *others = held.evaluations()
        assert [e.copied_from for e in (first, *others)] == [None, first.id, first.id]
        held.score(first.id, 0.75)
        first, *others = held.evaluations()
        for other in others:
            assert other.status is EvaluationStatus.SCORED
            assert (other.scores, other.costs) == (first.scores, first.costs)
            assert other.fitness is None
        assert len(store.outcomes(others[0].id)) == 2
        store.set_fitness({others[0].id: Fitness(0.7, None, 0.1)})
        assert store.evaluation(others[0].id).violation == 0.1
        assert store.evaluation(first.id).fitness == 0.75

    def test_what_follows_fails_with_the_first(self, store: Store) -> None:
        held = hold(store)
        held.add(make_candidate(0, 0.5), make_candidate(1, 0.5))
        first, other = held.evaluations()
        attempt = store.begin_attempt(first.id, "w")
        assert store.evaluation(other.id).status is EvaluationStatus.RUNNING
        store.fail_attempt(first.id, attempt, MergeError("weights cancel"), final=True)
        held.add(make_candidate(2, 0.5))
        for evaluation in held.evaluations():
            assert evaluation.status is EvaluationStatus.FAILED
            assert (evaluation.error, evaluation.retryable) == ("weights cancel", False)

    def test_what_follows_is_never_attempted(self, store: Store) -> None:
        held = hold(store)
        held.add(make_candidate(0, 0.5), make_candidate(1, 0.5))
        with pytest.raises(StoreError, match="takes its result from"):
            store.begin_attempt(held.evaluations()[1].id, "w")

    def test_a_result_of_the_same_scope_is_taken_over_from_another_search(
        self, store: Store
    ) -> None:
        earlier, later, elsewhere = hold(store), hold(store), hold(store, scope="other")
        earlier.add(make_candidate(0, 0.5))
        (source,) = earlier.evaluations()
        earlier.score(source.id, 0.75)
        later.add(make_candidate(0, 0.4), make_candidate(1, 0.5), make_candidate(2, 0.5))
        assert [e.copied_from for e in later.evaluations()] == [None, source.id, source.id]
        taken = later.evaluations()[1]
        assert (taken.status, taken.scores) == (
            EvaluationStatus.SCORED,
            earlier.evaluations()[0].scores,
        )
        elsewhere.add(make_candidate(0, 0.5))
        assert elsewhere.evaluations()[0].status is EvaluationStatus.PENDING

    def test_what_another_search_has_not_scored_is_not_waited_for(self, store: Store) -> None:
        one, two = hold(store), hold(store)
        for held in (one, two):
            held.add(make_candidate(0, 0.5))
        (evaluation,) = one.evaluations()
        attempt = store.begin_attempt(evaluation.id, "w")
        store.fail_attempt(evaluation.id, attempt, MergeError("x"), final=True)
        three = hold(store)
        three.add(make_candidate(0, 0.5))
        for held in (two, three):
            (mine,) = held.evaluations()
            assert (mine.status, mine.copied_from) == (EvaluationStatus.PENDING, None)

    def test_splits_are_followed_each_by_itself(self, store: Store) -> None:
        one, two = hold(store), hold(store)
        one.add(make_candidate(0, 0.5))
        one.score(one.evaluations()[0].id, 0.75)
        records = two.add(make_candidate(0, 0.5), make_candidate(1, 0.5))
        ids = [record.id for record in records]
        first, second = store.request_evaluations(two.id, two.owner, ids, Split.TEST)
        assert (first.status, first.copied_from) == (EvaluationStatus.PENDING, None)
        assert second.copied_from == first.id
