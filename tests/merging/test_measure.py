"""The compiled measurements against their definitions: the same cuts and masks, on every dtype."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from evomerge.merging import measure, row_masks, thresholds
from evomerge.merging.kernels import EVERYTHING, NOTHING, Cut
from evomerge.merging.masks import mask_key
from evomerge.merging.measure import Delta, inner_products
from evomerge.merging.row_masks import Chances

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
SHAPE = (300, 401)


@pytest.fixture(scope="module", params=[*DTYPES, "mixed"])
def delta(request):
    """A matrix large enough for the compiled search for cuts; bf16 has many equal magnitudes."""
    generator = torch.Generator().manual_seed(0)
    base = torch.randn(SHAPE, generator=generator) * 0.02
    model = base + torch.randn(SHAPE, generator=generator) * 1e-3
    if request.param == "mixed":
        return Delta(base.bfloat16(), model)
    return Delta(base.to(DTYPES[request.param]), model.to(DTYPES[request.param]))


def kept(delta, cut):
    return thresholds.above(delta.bits(), cut)


@pytest.mark.parametrize("share", [0.0, 1e-5, 0.01, 0.2, 0.5, 0.9, 0.999, 1.0])
def test_a_cut_has_exactly_as_many_entries_above_it_as_asked(delta, share):
    keep = int(share * delta.numel)
    cut = delta.cut(keep)
    assert kept(delta, cut).sum() == keep
    assert (kept(delta, cut) == kept(delta, thresholds.cut_at(delta.bits(), keep))).all()


def test_a_sample_that_misleads_costs_time_and_nothing_else(delta, monkeypatch):
    monkeypatch.setattr(Delta, "_bounds", lambda *_: (0x7F000000, 0x7F000001))
    assert kept(delta, delta.cut(1000)).sum() == 1000


def test_the_table_is_the_one_of_a_full_sort(delta):
    table, wanted = delta.magnitude_table(), thresholds.magnitude_table(delta.bits())
    assert (table["threshold"] == wanted["threshold"]).all()
    assert (table["cutoff"] == wanted["cutoff"]).all()


def test_the_table_of_few_distinct_magnitudes_keeps_the_right_ties():
    """Two thirds of the deltas are 0, the rest take five values."""
    generator = torch.Generator().manual_seed(1)
    steps = torch.randint(-15, 16, (400, 400), generator=generator).clamp(-5, 5)
    model = torch.where(torch.rand(400, 400, generator=generator) < 0.66, 0, steps).bfloat16()
    delta = Delta(torch.zeros(400, 400).bfloat16(), model)
    table, wanted = delta.magnitude_table(), thresholds.magnitude_table(delta.bits())
    assert (table["threshold"] == wanted["threshold"]).all()
    assert (table["cutoff"] == wanted["cutoff"]).all()
    assert kept(delta, delta.cut(90_000)).sum() == 90_000


@given(st.lists(st.integers(0, 3), min_size=1, max_size=40), st.integers(0, 40))
def test_small_tensors_are_cut_exactly_too(values, keep):
    model = torch.tensor(values, dtype=torch.float32)
    delta = Delta(torch.zeros_like(model), model)
    assert kept(delta, delta.cut(keep)).sum() == min(keep, len(values))


@pytest.mark.parametrize(
    ("low", "high"),
    [(EVERYTHING, NOTHING), (Cut(1e-3, 70_000), NOTHING), (Cut(5e-4, 0), Cut(2e-3, 60_000))],
)
def test_norms_between_cuts(delta, low, high, monkeypatch):
    found = delta.band_share(low, high)
    monkeypatch.setattr(measure, "library", lambda: None)
    assert found == pytest.approx(delta.band_share(low, high), rel=1e-12)


def test_norms_of_random_masks(delta, monkeypatch):
    found = delta.random_share((5, -7), 0.37), delta.random_table((5, -7))
    monkeypatch.setattr(measure, "library", lambda: None)
    assert found[0] == pytest.approx(delta.random_share((5, -7), 0.37), rel=1e-12)
    np.testing.assert_allclose(found[1]["kept"], delta.random_table((5, -7))["kept"], rtol=1e-12)


def levels_of(delta):
    out = np.empty(delta.numel, np.uint8)
    return out, delta.levels(out)


def test_levels_are_those_of_a_full_sort(delta, monkeypatch):
    levels, mean = levels_of(delta)
    monkeypatch.setattr(measure, "library", lambda: None)
    wanted, wanted_mean = levels_of(delta)
    assert (levels == wanted).all()
    assert mean == pytest.approx(wanted_mean, rel=1e-12)


@pytest.mark.parametrize("columns", [2, 3, 255, 256, 257, 3000])
@pytest.mark.parametrize("distinct", [1, 2, 40, 100_000])
def test_levels_of_equal_magnitudes_are_given_by_index(columns, distinct, monkeypatch):
    """Most deltas of a short fine-tune in bf16 are 0, and the others span many octaves."""
    generator = torch.Generator().manual_seed(columns)
    model = torch.randint(0, distinct, (7, columns), generator=generator) * 2.0 ** torch.randint(
        -30, 1, (7, columns), generator=generator
    )
    delta = Delta(torch.zeros_like(model), model)
    levels, _ = levels_of(delta)
    monkeypatch.setattr(measure, "library", lambda: None)
    assert (levels == levels_of(delta)[0]).all()
    ranks = row_masks.ranks_in_rows(delta.bits(), columns).reshape(-1)
    assert np.abs(levels - 255 * ranks / (columns - 1)).max() <= 0.5


def test_large_entries_of_a_row_survive_more_often():
    generator = torch.Generator().manual_seed(2)
    model = torch.rand(200, 500, generator=generator)
    delta = Delta(torch.zeros_like(model), model)
    mask = row_masks.ranked_mask(levels_of(delta)[0], Chances.of(0.5, 0.3, 500), (1, 2))
    ranks, kept = row_masks.ranks_in_rows(delta.bits(), 500), mask.reshape(200, 500)
    assert kept[ranks < 100].mean() == pytest.approx(0.26, abs=0.02)
    assert kept[ranks >= 400].mean() == pytest.approx(0.74, abs=0.02)
    assert kept.mean() == pytest.approx(0.5, abs=0.01)


@given(st.integers(2, 999), st.integers(0, 499), st.integers(2, 5000))
def test_chances_go_from_one_end_to_the_other_and_are_the_density_on_average(d, e, columns):
    density, epsilon = d / 1000, e / 1000
    if not 0 < density - epsilon <= density + epsilon < 1:
        return
    chances = Chances.of(density, epsilon, columns)
    assert 0 < chances.lowest <= chances.lowest + 255 * chances.step < 1 << 32
    ends = [chances.mean(level) for level in (0, 255)]
    assert ends == pytest.approx([density - epsilon, density + epsilon], abs=1e-6)
    row = row_masks.levels(np.arange(columns, dtype=np.uint32), columns)
    assert chances.at(row).mean() / 2**32 == pytest.approx(density, abs=1e-3)


def test_the_norm_that_chances_leave_is_that_of_the_masks_on_average():
    generator = torch.Generator().manual_seed(3)
    model = torch.randn(60, 500, generator=generator)
    delta, chances = Delta(torch.zeros_like(model), model), Chances.of(0.4, 0.2, 500)
    levels, mean = levels_of(delta)
    shares = [delta.ranked_share(levels, chances, mask_key(s, 1, "w")) for s in range(40)]
    error = np.std(shares) / np.sqrt(len(shares))
    assert np.mean(shares) == pytest.approx(chances.mean(mean), abs=4 * error)
    assert np.std(shares) < 0.01


@pytest.mark.parametrize("axis", [None, -1, 0])
@pytest.mark.parametrize("relative", [True, False])
def test_inner_products_are_those_in_float64(delta, axis, relative, monkeypatch):
    base = delta.base if relative else None
    models = [delta.model, delta.model * 2, delta.base]
    found = inner_products(models, base, axis)
    monkeypatch.setattr(measure, "library", lambda: None)
    wanted = inner_products(models, base, axis)
    assert found.shape == wanted.shape
    np.testing.assert_allclose(found, wanted, rtol=1e-10, atol=1e-12)


def test_nothing_measured_depends_on_the_number_of_threads(delta):
    def everything():
        return (
            delta.cut(5000),
            delta.band_share(Cut(1e-3, 0)),
            delta.random_share((1, 2), 0.5),
            levels_of(delta)[1],
            levels_of(delta)[0].tobytes(),
            inner_products([delta.model, delta.base], None, None).tolist(),
        )

    threads, wanted = torch.get_num_threads(), everything()
    try:
        for count in (1, 2, 3, 5):
            torch.set_num_threads(count)
            assert everything() == wanted
    finally:
        torch.set_num_threads(threads)


def test_a_band_drops_outliers_first_and_gives_way_to_the_density():
    assert row_masks.band(100, 0.5, 0.01) == (1, 51)
    assert row_masks.band(100, 0.995, 0.5) == (1, 100)
    assert row_masks.band(10, 0.5, 0.01) == (0, 5)
    assert row_masks.band(1, 0.5, 0.01) == (0, 1)


def test_variance_picks_the_entries_on_which_models_differ():
    deltas = np.array([[0, 1, 5, -2, 0], [0, 1, -5, 3, 1]], np.float32)
    variance = deltas.var(axis=0)
    assert row_masks.variance_mask(variance, 0.34).tolist() == [False, False, True, False, False]
    assert row_masks.variance_mask(variance, 0.99).tolist() == [False, False, True, True, False]
    assert row_masks.variance_mask(variance * 0, 0.5).tolist() == [False] * 5
