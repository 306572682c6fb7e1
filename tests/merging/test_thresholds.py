"""Which entries a density keeps: exactly k, ties by index, the same from table and from scratch."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from evomerge.merging import masks, thresholds
from tests.methods import oracles

bf16_deltas = st.lists(st.integers(-6, 6), min_size=1, max_size=60).map(
    lambda values: torch.tensor(values, dtype=torch.float32) / 64
)
density = st.integers(1, 1000).map(lambda x: x / 1000)


def bits_of(delta):
    return thresholds.magnitudes(torch.zeros_like(delta), delta)


def kept(delta, found):
    size, index = delta.abs(), torch.arange(len(delta))
    return ((size > found.threshold) | ((size == found.threshold) & (index < found.cutoff))).numpy()


@given(bf16_deltas, density)
def test_exactly_k_entries_survive_however_many_ties(delta, share):
    found = thresholds.from_table(thresholds.magnitude_table(bits_of(delta)), share)
    mask = kept(delta, found)
    assert mask.sum() == max(1, int(round(share * 1000) * len(delta) // 1000))
    assert (mask == oracles.kept_by_magnitude(delta.numpy(), share)).all()


@pytest.mark.parametrize("table_from", [0, 1 << 30])
def test_lookup_and_bisection_find_the_same_ties_across_blocks(monkeypatch, table_from):
    monkeypatch.setattr(thresholds, "_TABLE_FROM", table_from)
    monkeypatch.setattr(thresholds, "_BLOCK", 1000)
    bits = bits_of((torch.randn(5003) * 0.01).bfloat16().float())
    table = thresholds.magnitude_table(bits)
    for row in range(1, 1001, 37):
        assert thresholds.from_table(table, row / 1000).cutoff == (
            thresholds.magnitude_kept(bits, row / 1000).cutoff
        )


@given(bf16_deltas, density)
def test_table_and_direct_computation_agree(delta, share):
    bits = bits_of(delta)
    table = thresholds.from_table(thresholds.magnitude_table(bits), share)
    direct = thresholds.magnitude_kept(bits, share)
    assert (table.threshold, table.cutoff) == (direct.threshold, direct.cutoff)
    assert table.share == pytest.approx(direct.share)


@given(bf16_deltas, st.integers(1, 1000), st.integers(-5, 5))
def test_random_table_and_direct_computation_agree(delta, row, key):
    bits = bits_of(delta)
    table = thresholds.from_table(thresholds.random_table(bits, (key, 7)), row / 1000)
    direct = thresholds.random_kept(bits, (key, 7), row / 1000)
    assert table.share == pytest.approx(direct.share)


def test_a_density_means_the_number_that_is_written():
    """0.29 of 100 entries are 29, although 0.29 * 100 is 28.999999999999996."""
    delta = torch.arange(100) / 100
    found = thresholds.magnitude_kept(bits_of(delta), 0.29)
    assert kept(delta, found).sum() == 29


def test_a_delta_of_zeros_keeps_its_norm_of_zero():
    table = thresholds.magnitude_table(bits_of(torch.zeros(5)))
    assert thresholds.from_table(table, 0.4).rescale == 1.0


@given(
    st.integers(0, 2**32 - 1), st.integers(-(2**31), 2**31 - 1), st.integers(-(2**31), 2**31 - 1)
)
def test_the_hash_is_the_one_in_plain_integers(index, first, second):
    def tensor(x):
        return torch.tensor(x - (1 << 32) if x >> 31 > 0 else x, dtype=torch.int32)

    got = masks.hash_31(tensor(index).view(1), tensor(first), tensor(second))
    assert int(got) == oracles.hash_31(index, first, second)


def hashes(count, key):
    keys = [torch.tensor(part, dtype=torch.int32) for part in key]
    return masks.hash_31(torch.arange(count, dtype=torch.int32), *keys).numpy() / 2**31


def test_masks_of_two_tensors_and_of_neighbours_are_unrelated():
    keys = [masks.mask_key(0, 1, name) for name in ("a", "b")]
    first, second = (hashes(1 << 16, key) for key in keys)
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.02
    assert abs(np.corrcoef(first[:-1], first[1:])[0, 1]) < 0.02


@pytest.mark.parametrize("share", [0.01, 0.3, 0.9])
def test_a_mask_keeps_its_density_on_average(share):
    kept = [(hashes(4096, masks.mask_key(s, 1, "w")) < share).mean() for s in range(40)]
    assert np.mean(kept) == pytest.approx(share, abs=4 * np.sqrt(share * (1 - share) / 4096 / 40))
    assert np.std(kept) == pytest.approx(np.sqrt(share * (1 - share) / 4096), rel=0.4)


def test_angle_of_opposite_and_zero_tensors():
    a = torch.tensor([1.0, 2.0])
    assert thresholds.cosine(a, -a) == pytest.approx(-1)
    assert thresholds.cosine(a, torch.zeros(2)) == 0
