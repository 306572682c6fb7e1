"""Ranks that merge only what they own get the same bits as one that merges everything."""

from typing import ClassVar

import pytest
import torch

from evomerge.errors import MergeError
from evomerge.evaluation.parameter_views import all_hold, find_places
from evomerge.merging.merge import MergeSource
from evomerge.merging.regions import Place, Region, slice_of, whole
from evomerge.merging.statistics import StatisticsCache
from tests.merging.checkpoints import random_weights
from tests.merging.test_properties import CASES, family, made, merge, write

SHAPES = {
    "model.embed_tokens.weight": (40, 24),
    "layers.0.self_attn.q_proj.weight": (48, 24),
    "layers.0.self_attn.k_proj.weight": (16, 24),
    "layers.0.self_attn.v_proj.weight": (16, 24),
    "layers.0.self_attn.o_proj.weight": (24, 48),
    "layers.0.mlp.experts": (2, 12, 10),
    "layers.0.norm.weight": (24,),
    "lm_head.weight": (512, 304),
}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return write(tmp_path_factory.mktemp("models"), family(random_weights(SHAPES, 0)))


@pytest.mark.parametrize(
    ("shape", "dim", "start", "stop"),
    [
        ((6, 5), 0, 2, 4),
        ((6, 5), 1, 1, 3),
        ((2, 3, 4), 1, 1, 2),
        ((2, 3, 4), 2, 0, 3),
        ((7,), 0, 3, 7),
    ],
)
def test_a_slice_is_runs_of_equal_width(shape, dim, start, stop):
    tensor = torch.arange(torch.Size(shape).numel()).view(shape)
    region = slice_of(shape, dim, start, stop)
    wanted = tensor.narrow(dim, start, stop - start).reshape(-1)
    assert torch.equal(region.cut_out(tensor.reshape(-1)).reshape(-1), wanted)
    assert region.numel == wanted.numel()


def test_a_slice_of_everything_is_the_whole():
    assert slice_of((3, 4), 0, 0, 3) == slice_of((3, 4), 1, 0, 4) == whole(12)


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("name", CASES)
def test_a_rank_merges_its_slices_to_the_same_bits(models, name, fused):
    wanted = merge(models, made(name))
    with MergeSource(
        models, cache=StatisticsCache(on_disk=False), fused=fused, chunk=512
    ) as source:
        for key, tensor in wanted.items():
            for dim in range(tensor.dim()):
                half = tensor.shape[dim] // 2
                for start, stop in ((0, half), (half, tensor.shape[dim])):
                    part = tensor.narrow(dim, start, stop - start)
                    place = Place(
                        torch.zeros_like(part), slice_of(tuple(tensor.shape), dim, start, stop)
                    )
                    source.merge_into(made(name), {key: place}.get)
                    assert torch.equal(place.tensor, part), (key, dim, start)
                    assert place.same_as(tensor)


def test_a_place_of_another_size_is_refused(models):
    place = Place(torch.zeros(5), Region(1, 6, 6))
    with MergeSource(models) as source, pytest.raises(MergeError, match="its destination"):
        source.merge_into(made("linear"), {"layers.0.norm.weight": place}.get)


class OneRank(torch.nn.Module):
    """What vLLM makes of a layer for one of `ranks`: q, k, v stacked, everything divided."""

    packed_modules_mapping: ClassVar = {"qkv_proj": ["q_proj", "k_proj", "v_proj"]}

    def __init__(self, rank, ranks, weights):
        super().__init__()

        def own(tensor, dim):
            return tensor.chunk(ranks, dim)[rank]

        def put(name, tensor):
            module = self
            *path, last = name.split(".")
            for piece in path:
                if not hasattr(module, piece):
                    module.add_module(piece, torch.nn.Module())
                module = getattr(module, piece)
            module.register_parameter(last, torch.nn.Parameter(tensor.clone(), False))

        attention = "layers.0.self_attn."
        stacked = [own(weights[f"{attention}{n}_proj.weight"], 0) for n in "qkv"]
        put(f"{attention}qkv_proj.weight", torch.cat(stacked))
        put(f"{attention}o_proj.weight", own(weights[f"{attention}o_proj.weight"], 1))
        put("layers.0.mlp.experts", own(weights["layers.0.mlp.experts"], 1))
        put("layers.0.norm.weight", weights["layers.0.norm.weight"])
        padded = torch.cat([weights["model.embed_tokens.weight"], torch.zeros(24, 24).bfloat16()])
        put("model.embed_tokens.weight", own(padded, 0))
        put("lm_head.weight", own(weights["lm_head.weight"], 0))


@pytest.mark.parametrize("ranks", [1, 2])
def test_places_are_found_in_fused_padded_and_divided_parameters(models, ranks):
    """64 rows of a padded vocabulary of 40: the second of two ranks owns 8 of its 32."""
    loaded, wanted = (merge(models, made(name)) for name in ("linear", "ties"))
    for rank in range(ranks):
        model = OneRank(rank, ranks, loaded)
        places = find_places(model, SHAPES, rank, ranks)
        assert places.keys() == SHAPES.keys()
        assert all_hold(places, loaded.items())
        assert not all_hold(places, wanted.items())
        with MergeSource(models, cache=StatisticsCache(on_disk=False)) as source:
            source.merge_into(made("ties"), places.get)
        assert all_hold(places, wanted.items())
        other = OneRank(rank, ranks, wanted)
        for (name, one), (_, two) in zip(
            model.named_parameters(), other.named_parameters(), strict=True
        ):
            assert torch.equal(one, two), name


def test_a_parameter_that_fits_nowhere_leaves_the_loader_to_do_it(models):
    model = OneRank(0, 2, merge(models, made("linear")))
    assert find_places(model, SHAPES, 0, 1) == {}
    assert find_places(model, {**SHAPES, "layers.0.extra": (3,)}, 0, 2) == {}
