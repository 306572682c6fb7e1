"""Ranks are kept for a search, up to a budget, and change nothing but the time that a candidate takes."""

import pytest
import torch

from evomerge.merging import rank_store
from evomerge.merging.masks import mask_key
from evomerge.merging.measure import Delta
from evomerge.merging.merge import MergeSource
from evomerge.merging.rank_store import RankStore
from evomerge.merging.statistics import StatisticsCache
from tests.merging.checkpoints import random_weights, recipe, save, tuned

SHAPES = {f"model.layers.{i}.mlp.up_proj.weight": (300, 400) for i in range(2)}
SHAPES |= {"model.norm.weight": (400,)}
ENTRIES = 2 * 300 * 400 + 400


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    base = random_weights(SHAPES, 0, torch.bfloat16)
    weights = {"base": base, "a": tuned(base, 1, 0.1), "b": tuned(base, 2, 0.1)}
    return {name: save(folder / name, x) for name, x in weights.items()}


@pytest.fixture
def ranked(monkeypatch):
    """The sizes of the deltas that were ranked."""
    sizes, really = [], Delta.levels

    def levels(self, out):
        sizes.append(self.numel)
        return really(self, out)

    monkeypatch.setattr(Delta, "levels", levels)
    return sizes


def candidate(number, method="della", **shared):
    own = {
        name: {"weight": 0.5, "density": 0.4 + number / 100, "epsilon": 0.1 + number / 100}
        for name in ("a", "b")
    }
    return recipe(method, own, **shared)


def source(paths, budget, **options):
    cache = StatisticsCache(on_disk=False)
    return MergeSource(paths, cache=cache, rank_memory=budget, **options)


def test_a_second_candidate_finds_the_ranks_of_the_first(paths, ranked):
    with source(paths, None) as kept:
        dict(kept.merge(candidate(0)))
        assert sum(ranked) == 2 * ENTRIES
        dict(kept.merge(candidate(1, "della_linear")))
        assert sum(ranked) == 2 * ENTRIES


@pytest.mark.parametrize("budget", [0, 300 * 400, 3 * 300 * 400, None])
@pytest.mark.parametrize("fused", [True, False])
def test_a_budget_changes_no_bit(paths, budget, fused):
    with source(paths, budget, fused=fused) as some, source(paths, 0, tables=False) as none:
        for number in range(2):
            found, wanted = dict(some.merge(candidate(number))), none.merge(candidate(number))
            assert all(torch.equal(found[name], tensor) for name, tensor in wanted)


def test_what_does_not_fit_is_ranked_again_and_the_rest_stays(paths, ranked):
    with source(paths, 300 * 400 + 800) as kept:
        dict(kept.merge(candidate(0)))
        ranked.clear()
        dict(kept.merge(candidate(1)))
        assert sum(ranked) == 3 * 300 * 400


def test_a_single_merge_keeps_no_ranks(paths, monkeypatch):
    stores = []
    really = RankStore.__init__

    def noted(self, budget):
        stores.append(self)
        really(self, budget)

    monkeypatch.setattr(RankStore, "__init__", noted)
    with source(paths, None, tables=False) as single:
        dict(single.merge(candidate(0)))
        assert [store.num_bytes for store in stores] == [0]


def test_closing_gives_the_memory_back(paths):
    store = RankStore(None)
    delta = Delta(torch.zeros(20, 30), torch.randn(20, 30))
    store.of(("base", "a"), lambda: delta)
    assert store.num_bytes == 600
    store.clear()
    assert store.num_bytes == 0


def test_without_a_budget_a_quarter_of_what_is_free_is_taken(monkeypatch):
    room = type("Room", (), {"host": 4 * 700, "device": None})
    monkeypatch.setattr(rank_store, "free_room", lambda _: room)
    store, delta = RankStore(None), Delta(torch.zeros(20, 30), torch.randn(20, 30))
    for name in "abc":
        store.of(("base", name), lambda: delta)
    assert store.num_bytes == 600


@pytest.mark.parametrize("method", ["della", "della_linear"])
def test_the_delta_keeps_its_norm(paths, method):
    """Of one model with weight 1: to within the scatter of masks, however large the tensor."""
    own = {"a": {"weight": 1.0, "density": 0.4, "epsilon": 0.2}}
    with source(paths, None) as kept:
        merged = dict(kept.merge(recipe(method, own)))
        for name, tensor in merged.items():
            base, model = (
                kept.checkpoints[x].tensor(kept.checkpoints[x].index.tensors[name]).float()
                for x in ("base", "a")
            )
            norms = [(x.float() - base).abs().sum().item() for x in (tensor, model)]
            assert norms[0] == pytest.approx(norms[1], rel=0.02)


def test_masks_of_tensors_are_those_of_their_keys(paths):
    """The same entries survive whether a mask is made by the kernel or by its definition."""
    from evomerge.merging import row_masks

    name = next(iter(SHAPES))
    own = {"a": {"weight": 1.0, "density": 0.5, "epsilon": 0.3}}
    with source(paths, None) as kept:
        merged = dict(kept.merge(recipe("della", own)))[name]
        base, model = (
            kept.checkpoints[x].tensor(kept.checkpoints[x].index.tensors[name])
            for x in ("base", "a")
        )
    delta = Delta(base, model)
    levels = row_masks.levels(delta.bits(), 400)
    chances = row_masks.Chances.of(0.5, 0.3, 400)
    mask = row_masks.ranked_mask(levels, chances, mask_key(0, 1, name)).reshape(300, 400)
    changed = (merged != base).numpy()
    assert not changed[~mask].any()
    assert changed[mask & (model != base).numpy()].mean() > 0.95
