"""Which entries a density keeps: exactly k, ties by index, the same from table and from scratch."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from evomerge.merging import masks, thresholds
from evomerge.methods.amounts import kept_count
from tests.methods import oracles

bf16_deltas = st.lists(st.integers(-6, 6), min_size=1, max_size=60).map(
    lambda values: torch.tensor(values, dtype=torch.float32) / 64
)
density = st.integers(1, 1000).map(lambda x: x / 1000)


def bits_of(delta):
    return thresholds.magnitudes(torch.zeros_like(delta), delta)


def kept(delta, cut):
    return thresholds.above(bits_of(delta), cut)


@given(bf16_deltas, density)
def test_exactly_k_entries_survive_however_many_ties(delta, share):
    bits, count = bits_of(delta), len(delta)
    keep = kept_count(share, count)
    cut = thresholds.cut_from_table(thresholds.magnitude_table(bits), count, keep)
    mask = kept(delta, cut)
    assert mask.sum() == keep == max(1, int(round(share * 1000) * count // 1000))
    assert (mask == oracles.kept_by_magnitude(delta.numpy(), share)).all()
    assert (mask == kept(delta, thresholds.cut_at(bits, keep))).all()


@given(bf16_deltas, st.integers(0, 1000), st.integers(0, 1000))
def test_a_table_knows_sums_of_two_densities_too(delta, one, other):
    bits, count = bits_of(delta), len(delta)
    keep = min(count, max(1, one * count // 1000 + other * count // 1000))
    cut = thresholds.cut_from_table(thresholds.magnitude_table(bits), count, keep)
    assert cut is not None
    assert kept(delta, cut).sum() == keep


def test_a_table_says_where_it_does_not_know():
    bits = bits_of(torch.arange(5003) / 64)
    table = thresholds.magnitude_table(bits)
    unknown = set(range(1, 5004)) - set(thresholds.grid_counts(5003).tolist())
    assert thresholds.cut_from_table(table, 5003, min(unknown)) is None


@given(bf16_deltas, st.integers(1, 1000), st.integers(-5, 5))
def test_random_table_and_direct_computation_agree(delta, row, key):
    bits = bits_of(delta)
    kept_norms = thresholds.random_table(bits, (key, 7))["kept"]
    share = thresholds.share_of(kept_norms[row], kept_norms[-1])
    assert share == pytest.approx(thresholds.random_share(bits, (key, 7), row / 1000))


def test_a_density_means_the_number_that_is_written():
    """0.29 of 100 entries are 29, although 0.29 * 100 is 28.999999999999996."""
    delta = torch.arange(100) / 100
    assert kept(delta, thresholds.cut_at(bits_of(delta), kept_count(0.29, 100))).sum() == 29


def test_a_delta_of_zeros_keeps_its_norm_of_zero():
    assert thresholds.random_share(bits_of(torch.zeros(5)), (1, 2), 0.4) == 1.0


@given(
    st.integers(0, 2**32 - 1), st.integers(-(2**31), 2**31 - 1), st.integers(-(2**31), 2**31 - 1)
)
def test_the_hash_is_the_one_in_plain_integers(index, first, second):
    def tensor(x):
        return torch.tensor(x - (1 << 32) if x >> 31 > 0 else x, dtype=torch.int32)

    got = masks.hash_32(tensor(index).view(1), tensor(first), tensor(second))
    assert int(got) % 2**32 == oracles.hash_32(index, first, second)


def hashes(count, key):
    keys = [torch.tensor(part, dtype=torch.int32) for part in key]
    return (
        masks.hash_32(torch.arange(count, dtype=torch.int32), *keys).numpy().view(np.uint32) / 2**32
    )


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


def drawn(seed, name="w", count=1 << 20):
    """Hashes of one tensor as numbers in [0, 1)."""
    return hashes(count, masks.mask_key(seed, 1, name))


def test_hashes_are_uniform_at_even_and_odd_places():
    for seed in range(3):
        for parity in (0, 1):
            counts = np.bincount((drawn(seed)[parity::2] * 1024).astype(int), minlength=1024)
            assert chi_square(counts) == pytest.approx(1023, abs=6 * np.sqrt(2 * 1023))


@pytest.mark.parametrize("lag", [1, 2, 3, 4, 7, 16, 64, 255, 256, 2048, 4096, 5632])
def test_neighbours_in_rows_columns_and_pairs_are_independent(lag):
    """Pairs of hashes so far apart fill a square evenly; those of an even place and its odd one too."""
    for seed in range(3):
        u = drawn(seed)
        for first, second in ((u[:-lag], u[lag:]), (u[:-lag:2], u[lag::2][: len(u[:-lag:2])])):
            cells = (first * 32).astype(int) * 32 + (second[: len(first)] * 32).astype(int)
            counts = np.bincount(cells, minlength=1024)
            assert chi_square(counts) == pytest.approx(1023, abs=6 * np.sqrt(2 * 1023))


def test_models_tensors_and_seeds_have_independent_masks():
    keys = [
        masks.mask_key(*given) for given in ((0, 1, "w"), (0, 2, "w"), (1, 1, "w"), (0, 1, "v"))
    ]
    keys += [masks.key_at(keys[0], upper) for upper in (1, 2)]
    found = [hashes(1 << 20, key) for key in keys]
    for number, first in enumerate(found):
        for second in found[number + 1 :]:
            counts = np.bincount(
                (first * 32).astype(int) * 32 + (second * 32).astype(int), minlength=1024
            )
            assert chi_square(counts) == pytest.approx(1023, abs=6 * np.sqrt(2 * 1023))


def test_runs_of_a_mask_are_as_long_as_those_of_coins():
    for share in (0.1, 0.5, 0.9):
        kept = drawn(4) < share
        windows = np.lib.stride_tricks.sliding_window_view(kept, 8)[::8]
        counts = np.bincount(windows.sum(axis=1), minlength=9)
        wanted = np.array([math.comb(8, k) * share**k * (1 - share) ** (8 - k) for k in range(9)])
        expected = wanted * len(windows)
        assert (np.abs(counts - expected) < 5 * np.sqrt(expected) + 5).all()


def chi_square(counts):
    expected = counts.sum() / len(counts)
    return ((counts - expected) ** 2 / expected).sum()
