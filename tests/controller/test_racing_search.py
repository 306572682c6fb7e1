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
        **{
            "strategy": {"name": "cma", "seed": 5, "population_size": 6},
            "budget": {"candidates": 48},
            **changes,
        },
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


def test_dropped_candidates_answer_fewer_documents_and_as_good_a_one_is_found(tmp_path):
    racing, search = _run(tmp_path, "racing")
    full, other = _run(tmp_path, "full", racing={"enabled": False})
    statuses = [e.status for e in racing.evaluations(search, Split.SEARCH)]
    assert statuses.count(EvaluationStatus.DROPPED) > 10
    assert _documents(racing, search) < 0.9 * _documents(full, other)
    best = [
        store.best(search_id=name, limit=1) for store, name in ((racing, search), (full, other))
    ]
    assert best[0][0].fitness > best[1][0].fitness - 0.02


def test_a_dropped_candidate_has_an_estimate_near_its_full_score(tmp_path):
    changes = {"strategy": {"name": "random", "seed": 5}, "budget": {"candidates": 30}}
    racing, search = _run(tmp_path, "racing", **changes)
    full, other = _run(tmp_path, "full", racing={"enabled": False}, **changes)
    true = {
        c.number: e.fitness
        for c, e in zip(full.candidates(other), full.evaluations(other, Split.SEARCH), strict=True)
    }
    numbers = {c.id: c.number for c in racing.candidates(search)}
    dropped = [
        e for e in racing.evaluations(search, Split.SEARCH) if e.status is EvaluationStatus.DROPPED
    ]
    assert len(dropped) > 15
    for evaluation in dropped:
        error = abs(evaluation.fitness - true[numbers[evaluation.candidate_id]])
        assert error < 5 * evaluation.fitness_stderr


def test_a_search_that_never_beats_its_baselines_still_has_a_winner(tmp_path):
    store, search = _run(
        tmp_path,
        "random",
        strategy={"name": "random", "seed": 1},
        budget={"candidates": 12},
        space={"method": "task_arithmetic", "weight": {"range": [1.4, 1.5], "per": ["model"]}},
    )
    searched = [c for c in store.candidates(search) if c.origin is Origin.SEARCH]
    on_search = {e.candidate_id: e.status for e in store.evaluations(search, Split.SEARCH)}
    assert {on_search[c.id] for c in searched} == {EvaluationStatus.DROPPED}
    winner = find_winner(store.candidates(search), scored_by_split(store, search))
    assert winner is not None
    tested = {e.candidate_id for e in store.evaluations(search, Split.TEST)}
    assert winner.id in tested


def test_finalists_are_those_scored_in_full_and_then_the_best_estimates(tmp_path):
    store, search = _run(tmp_path, "racing", selection={"top": 30})
    on_search = {e.candidate_id: e for e in store.evaluations(search, Split.SEARCH)}
    validated = {e.candidate_id for e in store.evaluations(search, Split.VALIDATION)}
    searched = [c.id for c in store.candidates(search) if c.origin is Origin.SEARCH]
    scored = {c for c in searched if on_search[c].status is EvaluationStatus.SCORED}
    dropped = [c for c in searched if on_search[c].status is EvaluationStatus.DROPPED]
    assert scored < validated
    worst = min(on_search[c].fitness for c in validated - scored)
    assert all(on_search[c].fitness <= worst for c in dropped if c not in validated)


def test_baselines_and_the_mean_answer_every_document(tmp_path):
    store, search = _run(tmp_path, "racing")
    on_search = {e.candidate_id: e for e in store.evaluations(search, Split.SEARCH)}
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
