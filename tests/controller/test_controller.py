"""A whole search in one process, with the fake engine and a real SQLite store."""

from __future__ import annotations

from pathlib import Path

import pytest

from evomerge.controller.events import Event, PhaseStarted, Scored
from evomerge.errors import SpecError
from evomerge.fitness import EvaluationResult, Split
from evomerge.recipe import Recipe
from evomerge.service import (
    cancel_search,
    check_search,
    make_dispatcher,
    pause_search,
    run_search,
    submit_search,
)
from evomerge.spec import SearchSpec
from evomerge.store import SQLStore, open_store
from evomerge.store.types import EvaluationStatus, Origin, SearchStatus
from tests.support import fake_spec, history


@pytest.fixture
def store(tmp_path: Path) -> SQLStore:
    return open_store(str(tmp_path / "evomerge.db"))


class _Stopped(Exception):
    """Raised by a listener to end a controller as if it had been killed."""


def _run(store: SQLStore, search_id: str, listener=lambda event: None) -> SearchStatus:
    dispatcher = make_dispatcher(store.search(search_id).spec, store.url, inline=True)
    return run_search(store, search_id, dispatcher, listener)


def _submit(store: SQLStore, spec: SearchSpec) -> str:
    return submit_search(store, check_search(spec)).id


def test_a_search_runs_from_baselines_to_a_tested_winner(store, tmp_path):
    search = _submit(store, fake_spec(tmp_path))
    events: list[Event] = []
    assert _run(store, search, events.append) is SearchStatus.FINISHED
    phases = [event.name for event in events if isinstance(event, PhaseStarted)]
    assert phases == ["baselines", "search", "validation", "test"]
    candidates = store.candidates(search)
    assert [c.number for c in candidates] == list(range(len(candidates)))
    labels = {c.label for c in candidates if c.origin is Origin.BASELINE}
    assert {"base", "expert x", "uniform average", "greedy soup", "TIES", "DARE-TIES"} <= labels
    tried = [c for c in candidates if c.origin is Origin.SEARCH]
    assert len(tried) == 18 + 1  # the budget, and the mean of the final distribution
    tested = {e.candidate_id for e in store.evaluations(search, Split.TEST)}
    assert len(tested & {c.id for c in tried}) == 1
    scored = [event for event in events if isinstance(event, Scored)]
    assert all(event.evaluation.fitness is not None for event in scored[8:])


def test_the_search_improves_on_the_experts_and_their_average(store, tmp_path):
    search = _submit(store, fake_spec(tmp_path, budget={"candidates": 60}))
    _run(store, search)
    fitness = {e.candidate_id: e.fitness or 0.0 for e in store.evaluations(search, Split.SEARCH)}
    candidates = store.candidates(search)
    best = max(fitness[c.id] for c in candidates if c.origin is Origin.SEARCH)
    trivial = [c for c in candidates if (c.label or "").startswith(("expert", "uniform", "greedy"))]
    assert best > max(fitness[c.id] for c in trivial)


def test_the_start_has_the_method_and_the_settings_of_the_best_baseline(store, tmp_path):
    space = {
        "method": {"choice": ["sce", "linear", "ties", "dare_ties", "task_arithmetic"]},
        "weight": {"range": [0, 2], "per": ["model"]},
        "density": {"range": [0.05, 1], "per": ["model"], "step": 0.001},
        "normalize": {"choice": [False, True]},
    }
    strategy = {"name": "random", "population_size": 2}  # asks for the start first
    search = _submit(
        store, fake_spec(tmp_path, space=space, strategy=strategy, budget={"candidates": 2})
    )
    _run(store, search)
    fitness = {e.candidate_id: e.fitness or 0.0 for e in store.evaluations(search, Split.SEARCH)}
    candidates = store.candidates(search)
    rivals = [c for c in candidates if c.origin is Origin.BASELINE]
    best = max(rivals, key=lambda candidate: fitness[candidate.id])
    start = next(c for c in candidates if c.origin is Origin.SEARCH)
    assert start.recipe.merge_method == best.recipe.merge_method
    for own, wanted in zip(start.recipe.sources(), best.recipe.sources(), strict=True):
        assert own.parameters.get("density") == wanted.parameters.get("density")
    if "normalize" in best.recipe.parameters:
        assert start.recipe.parameters["normalize"] == best.recipe.parameters["normalize"]


def test_stacked_layers_and_every_kind_of_gene_are_searched_like_any_other(store, tmp_path):
    space = {"method": "passthrough", "layers": {"max_layers": 6, "repeats": 2}}
    search = _submit(store, fake_spec(tmp_path, space=space, budget={"candidates": 12}))
    assert _run(store, search) is SearchStatus.FINISHED
    tried = [c for c in store.candidates(search) if c.origin is Origin.SEARCH]
    assert {c.recipe.merge_method for c in tried} == {"passthrough"}


def test_the_same_seed_gives_the_same_history(tmp_path):
    spec = fake_spec(tmp_path)
    histories = []
    for name in ("one.db", "two.db"):
        store = open_store(str(tmp_path / name))
        search = _submit(store, spec)
        _run(store, search)
        histories.append(history(store, search))
    assert histories[0] == histories[1]


@pytest.mark.parametrize("after", [0, 3, 9, 14, 22, 30, 36])
def test_a_search_stopped_anywhere_resumes_to_the_undisturbed_history(tmp_path, after):
    spec = fake_spec(tmp_path)
    calm = open_store(str(tmp_path / "calm.db"))
    undisturbed = _submit(calm, spec)
    _run(calm, undisturbed)
    rough = open_store(str(tmp_path / "rough.db"))
    search = _submit(rough, spec)
    left = after

    def stop(event: Event) -> None:
        nonlocal left
        if isinstance(event, Scored):
            left -= 1
            if left < 0:
                raise _Stopped

    with pytest.raises(_Stopped):
        _run(rough, search, stop)
    assert _run(rough, search) is SearchStatus.FINISHED
    assert history(rough, search) == history(calm, undisturbed)


def test_nothing_is_evaluated_twice_when_a_search_is_resumed(store, tmp_path, monkeypatch):
    from evomerge.evaluation.fake import FakeEvaluator

    calls: list[tuple[str, str]] = []
    evaluate = FakeEvaluator.evaluate

    def counted(self: FakeEvaluator, recipe: Recipe, split: Split, race=None) -> EvaluationResult:
        calls.append((recipe.recipe_id, split.value))
        return evaluate(self, recipe, split, race)

    monkeypatch.setattr(FakeEvaluator, "evaluate", counted)
    # Slow enough for the pause to be noticed, which takes up to a second.
    slow = {"name": "fake", "fake_seconds": 0.15}
    search = _submit(store, fake_spec(tmp_path, engine=slow))

    def pause_at_twenty(event: Event) -> None:
        if isinstance(event, Scored) and event.candidate.number == 20:
            pause_search(store, search)

    assert _run(store, search, pause_at_twenty) is SearchStatus.PAUSED
    assert _run(store, search) is SearchStatus.FINISHED
    assert len(calls) == len(set(calls))


def test_a_second_search_in_the_same_scope_takes_over_equal_recipes(store, tmp_path):
    spec = fake_spec(tmp_path, racing={"enabled": False})
    first, second = _submit(store, spec), _submit(store, spec)
    _run(store, first)
    _run(store, second)
    assert all(e.copied_from for e in store.evaluations(second))
    assert [row[:-1] for row in history(store, first)] == [
        row[:-1] for row in history(store, second)
    ]


def test_a_cancelled_search_is_over(store, tmp_path):
    search = _submit(store, fake_spec(tmp_path))
    assert cancel_search(store, search) is SearchStatus.CANCELLED
    with pytest.raises(SpecError, match="cancelled already"):
        _run(store, search)


def test_failing_candidates_are_told_as_the_worst_and_the_search_goes_on(
    store, tmp_path, monkeypatch
):
    from evomerge.errors import MergeError
    from evomerge.evaluation.fake import FakeEvaluator

    evaluate = FakeEvaluator.evaluate

    def sometimes(self: FakeEvaluator, recipe: Recipe, split: Split, race=None) -> EvaluationResult:
        if recipe.merge_method == "task_arithmetic" and int(recipe.recipe_id, 16) % 3 == 0:
            raise MergeError("NaN in the merged weights", where="model.norm.weight")
        return evaluate(self, recipe, split, race)

    monkeypatch.setattr(FakeEvaluator, "evaluate", sometimes)
    search = _submit(store, fake_spec(tmp_path))
    assert _run(store, search) is SearchStatus.FINISHED
    failed = {
        e.candidate_id for e in store.evaluations(search) if e.status is EvaluationStatus.FAILED
    }
    told = [c for c in store.candidates(search) if c.told is not None]
    assert failed
    for generation in {c.generation for c in told}:
        losses = {c.id: c.loss for c in told if c.generation == generation}
        worst = max(losses.values())
        assert all(losses[c] == worst for c in failed & losses.keys())


def test_postgresql_and_sqlite_hold_the_same_history(store, tmp_path, postgres_url):
    spec = fake_spec(tmp_path)
    histories = []
    for kept in (store, open_store(postgres_url)):
        search = _submit(kept, spec)
        assert _run(kept, search) is SearchStatus.FINISHED
        histories.append(history(kept, search))
    assert histories[0] == histories[1]


def test_two_controllers_cannot_run_one_search(store, tmp_path):
    from evomerge.errors import LeaseLostError
    from evomerge.store import make_owner

    search = _submit(store, fake_spec(tmp_path))
    store.acquire_lease(search, make_owner(), 60)
    with pytest.raises(LeaseLostError, match="is controlled by"):
        _run(store, search)


def test_resuming_overrules_a_pause_whose_controller_was_killed(store, tmp_path):
    search = _submit(store, fake_spec(tmp_path))
    store.set_status(search, SearchStatus.PAUSING)
    assert _run(store, search) is SearchStatus.FINISHED


def test_a_cancellation_is_not_overruled(store, tmp_path):
    search = _submit(store, fake_spec(tmp_path))
    store.set_status(search, SearchStatus.CANCELLING)
    assert _run(store, search) is SearchStatus.CANCELLED
    assert store.evaluations(search, Split.TEST) == []


def test_a_search_is_continued_only_with_the_models_it_began_with(store, tmp_path):
    from evomerge.service import check_unchanged
    from tests.support import write_checkpoint

    search = store.search(_submit(store, fake_spec(tmp_path)))
    check_unchanged(search)
    write_checkpoint(tmp_path / "y", seed=99)
    with pytest.raises(SpecError, match=r"model .*y [0-9a-f]+ → [0-9a-f]+ changed since it began"):
        check_unchanged(search)
