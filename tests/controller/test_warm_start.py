"""What a search knows before its first candidate, and that a resumed one knows the same."""

from __future__ import annotations

import numpy as np
import pytest

from evomerge.controller.start import GIVEN_LABEL
from evomerge.errors import SpecError, UsageError
from evomerge.merging.mergekit_yaml import dump_recipe
from evomerge.recipe import Recipe, Source, constant
from evomerge.service import check_search, submit_search
from evomerge.spec import StrategySpec
from evomerge.store import open_store
from evomerge.store.types import Origin
from evomerge.strategy.generational import GenerationalStrategy
from evomerge.strategy.gp import GaussianProcessStrategy
from tests.controller.simulated import simulate, store_file
from tests.support import fake_spec


def _spec(folder, **start):
    return fake_spec(
        folder,
        space={"method": "task_arithmetic", "weight": {"range": [0, 1.5], "per": ["model"]}},
        strategy={"name": "cma", "seed": 5, "population_size": 6, "start": start},
        budget={"candidates": 12},
        racing={"enabled": False},
    )


def _record_tells(monkeypatch, strategy):
    """Genomes that strategies of this class are told from now on, in order."""
    seen = []
    original = strategy.tell

    def tell(self, genome, observation):
        seen.append((tuple(genome), observation))
        original(self, genome, observation)

    monkeypatch.setattr(strategy, "tell", tell)
    return seen


@pytest.fixture
def told(monkeypatch):
    return _record_tells(monkeypatch, GenerationalStrategy)


def test_the_strategy_is_told_the_baselines_that_its_space_can_say(tmp_path, told):
    simulate(store_file(tmp_path, "store"), _spec(tmp_path), 1)
    known = [genome for genome, _ in told[:-12]]
    third, whole = (1 / 3) / 1.5, 1 / 1.5
    assert any(max(abs(g - third) for g in genome) < 1e-3 for genome in known)
    assert (0.0, 0.0, 0.0) in known  # the base
    assert any(abs(max(genome) - whole) < 1e-3 and sum(genome) < 0.7 for genome in known)
    assert all(observation.losses is not None for _, observation in told)


def _write_recipe(folder, spec, weight):
    sources = [Source(model=m, parameters={"weight": constant(weight)}) for m in spec.models]
    recipe = Recipe(
        merge_method="task_arithmetic", base_model=spec.base_model, models=tuple(sources)
    )
    file = folder / f"recipe-{weight}.yml"
    file.write_text(dump_recipe(recipe), encoding="utf-8")
    return str(file)


def test_given_recipes_are_tried_first_and_told_like_any_other(tmp_path, told):
    file = _write_recipe(tmp_path, _spec(tmp_path), 0.75)
    url = store_file(tmp_path, "store")
    search, _ = simulate(url, _spec(tmp_path, recipes=[file]), 1)
    searched = [c for c in open_store(url).candidates(search) if c.origin is Origin.SEARCH]
    assert searched[0].label == GIVEN_LABEL
    assert searched[0].genome == (0.5, 0.5, 0.5)
    assert any(genome == (0.5, 0.5, 0.5) for genome, _ in told)
    assert len([c for c in searched if c.told is not None]) == 12


def test_a_recipe_that_changes_after_submission_changes_nothing(tmp_path):
    spec = _spec(tmp_path)
    file = _write_recipe(tmp_path, spec, 0.75)
    store = open_store(store_file(tmp_path, "store"))
    search = submit_search(store, check_search(_spec(tmp_path, recipes=[file])))
    (tmp_path / "recipe-0.75.yml").write_text("nonsense", encoding="utf-8")
    (kept,) = store.search(search.id).spec.strategy.start.recipes
    assert isinstance(kept, Recipe)


def test_a_recipe_of_other_models_is_refused(tmp_path):
    spec = _spec(tmp_path)
    other = spec.model_copy(update={"models": (*spec.models[:2], "org/elsewhere")})
    file = _write_recipe(tmp_path, other, 0.5)
    with pytest.raises(SpecError, match="none of the search's models"):
        check_search(_spec(tmp_path, recipes=[file]))


def test_earlier_searches_are_told_and_named_once_and_for_all(tmp_path, told):
    url = store_file(tmp_path, "store")
    first, _ = simulate(url, _spec(tmp_path), 1)
    told.clear()
    second, _ = simulate(url, _spec(tmp_path, searches="auto"), 1)
    store = open_store(url)
    assert store.search(second).spec.strategy.start.searches == (first,)
    earlier = {c.genome for c in store.candidates(first) if c.told is not None}
    assert earlier <= {genome for genome, _ in told}


def test_only_finished_searches_over_the_same_space_can_be_learned_from(tmp_path):
    url = store_file(tmp_path, "store")
    store = open_store(url)
    pending = submit_search(store, check_search(_spec(tmp_path))).id
    with pytest.raises(UsageError, match="may still change"):
        submit_search(store, check_search(_spec(tmp_path, searches=[pending])))
    done, _ = simulate(url, _spec(tmp_path), 1)
    wider = _spec(tmp_path, searches=[done]).model_dump(mode="json")
    wider["space"]["parameters"]["weight"]["range"] = [0, 2]
    with pytest.raises(UsageError, match="another space"):
        submit_search(store, check_search(type(_spec(tmp_path)).model_validate(wider)))


def test_no_merge_that_was_scored_as_a_baseline_is_asked_for_again(tmp_path, monkeypatch):
    told = _record_tells(monkeypatch, GaussianProcessStrategy)
    spec = _spec(tmp_path)
    spec = spec.model_copy(update={"strategy": StrategySpec(name="gp", seed=5)})
    url = store_file(tmp_path, "store")
    search, _ = simulate(url, spec, 1)
    asked = [c.genome for c in open_store(url).candidates(search) if c.told is not None]
    known = [genome for genome, _ in told[: -len(asked)]]
    assert len(known) >= 5
    assert not any(np.allclose(one, other, atol=1e-4) for one in known for other in asked)
