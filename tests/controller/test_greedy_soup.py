"""A greedy soup as a search of its own: its steps, its one candidate, and its resumption."""

from __future__ import annotations

from pathlib import Path

import pytest

from evomerge.controller.events import Event, Scored
from evomerge.errors import NotFoundError
from evomerge.evaluation.fake import FakeEvaluator
from evomerge.fitness import EvaluationResult, Split
from evomerge.recipe import Recipe
from evomerge.service import check_search, make_dispatcher, run_search, submit_search
from evomerge.soup import soup_steps
from evomerge.spec import SearchSpec
from evomerge.store import SQLStore, open_store
from evomerge.store.types import Origin, SearchStatus
from tests.support import fake_spec, history


@pytest.fixture
def store(tmp_path: Path) -> SQLStore:
    return open_store(str(tmp_path / "evomerge.db"))


class _Stopped(Exception):
    """Ends a controller as if it had been killed."""


def _spec(folder: Path) -> SearchSpec:
    return fake_spec(folder, strategy={"name": "greedy_soup", "seed": 7})


def _submit(store: SQLStore, spec: SearchSpec) -> str:
    return submit_search(store, check_search(spec)).id


def _run(store: SQLStore, search: str, listener=lambda event: None) -> SearchStatus:
    dispatcher = make_dispatcher(store.search(search).spec, store.url, inline=True)
    return run_search(store, search, dispatcher, listener)


def test_models_are_tried_best_first_and_kept_where_the_average_gets_better(store, tmp_path):
    search = _submit(store, _spec(tmp_path))
    assert _run(store, search) is SearchStatus.FINISHED
    steps = soup_steps(store, store.search(search))
    fitness = {e.candidate_id: e.fitness or 0.0 for e in store.evaluations(search, Split.SEARCH)}
    singles = {
        str(c.label).removeprefix("expert "): fitness[c.id]
        for c in store.candidates(search)
        if str(c.label).startswith("expert")
    }
    order = [step.model for step in steps]
    assert order == sorted(singles, key=singles.__getitem__, reverse=True)
    best = 0.0
    for step in steps:
        assert step.kept == ((step.fitness or 0.0) > best)
        best = max(best, step.fitness or 0.0)


def test_a_model_that_makes_the_average_no_better_is_left_out(store, tmp_path, monkeypatch):
    evaluate = FakeEvaluator.evaluate

    def spoilt(self: FakeEvaluator, recipe: Recipe, split: Split, race=None) -> EvaluationResult:
        """As good as z alone wherever z is in."""
        alone = tuple(source for source in recipe.models or () if source.model.endswith("/z"))
        return evaluate(
            self, recipe.model_copy(update={"models": alone or recipe.models}), split, race
        )

    monkeypatch.setattr(FakeEvaluator, "evaluate", spoilt)
    search = _submit(store, _spec(tmp_path))
    _run(store, search)
    steps = {step.model: step for step in soup_steps(store, store.search(search))}
    first = next(iter(steps.values()))
    others = [step for step in steps.values() if step is not first]
    assert first.kept
    assert not (steps["z"].kept if first.model != "z" else any(step.kept for step in others))


def test_the_soup_is_the_one_candidate_and_is_tested_beside_its_models(store, tmp_path):
    search = _submit(store, _spec(tmp_path))
    _run(store, search)
    candidates = store.candidates(search)
    (made,) = [c for c in candidates if c.origin is Origin.SEARCH]
    kept = [step.model for step in soup_steps(store, store.search(search)) if step.kept]
    assert [Path(source.model).name for source in made.recipe.sources()] == kept
    tested = {e.candidate_id for e in store.evaluations(search, Split.TEST)}
    assert made.id in tested
    labels = {c.label for c in candidates if c.id in tested}
    assert {"base", "expert x", "expert y", "expert z", "uniform average"} <= labels


def test_a_search_and_a_soup_of_the_same_models_find_the_same_soup(store, tmp_path):
    soup = _submit(store, _spec(tmp_path))
    searched = _submit(store, fake_spec(tmp_path))
    _run(store, soup)
    _run(store, searched)
    ids = {
        candidate.recipe_id
        for search in (soup, searched)
        for candidate in store.candidates(search)
        if candidate.label == "greedy soup"
    }
    assert len(ids) == 1
    assert all(
        evaluation.copied_from is not None
        for evaluation in store.evaluations(searched, Split.SEARCH)[:4]
    )


@pytest.mark.parametrize("after", [0, 2, 4, 6, 8])
def test_a_soup_stopped_anywhere_resumes_to_the_undisturbed_history(tmp_path, after):
    calm, rough = (open_store(str(tmp_path / name)) for name in ("calm.db", "rough.db"))
    undisturbed, search = _submit(calm, _spec(tmp_path)), _submit(rough, _spec(tmp_path))
    _run(calm, undisturbed)
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


def test_before_the_soup_is_made_there_are_no_steps(store, tmp_path):
    search = _submit(store, _spec(tmp_path))
    with pytest.raises(NotFoundError, match="no greedy soup yet"):
        soup_steps(store, store.search(search))
