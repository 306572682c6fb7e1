"""Where models lie: what fits is taken, what is asked for is done or refused, and results stay the same."""

import pytest
import torch

from evomerge.errors import ResourceError, UsageError
from evomerge.merging.merge import MergeSource
from evomerge.merging.placement import Residence, Room, choose, free_room
from evomerge.merging.statistics import StatisticsCache
from tests.merging.checkpoints import random_weights
from tests.merging.test_properties import SHAPES, family, made, same, write

GB = 10**9
GPU = Room(host=100 * GB, device=40 * GB)


@pytest.mark.parametrize(
    ("needed", "place"), [(10 * GB, "device"), (45 * GB, "pinned"), (60 * GB, "mapped")]
)
def test_auto_takes_the_fastest_place_that_fits(needed, place):
    assert choose("auto", needed, GPU) == place


def test_some_of_the_gpu_stays_free_for_the_merge_itself():
    assert choose("auto", 40 * GB, GPU) == "pinned"


def test_on_a_cpu_files_are_mapped_unless_a_copy_is_asked_for():
    cpu = free_room(torch.device("cpu"))
    assert cpu.device is None
    assert choose("auto", 1, cpu) == "mapped"
    assert choose("device", 1, cpu) == "device"
    with pytest.raises(UsageError, match="no GPU"):
        choose("pinned", 1, cpu)


@pytest.mark.parametrize("place", ["device", "pinned"])
def test_a_place_that_is_too_small_is_refused_by_name(place):
    with pytest.raises(ResourceError, match=r"60\.0 GB") as caught:
        choose(place, 60 * GB, GPU)
    assert place in str(caught.value)


def test_a_copy_is_made_once():
    residence = Residence("device", torch.device("cpu"))
    tensor = torch.ones(3)
    copy = residence.of("a", lambda: tensor)
    assert copy is residence.of("a", lambda: pytest.fail("made again"))
    assert copy.data_ptr() != tensor.data_ptr()
    assert Residence("mapped", torch.device("cpu")).of("a", lambda: tensor) is tensor


@pytest.mark.parametrize("name", ["linear", "ties", "della", "nearswap"])
def test_a_merge_is_the_same_wherever_its_models_lie(tmp_path, name):
    paths = write(tmp_path, family(random_weights(SHAPES, 0)))
    results = []
    for place in ("mapped", "device"):
        cache = StatisticsCache(on_disk=False)
        with MergeSource(paths, cache=cache, models_on=place) as source:
            results.append(dict(source.merge(made(name))))
    assert same(*results)
