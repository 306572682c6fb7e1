"""Budgets end a search and are never exceeded; they change while it runs."""

from __future__ import annotations

import pytest

from evomerge.controller.budget import ALL_TRIED, Spending
from evomerge.controller.events import Note, PhaseStarted, Scored
from evomerge.errors import SpecError
from evomerge.fitness import Costs, Split
from evomerge.limits import Limits
from evomerge.service import check_search, edit_search, make_dispatcher, run_search, submit_search
from evomerge.spec import Budget, SearchSpec
from evomerge.store import open_store
from evomerge.store.types import EvaluationRecord, EvaluationStatus, Origin, SearchStatus
from tests.controller.simulated import simulate, store_file
from tests.support import fake_spec


def _result(fitness: float | None = 0.5, *, tokens: int = 100, seconds: float = 10.0, **changes):
    status = EvaluationStatus.FAILED if fitness is None else EvaluationStatus.SCORED
    costs = Costs(forward_seconds=seconds, tokens=tokens)
    values = {"fitness": fitness, "violation": 0.0, "costs": costs, "status": status, **changes}
    return EvaluationRecord(id=1, candidate_id=1, split=Split.SEARCH, attempts=1, **values)


def _spent(*results: EvaluationRecord, gpus: float = 0.0) -> Spending:
    spending = Spending(gpus)
    for result in results:
        spending.note(result)
    return spending


def test_the_last_candidate_is_the_budget_s_last():
    spending = _spent(_result(), _result())
    assert spending.refusal(Budget(candidates=3), 1, 0) is None
    assert spending.refusal(Budget(candidates=3), 1, 1) == ALL_TRIED


@pytest.mark.parametrize(
    ("budget", "word"),
    [
        ({"tokens": 499}, "tokens"),
        ({"hours": 49 / 3600}, "hours"),
        ({"gpu_hours": 99 / 3600}, "GPU hours"),
    ],
)
def test_a_limit_counts_what_is_under_way_at_the_dearest_price(budget, word):
    spending = _spent(_result(), _result(tokens=50, seconds=5.0), gpus=2.0)
    spent_and_reserved = _spent(_result(), _result(), gpus=2.0)
    assert word in (spent_and_reserved.refusal(Budget(**budget), 1, 1) or "")
    assert spending.refusal(Budget(**budget), 1, 1) is None


def test_a_baseline_is_free_but_says_what_a_candidate_may_cost():
    spending = Spending(0.0)
    spending.note_baseline(_result(tokens=500))
    assert spending.refusal(Budget(tokens=1000), 1, 0) is None  # and one for the mean at the end
    assert "tokens" in (spending.refusal(Budget(tokens=999), 1, 0) or "")


def test_a_result_that_was_taken_over_costs_nothing():
    spending = _spent(_result(copied_from=9))
    assert spending.refusal(Budget(tokens=1), 1, 0) is None


def test_patience_counts_candidates_since_the_best_full_result():
    results = [_result(0.5), _result(0.6), _result(0.6), _result(None)]
    results.append(_result(0.9, status=EvaluationStatus.DROPPED))
    assert _spent(*results).refusal(Budget(patience=4), 1, 0) is None
    assert "3 candidates" in (_spent(*results).refusal(Budget(patience=3), 1, 0) or "")


def test_workers_share_the_hours():
    spending = _spent(*[_result()] * 4)
    assert "hours" in (spending.refusal(Budget(hours=35 / 3600), 1, 0) or "")
    assert spending.refusal(Budget(hours=35 / 3600), 2, 0) is None


def test_a_search_never_reads_more_tokens_than_it_may(tmp_path):
    url = store_file(tmp_path, "store")
    spec = fake_spec(tmp_path, budget={"candidates": 100, "tokens": 5000}, workers={"max": 4})
    notes = []
    search, _ = simulate(url, spec, 4, lambda e: notes.append(e) if isinstance(e, Note) else None)
    store = open_store(url)
    searched = {c.id for c in store.candidates(search) if c.origin is Origin.SEARCH}
    spent = sum(
        e.costs.tokens
        for e in store.evaluations(search, Split.SEARCH)
        if e.candidate_id in searched and e.costs and e.copied_from is None
    )
    assert 3500 < spent <= 5000
    assert any("tokens of its budget" in note.text for note in notes)


def test_a_budget_changed_while_the_search_runs_is_heard(tmp_path):
    url = store_file(tmp_path, "store")
    store = open_store(url)
    spec = fake_spec(
        tmp_path, budget={"candidates": 10}, engine={"name": "fake", "fake_seconds": 0.3}
    )
    search = submit_search(store, check_search(spec))

    def extend(event):
        if isinstance(event, Scored) and store.limits(search.id) == Limits():
            edit_search(store, search.id, {"candidates": 14}, None)

    run_search(store, search.id, make_dispatcher(search.spec, url, inline=True), extend)
    searched = [c for c in store.candidates(search.id) if c.origin is Origin.SEARCH and not c.label]
    assert len(searched) == 14


def test_edits_add_up_and_nonsense_is_refused(tmp_path):
    store = open_store(store_file(tmp_path, "store"))
    search = submit_search(store, check_search(fake_spec(tmp_path)))
    edit_search(store, search.id, {"candidates": 50}, None)
    assert edit_search(store, search.id, {"hours": 2.0}, 3) == Limits(
        budget=Budget(candidates=50, hours=2.0), workers=3
    )
    for budget, message in (({}, "nothing to change"), ({"hours": 0.0}, "greater than 0")):
        with pytest.raises(SpecError, match=message):
            edit_search(store, search.id, budget, None)


def test_gpu_hours_without_gpus_are_refused(tmp_path):
    content = fake_spec(tmp_path).model_dump(mode="json")
    content["budget"] = {"gpu_hours": 3}
    with pytest.raises(ValueError, match=r"workers\.gpus is 0"):
        SearchSpec.model_validate(content)


def test_a_larger_budget_does_not_reopen_a_search_that_is_in_its_finals(tmp_path):
    url = store_file(tmp_path, "store")
    store = open_store(url)
    search = submit_search(store, check_search(fake_spec(tmp_path, budget={"candidates": 12})))

    def stop_in_finals(event):
        if isinstance(event, PhaseStarted) and event.name == "validation":
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        run_search(store, search.id, make_dispatcher(search.spec, url, inline=True), stop_in_finals)
    edit_search(store, search.id, {"candidates": 50}, None)
    run_search(store, search.id, make_dispatcher(search.spec, url, inline=True))
    searched = [c for c in store.candidates(search.id) if c.origin is Origin.SEARCH and not c.label]
    assert len(searched) == 12
    assert store.search(search.id).status is SearchStatus.FINISHED
