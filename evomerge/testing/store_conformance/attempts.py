"""Attempts: one decides, and nothing that comes late or twice changes anything."""

import math

import numpy as np
import pytest

from evomerge.errors import EvaluationError, MergeError, NotFoundError, StoreError, WorkerLostError
from evomerge.fitness import Costs, EvaluationResult, Fitness, TaskOutcomes, TaskScore
from evomerge.store import Store
from evomerge.store.types import EvaluationStatus
from evomerge.testing.store_conformance.samples import hold, make_candidate, make_result


def _one(store: Store) -> int:
    """A pending evaluation."""
    held = hold(store)
    held.add(make_candidate(0))
    return held.evaluations()[0].id


class AttemptTests:
    """What workers write."""

    def test_a_finished_attempt_scores_the_evaluation(self, store: Store) -> None:
        evaluation = _one(store)
        assert store.begin_attempt(evaluation, "gpu3") == 1
        assert store.evaluation(evaluation).status is EvaluationStatus.RUNNING
        result = make_result(0.75)
        assert store.finish_attempt(evaluation, 1, result)
        found = store.evaluation(evaluation)
        assert (found.status, found.attempts) == (EvaluationStatus.SCORED, 1)
        assert (found.scores, found.costs) == (result.scores, result.costs)
        (attempt,) = store.attempts(evaluation)
        assert (attempt.worker, attempt.status) == ("gpu3", "scored")
        assert attempt.finished_at is not None and attempt.finished_at >= attempt.started_at

    def test_outcomes_come_back_bit_for_bit(self, store: Store) -> None:
        evaluation = _one(store)
        nasty = [math.nan, -math.inf, -0.0, 5e-324, 0.1, 1.7976931348623157e308]
        values = {"acc": np.array(nasty), "margin": np.arange(6) / 7}
        ids = (0, 1, 7, 8, 2**40, 2**62)
        tasks = (TaskOutcomes("zeta", ids, values), TaskOutcomes("none", (), {"acc": np.array([])}))
        attempt = store.begin_attempt(evaluation, "w")
        store.finish_attempt(evaluation, attempt, EvaluationResult((), tasks))
        zeta, none = store.outcomes(evaluation)
        assert (zeta.task, zeta.doc_ids, list(zeta.values)) == ("zeta", ids, ["acc", "margin"])
        for metric, array in zeta.values.items():
            assert array.dtype == np.float64
            assert array.tobytes() == values[metric].tobytes()
        assert (none.task, none.doc_ids, len(none.values["acc"])) == ("none", (), 0)

    def test_outcomes_that_do_not_align_are_refused_and_leave_the_attempt_running(
        self, store: Store
    ) -> None:
        evaluation = _one(store)
        store.begin_attempt(evaluation, "w")
        bad = (TaskOutcomes("t", (1, 2), {"acc": np.zeros(3)}),)
        with pytest.raises(ValueError, match="2 documents"):
            store.finish_attempt(evaluation, 1, EvaluationResult(make_result(1).scores, bad))
        found = store.evaluation(evaluation)
        assert (found.status, found.scores) == (EvaluationStatus.RUNNING, ())
        assert store.finish_attempt(evaluation, 1, make_result(1))

    def test_a_score_that_is_no_number_stays_none(self, store: Store) -> None:
        evaluation = _one(store)
        store.begin_attempt(evaluation, "w")
        scores = (
            TaskScore("t", "ppl", math.nan, None, 3, True),
            TaskScore("t", "x", math.inf, 0.0, 3),
        )
        store.finish_attempt(evaluation, 1, EvaluationResult(scores, ()))
        nan, inf = store.evaluation(evaluation).scores
        assert math.isnan(nan.value)
        assert inf == scores[1]

    def test_a_late_attempt_is_kept_and_changes_nothing(self, store: Store) -> None:
        evaluation = _one(store)
        assert [store.begin_attempt(evaluation, w) for w in ("slow", "quick")] == [1, 2]
        assert not store.finish_attempt(evaluation, 1, make_result(0.25))
        assert store.evaluation(evaluation).status is EvaluationStatus.RUNNING
        assert store.finish_attempt(evaluation, 2, make_result(0.75))
        assert store.evaluation(evaluation).scores == make_result(0.75).scores
        late, scored = store.attempts(evaluation)
        assert (late.status, late.late_scores) == ("late", make_result(0.25).scores)
        assert (scored.status, scored.late_scores) == ("scored", ())

    def test_finishing_twice_changes_nothing(self, store: Store) -> None:
        evaluation = _one(store)
        store.begin_attempt(evaluation, "w")
        assert store.finish_attempt(evaluation, 1, make_result(0.75))
        before = (store.evaluation(evaluation), store.attempts(evaluation))
        assert not store.finish_attempt(evaluation, 1, make_result(0.25))
        assert not store.fail_attempt(evaluation, 1, EvaluationError("x"), final=True)
        assert (store.evaluation(evaluation), store.attempts(evaluation)) == before
        assert len(store.outcomes(evaluation)) == 2

    def test_a_failure_makes_it_pending_again_and_the_next_attempt_may_succeed(
        self, store: Store
    ) -> None:
        evaluation = _one(store)
        store.begin_attempt(evaluation, "w")
        error = EvaluationError("engine \0 died", remedy="look at \ud800")
        assert store.fail_attempt(evaluation, 1, error, final=False)
        found = store.evaluation(evaluation)
        assert (found.status, found.failures) == (EvaluationStatus.PENDING, 1)
        assert (found.error_type, found.retryable) == ("EvaluationError", True)
        assert found.error == "engine \ufffd died\n  → look at ?"
        assert store.begin_attempt(evaluation, "w") == 2
        assert store.finish_attempt(evaluation, 2, make_result(0.5))
        found = store.evaluation(evaluation)
        assert (found.attempts, found.failures, found.error) == (2, 1, None)
        assert [a.status for a in store.attempts(evaluation)] == ["failed", "scored"]

    def test_a_final_failure_is_the_end(self, store: Store) -> None:
        evaluation = _one(store)
        store.begin_attempt(evaluation, "w")
        assert store.fail_attempt(evaluation, 1, MergeError("no"), final=True)
        found = store.evaluation(evaluation)
        assert (found.status, found.retryable) == (EvaluationStatus.FAILED, False)
        assert not store.finish_attempt(evaluation, 1, make_result(0.5))
        with pytest.raises(StoreError, match="failed already"):
            store.begin_attempt(evaluation, "w")

    def test_a_worker_given_up_for_lost_may_still_report_late(self, store: Store) -> None:
        evaluation = _one(store)
        store.begin_attempt(evaluation, "w")
        assert store.fail_attempt(evaluation, 1, WorkerLostError("gone"), final=False)
        assert [a.status for a in store.attempts(evaluation)] == ["lost"]
        assert not store.finish_attempt(evaluation, 1, make_result(0.5))
        assert [a.status for a in store.attempts(evaluation)] == ["late"]
        assert store.evaluation(evaluation).status is EvaluationStatus.PENDING

    def test_an_attempt_that_was_superseded_counts_as_begun_but_not_as_failed(
        self, store: Store
    ) -> None:
        evaluation = _one(store)
        for _ in range(3):
            store.begin_attempt(evaluation, "w")
        found = store.evaluation(evaluation)
        assert (found.attempts, found.failures) == (3, 0)
        assert [a.status for a in store.attempts(evaluation)] == ["lost", "lost", "running"]

    def test_what_does_not_exist_is_not_found(self, store: Store) -> None:
        evaluation = _one(store)
        for unknown in (lambda: store.evaluation(99), lambda: store.begin_attempt(99, "w")):
            with pytest.raises(NotFoundError):
                unknown()
        with pytest.raises(NotFoundError, match="no attempt 1"):
            store.finish_attempt(evaluation, 1, make_result(0.5))

    def test_fitness_is_for_scored_evaluations(self, store: Store) -> None:
        evaluation = _one(store)
        with pytest.raises(StoreError, match="not scored"):
            store.set_fitness({evaluation: Fitness(0.5, None)})
        store.begin_attempt(evaluation, "w")
        store.finish_attempt(evaluation, 1, make_result(0.5))
        with pytest.raises(ValueError, match="NaN"):
            store.set_fitness({evaluation: Fitness(math.nan, None)})
        store.set_fitness({evaluation: Fitness(0.1 + 0.2, 1 / 3, 0.5)})
        found = store.evaluation(evaluation)
        assert (found.fitness, found.fitness_stderr, found.violation) == (0.1 + 0.2, 1 / 3, 0.5)

    def test_costs_are_kept_for_every_attempt_that_reported_some(self, store: Store) -> None:
        evaluation = _one(store)
        store.begin_attempt(evaluation, "w")
        costs = Costs(1.5, 0.25, 1 / 3, 0.0, 2**40)
        store.finish_attempt(evaluation, 1, EvaluationResult((), (), costs))
        assert store.evaluation(evaluation).costs == costs
