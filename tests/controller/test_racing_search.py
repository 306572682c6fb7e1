"""Searches whose candidates race: fewer documents, full results for whoever matters, honest finals."""

from __future__ import annotations

from evomerge.controller.evolution import MEAN_LABEL
from evomerge.controller.races import Rivals
from evomerge.fitness import Split
from evomerge.results import find_winner, scored_by_split
from evomerge.store import open_store
from evomerge.store.types import CandidateRecord, EvaluationRecord, EvaluationStatus, Origin
from tests.controller.simulated import simulate, store_file
from tests.support import fake_spec, history


def _run(folder, name, **changes):
    url = store_file(folder, name)
    spec = fake_spec(
        folder,
        objective={"tasks": [{"task": "alpha"}, {"task": "beta"}]},
        strategy={"name": "random", "seed": 5, "asynchronous": False},
        budget={"candidates": 60},
        **changes,
    )
    search, _ = simulate(url, spec, 1)
    return open_store(url), search


def _documents(store, search, split=Split.SEARCH):
    searched = {c.id for c in store.candidates(search) if c.origin is Origin.SEARCH}
    return sum(
        len(outcomes.doc_ids)
        for e in store.evaluations(search, split)
        if e.candidate_id in searched
        for outcomes in store.outcomes(e.id)
    )


def test_dropped_candidates_answer_fewer_documents_and_the_same_one_wins(tmp_path):
    racing, search = _run(tmp_path, "racing")
    full, other = _run(tmp_path, "full", racing={"enabled": False})
    statuses = [e.status for e in racing.evaluations(search, Split.SEARCH)]
    assert statuses.count(EvaluationStatus.DROPPED) > 20
    assert _documents(racing, search) < 0.7 * _documents(full, other)
    winners = [
        find_winner(store.candidates(name), scored_by_split(store, name))
        for store, name in ((racing, search), (full, other))
    ]
    assert winners[0].recipe_id == winners[1].recipe_id


def test_a_dropped_candidate_has_an_estimate_near_its_full_score(tmp_path):
    racing, search = _run(tmp_path, "racing")
    full, other = _run(tmp_path, "full", racing={"enabled": False})
    true = {
        c.number: e.fitness
        for c, e in zip(full.candidates(other), full.evaluations(other, Split.SEARCH), strict=True)
    }
    numbers = {c.id: c.number for c in racing.candidates(search)}
    for evaluation in racing.evaluations(search, Split.SEARCH):
        if evaluation.status is EvaluationStatus.DROPPED:
            error = abs(evaluation.fitness - true[numbers[evaluation.candidate_id]])
            assert evaluation.fitness_stderr > 0
            assert error < 5 * evaluation.fitness_stderr


def test_no_finalist_and_no_baseline_is_a_dropped_one(tmp_path):
    store, search = _run(tmp_path, "racing")
    on_search = {e.candidate_id: e for e in store.evaluations(search, Split.SEARCH)}
    for split in (Split.VALIDATION, Split.TEST):
        for evaluation in store.evaluations(search, split):
            assert on_search[evaluation.candidate_id].status is EvaluationStatus.SCORED
    for candidate in store.candidates(search):
        if candidate.origin is Origin.BASELINE or candidate.label == MEAN_LABEL:
            assert on_search[candidate.id].rival is None


def test_finalists_race_against_the_first_of_them(tmp_path):
    store, search = _run(tmp_path, "racing")
    validated = store.evaluations(search, Split.VALIDATION)
    leaders = {e.rival for e in validated if e.rival is not None}
    assert len(leaders) == 1
    (leader,) = leaders
    assert store.evaluation(leader).status is EvaluationStatus.SCORED
    assert store.evaluation(leader).rival is None


def test_races_repeat_with_the_history(tmp_path):
    histories = []
    for name in ("first", "second"):
        store, search = _run(tmp_path, name)
        histories.append(history(store, search))
    assert histories[0] == histories[1]


def _result(number: int, fitness: float | None, *, dropped: bool = False, violation: float = 0.0):
    status = EvaluationStatus.DROPPED if dropped else EvaluationStatus.SCORED
    status = status if fitness is not None else EvaluationStatus.FAILED
    candidate = CandidateRecord(
        number, "s", number, Origin.SEARCH, None, "", None, None, None, None, None
    )
    evaluation = EvaluationRecord(
        100 + number, number, Split.SEARCH, status, 1, fitness=fitness, violation=violation
    )
    return candidate, evaluation


def test_who_follows_the_best_alone_races_against_the_best():
    rivals = Rivals(population=8, parents=1)
    assert rivals.choose() is None
    for number, fitness in enumerate((0.3, 0.9, 0.5)):
        rivals.note(*_result(number, fitness))
    rivals.note(*_result(7, 0.95, dropped=True))
    rivals.note(*_result(8, 0.99, violation=0.1))
    rivals.note(*_result(9, None))
    assert rivals.choose() == 101


def test_a_population_s_border_is_the_worst_of_its_parents():
    rivals = Rivals(population=4, parents=2)
    rivals.note(*_result(0, 0.2), told=False)
    for number, fitness in ((1, 0.1), (2, 0.6), (3, 0.5)):
        rivals.note(*_result(number, fitness))
        assert rivals.choose() is None  # no whole population was told yet
    rivals.note(*_result(4, 0.4))
    assert rivals.choose() == 103  # 0.6 and 0.5 are the parents
    rivals.note(*_result(5, 0.55, dropped=True))
    assert (
        rivals.choose() == 103
    )  # the border is now 0.55, which nobody scored in full has: below it
