"""Candidates, what they were told, and evaluations on other splits."""

import math
import sys

import pytest

from evomerge.errors import NotFoundError, StoreError
from evomerge.fitness import Split
from evomerge.store import Store
from evomerge.store.types import Entrant, EvaluationStatus, Origin
from evomerge.testing.store_conformance.samples import hold, make_candidate

NASTY = (0.1, 1 / 3, 5e-324, sys.float_info.max, -0.0, 0.1 + 0.2, 1e-17, 1.0)


class CandidateTests:
    """Candidates come back exactly, in order, and never twice."""

    def test_a_candidate_comes_back_as_it_was_asked(self, store: Store) -> None:
        held = hold(store)
        asked = make_candidate(0, genome=NASTY, generation=3, label="x")
        (record,) = held.add(asked)
        (found,) = store.candidates(held.id)
        assert store.entrants(held.id) == [Entrant(found.id, 0, found.origin, "x", found.recipe_id)]
        assert found == record == store.candidate(record.id)
        assert (found.recipe, found.recipe_id) == (asked.recipe, asked.recipe.recipe_id)
        assert (found.generation, found.label, found.origin) == (3, "x", Origin.SEARCH)
        assert (found.told, found.loss) == (None, None)
        assert [g.hex() for g in found.genome or ()] == [g.hex() for g in NASTY]

    def test_every_candidate_gets_a_pending_evaluation_on_the_search_split(
        self, store: Store
    ) -> None:
        held = hold(store)
        records = held.add(make_candidate(1), make_candidate(0, origin=Origin.BASELINE))
        assert [r.number for r in records] == [1, 0]
        assert [c.number for c in store.candidates(held.id)] == [0, 1]
        found = held.evaluations()
        assert [e.candidate_id for e in found] == [records[1].id, records[0].id]
        assert {(e.split, e.status) for e in found} == {(Split.SEARCH, EvaluationStatus.PENDING)}

    def test_a_number_that_is_taken_is_refused_and_nothing_of_the_batch_stays(
        self, store: Store
    ) -> None:
        held = hold(store)
        held.add(make_candidate(0))
        with pytest.raises(StoreError, match="already"):
            held.add(make_candidate(1), make_candidate(0, 0.9))
        assert [c.number for c in store.candidates(held.id)] == [0]
        assert len(held.evaluations()) == 1

    def test_a_candidate_that_does_not_exist_is_not_found(self, store: Store) -> None:
        with pytest.raises(NotFoundError):
            store.candidate(99)

    def test_losses_are_kept_exactly_in_told_order(self, store: Store) -> None:
        held = hold(store)
        a, b, c = (r.id for r in held.add(*(make_candidate(n) for n in range(3))))
        store.mark_told(held.id, held.owner, {c: 0.1 + 0.2, a: math.inf})
        store.mark_told(held.id, held.owner, {b: -5e-324})
        told = {r.id: (r.told, r.loss) for r in store.candidates(held.id)}
        assert told == {c: (0, 0.1 + 0.2), a: (1, math.inf), b: (2, -5e-324)}

    def test_what_was_told_is_read_in_parts_and_in_its_order(self, store: Store) -> None:
        held = hold(store)
        a, b, c = (r.id for r in held.add(*(make_candidate(n) for n in range(3))))
        held.score(held.evaluations()[1].id, 0.5)
        store.mark_told(held.id, held.owner, {c: 1.0, b: 2.0, a: 3.0})
        first, rest = store.told(held.id, range(2)), store.told(held.id, range(2, 9))
        assert [e.candidate_id for e in first + rest] == [c, b, a]
        assert first[1] == held.evaluations()[1] and first[1].scores
        assert store.told(held.id, range(3, 9)) == []

    def test_candidates_and_their_evaluations_are_read_in_parts(self, store: Store) -> None:
        held, other = hold(store), hold(store)
        other.add(make_candidate(0))
        held.add(*(make_candidate(number) for number in range(4)))
        assert [c.number for c in store.candidates(held.id, range(1, 3))] == [1, 2]
        middle = store.evaluations(held.id, Split.SEARCH, range(1, 3))
        assert middle == held.evaluations()[1:3]
        assert store.evaluations(held.id, numbers=range(4, 9)) == []

    def test_a_candidate_is_told_once_and_a_refused_batch_leaves_nothing(
        self, store: Store
    ) -> None:
        held = hold(store)
        a, b, c = (r.id for r in held.add(*(make_candidate(n) for n in range(3))))
        store.mark_told(held.id, held.owner, {a: 1.0})
        with pytest.raises(StoreError, match="told already"):
            store.mark_told(held.id, held.owner, {b: 2.0, a: 3.0})
        with pytest.raises(ValueError, match="NaN"):
            store.mark_told(held.id, held.owner, {b: 2.0, c: math.nan})
        assert [r.loss for r in store.candidates(held.id)] == [1.0, None, None]

    def test_evaluations_on_another_split_are_made_once_and_come_in_the_order_asked(
        self, store: Store
    ) -> None:
        held = hold(store)
        a, b = (r.id for r in held.add(make_candidate(0), make_candidate(1)))
        (first,) = store.request_evaluations(held.id, held.owner, [b], Split.TEST)
        both = store.request_evaluations(held.id, held.owner, [b, a, b], Split.TEST)
        assert [e.candidate_id for e in both] == [b, a, b]
        assert both[0] == both[2] == first == store.evaluation(first.id)
        assert len(store.evaluations(held.id)) == 4
        assert [e.candidate_id for e in store.evaluations(held.id, Split.TEST)] == [a, b]

    def test_candidates_of_another_search_get_no_evaluations(self, store: Store) -> None:
        held, other = hold(store), hold(store)
        (foreign,) = other.add(make_candidate(0))
        for unknown in (foreign.id, 99):
            with pytest.raises(NotFoundError):
                store.request_evaluations(held.id, held.owner, [unknown], Split.TEST)
