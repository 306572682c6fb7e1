"""Fisher, RegMean, MaTS and Sens-Merging against derivations of their own in float64."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from evomerge.merging.shared import Shared
from evomerge.merging.solve import factorise
from evomerge.methods import METHODS, Measurement, Tensors, Weighing
from evomerge.methods.base import Values
from evomerge.methods.sens import weigh

RNG = np.random.default_rng(3)
N, OUT = 12, 7


def defaults(method: str, **changes: Any) -> Values:
    return {
        own.name: changes.get(own.name, own.default)
        for own in METHODS[method].parameters
        if not own.per_model
    }


def measurement(value: np.ndarray, axis: int = 1, **changes: Any) -> Measurement:
    wide = torch.from_numpy(np.asarray(value, np.float64))
    square = wide.dim() == 2 and wide.shape[0] == wide.shape[1]
    found = Measurement(
        value=wide.float(),
        axis=axis,
        total=float(wide.sum()),
        squares=float(wide.square().sum()),
        trace=float(wide.diagonal().sum()) if square else 0.0,
        size=wide.numel(),
        model_squares=2 * float(wide.square().sum()),
        mark=str(RNG.integers(1 << 60)),
    )
    return found._replace(**changes)


def run(
    method: str,
    models: Sequence[np.ndarray],
    measured: Sequence[dict[str, Measurement | None]],
    weights: Sequence[float] | None = None,
    base: np.ndarray | None = None,
    **changes: Any,
) -> np.ndarray:
    """The method's arithmetic on one tensor, as the runner calls it."""
    compute = METHODS[method].compute
    assert compute is not None
    shared = Shared()
    found: Tensor = compute(
        Tensors(
            None if base is None else torch.from_numpy(base).float(),
            [torch.from_numpy(model).float() for model in models],
            defaults(method, **changes),
            [{"weight": weight} for weight in weights or [1.0] * len(models)],
            "w",
            measured,
            shared.keep,
            shared.recent,
            factorise,
        )
    )
    return found.double().numpy()


def matrices(count: int = 3, shape: tuple[int, ...] = (OUT, N)) -> list[np.ndarray]:
    return [RNG.normal(size=shape) for _ in range(count)]


def grams(count: int = 3, tokens: int = 40, side: int = N) -> list[np.ndarray]:
    inputs = [RNG.normal(size=(tokens, side)) * RNG.uniform(0.5, 2, side) for _ in range(count)]
    return [x.T @ x / tokens for x in inputs]


def regmean_oracle(
    models: Sequence[np.ndarray],
    given: Sequence[np.ndarray],
    weights: Sequence[float],
    alpha: float,
) -> np.ndarray:
    shrunk = [alpha * g + (1 - alpha) * np.diag(np.diag(g)) for g in given]
    left = sum(w * g for w, g in zip(weights, shrunk, strict=True))
    right = sum(w * g @ m.T for w, g, m in zip(weights, shrunk, models, strict=True))
    return np.linalg.solve(left, right).T


def stats(name: str, values: Sequence[np.ndarray], axis: int = 1) -> list[dict[str, Any]]:
    return [{name: measurement(value, axis)} for value in values]


# RegMean


@pytest.mark.parametrize("alpha", [0.0, 0.1, 0.9, 1.0])
@pytest.mark.parametrize("weights", [[1.0, 1.0, 1.0], [0.2, 0.5, 0.3], [2.0, 0.0, 1.0]])
def test_regmean_is_its_closed_form(alpha: float, weights: list[float]) -> None:
    models, given = matrices(), grams()
    found = run("regmean", models, stats("input_grams", given), weights, alpha=alpha, ridge=0.0)
    np.testing.assert_allclose(found, regmean_oracle(models, given, weights, alpha), atol=2e-5)


def test_regmean_minimises_the_squared_distance_of_outputs() -> None:
    inputs = [RNG.normal(size=(50, N)) for _ in range(3)]
    models = matrices()
    given = [x.T @ x / len(x) for x in inputs]
    found = run("regmean", models, stats("input_grams", given), alpha=1.0, ridge=0.0)

    def loss(merged: np.ndarray) -> float:
        pairs = zip(inputs, models, strict=True)
        return sum(float(((x @ (merged - model).T) ** 2).sum()) for x, model in pairs)

    best = loss(found)
    for _ in range(20):
        assert loss(found + RNG.normal(size=found.shape) * 1e-2) > best


def test_regmean_of_transposed_weights_is_the_transpose() -> None:
    models, given = matrices(), grams()
    plain = run("regmean", models, stats("input_grams", given))
    turned = [np.ascontiguousarray(model.T) for model in models]
    transposed = run("regmean", turned, stats("input_grams", given, axis=0))
    np.testing.assert_allclose(transposed, plain.T, atol=1e-6)


def test_regmean_without_correlations_averages_each_input_by_its_size() -> None:
    models, given = matrices(), grams()
    found = run("regmean", models, stats("input_grams", given), alpha=0.0, ridge=0.0)
    sizes = np.array([np.diag(g) for g in given])
    pairs = zip(sizes, models, strict=True)
    expected = sum(size * model for size, model in pairs) / sizes.sum(0)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_regmean_of_equal_models_is_that_model_whatever_was_measured() -> None:
    (model,) = matrices(1)
    for tokens in (3, 40):
        given = grams(tokens=tokens)
        found = run("regmean", [model] * 3, stats("input_grams", given), alpha=1.0)
        np.testing.assert_allclose(found, model, atol=1e-6)


def test_regmean_leaves_directions_without_inputs_to_the_average() -> None:
    inputs = [RNG.normal(size=(40, N)) for _ in range(2)]
    for x in inputs:
        x[:, 4] = 0.0
    models, given = matrices(2), [x.T @ x / len(x) for x in inputs]
    found = run("regmean", models, stats("input_grams", given), alpha=1.0, ridge=1e-6)
    np.testing.assert_allclose(found[:, 4], np.mean(models, axis=0)[:, 4], atol=1e-5)
    others = [n for n in range(N) if n != 4]
    reduced = regmean_oracle(
        [m[:, others] for m in models], [g[np.ix_(others, others)] for g in given], [1, 1], 1.0
    )
    np.testing.assert_allclose(found[:, others], reduced, atol=1e-3)


def test_regmean_takes_an_expert_from_the_only_model_that_used_it() -> None:
    models, (gram,) = matrices(2), grams(1)
    given = stats("input_grams", [gram, np.zeros((N, N))])
    found = run("regmean", models, given, alpha=1.0, ridge=1e-9)
    np.testing.assert_allclose(found, models[0], atol=1e-4)


@pytest.mark.parametrize("method", ["regmean", "mats", "fisher"])
def test_what_was_not_measured_is_averaged(method: str) -> None:
    models = matrices()
    base = matrices(1)[0]
    names = METHODS[method].statistics(defaults(method))
    for lacking in (
        [dict.fromkeys(names)] * 3,
        [{name: measurement(np.zeros((N, N) if "gram" in name else (OUT, N))) for name in names}]
        * 3,
    ):
        found = run(method, models, lacking, [0.2, 0.5, 0.3], base)
        expected = 0.2 * models[0] + 0.5 * models[1] + 0.3 * models[2]
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_singular_regmean_without_a_ridge_is_the_average() -> None:
    models, given = matrices(), [np.ones((N, N))] * 3
    found = run("regmean", models, stats("input_grams", given), alpha=1.0, ridge=0.0)
    np.testing.assert_allclose(found, np.mean(models, axis=0), atol=1e-5)


# MaTS


def kron_oracle(
    models: Sequence[np.ndarray],
    inner: Sequence[np.ndarray],
    outer: Sequence[np.ndarray],
    weights: Sequence[float],
) -> np.ndarray:
    """Σ w (B ⊗ A) vec(W) = …, as one dense system; W [o, n], rows first."""
    left = sum(w * np.kron(b, a) for w, a, b in zip(weights, inner, outer, strict=True))
    right = sum(
        w * np.kron(b, a) @ m.ravel()
        for w, a, b, m in zip(weights, inner, outer, models, strict=True)
    )
    return np.linalg.solve(left, right).reshape(models[0].shape)


TIGHT = {"iterations": 2000.0, "tolerance": 1e-12}


def test_converged_mats_with_covariances_is_regmean_with_alpha_one() -> None:
    models, given, weights = matrices(), grams(), [0.5, 0.2, 0.3]
    solved = run("mats", models, stats("input_grams", given), weights, matrices(1)[0], **TIGHT)
    closed = run("regmean", models, stats("input_grams", given), weights, alpha=1.0, ridge=0.0)
    np.testing.assert_allclose(solved, closed, atol=1e-5)


@pytest.mark.parametrize("axis", [0, 1])
def test_converged_mats_with_kfac_solves_the_whole_system(axis: int) -> None:
    models, inner, outer = matrices(), grams(), grams(side=OUT)
    weights = [0.5, 0.2, 0.3]
    expected = kron_oracle(models, inner, outer, weights)
    measured = [
        {"input_grams": measurement(a, axis), "output_gradient_grams": measurement(b, 1 - axis)}
        for a, b in zip(inner, outer, strict=True)
    ]
    turned = [np.ascontiguousarray(m if axis else m.T) for m in models]
    base = np.zeros_like(turned[0])
    found = run("mats", turned, measured, weights, base, objective="kfac", **TIGHT)
    np.testing.assert_allclose(found if axis else found.T, expected, atol=1e-4)


def test_converged_mats_with_the_diagonal_is_fisher_merging() -> None:
    models = matrices()
    fishers = [RNG.uniform(0.1, 1, (OUT, N)) for _ in range(3)]
    given = stats("fisher", fishers)
    found = run("mats", models, given, None, matrices(1)[0], objective="fisher", **TIGHT)
    merged = run("fisher", models, given, floor=0.0)
    np.testing.assert_allclose(found, merged, atol=1e-5)


@pytest.mark.parametrize("start", ["average", "base", "task_arithmetic"])
def test_mats_without_steps_is_its_start(start: str) -> None:
    models, base = matrices(), matrices(1)[0]
    found = run(
        "mats", models, stats("input_grams", grams()), None, base, iterations=0.0, start=start
    )
    expected = {
        "average": np.mean(models, axis=0),
        "base": base,
        "task_arithmetic": base + 0.3 * sum(model - base for model in models),
    }
    np.testing.assert_allclose(found, expected[start], atol=1e-5)


def test_each_step_of_mats_comes_nearer_to_the_solution() -> None:
    models, given = matrices(), grams()
    system = sum(given)
    best = regmean_oracle(models, given, [1, 1, 1], 1.0)
    far = []
    for steps in range(0, 12, 2):
        found = run(
            "mats",
            models,
            stats("input_grams", given),
            None,
            matrices(1)[0],
            iterations=float(steps),
            tolerance=0.0,
        )
        rest = found - best
        far.append(float(np.trace(rest @ system @ rest.T)))
    assert all(later < earlier for earlier, later in pairwise(far))


def test_mats_keeps_its_start_where_there_are_no_inputs() -> None:
    inputs = [RNG.normal(size=(4, N)) for _ in range(2)]
    models, base = matrices(2), matrices(1)[0]
    given = [x.T @ x / len(x) for x in inputs]
    found = run("mats", models, stats("input_grams", given), None, base, start="base", **TIGHT)
    assert np.abs(found).max() < 20
    _, _, spanned = np.linalg.svd(np.concatenate(inputs))
    outside = spanned[8:]
    np.testing.assert_allclose(found @ outside.T, base @ outside.T, atol=1e-4)


# Fisher


def fisher_oracle(
    models: Sequence[np.ndarray], fishers: Sequence[np.ndarray], weights: Sequence[float]
) -> np.ndarray:
    total = sum(w * f * m for w, f, m in zip(weights, fishers, models, strict=True))
    return total / sum(w * f for w, f in zip(weights, fishers, strict=True))


def small_fishers(count: int = 3) -> list[np.ndarray]:
    """As those of language models: far below any fixed floor."""
    return [RNG.uniform(0, 1, (OUT, N)) ** 4 * 1e-11 for _ in range(count)]


def test_fisher_is_its_weighted_average_however_small_the_information_is() -> None:
    models, fishers, weights = matrices(), small_fishers(), [0.2, 0.5, 0.3]
    found = run("fisher", models, stats("fisher", fishers), weights, floor=1e-3)
    floored = [np.maximum(f, 1e-3 * f.mean()) for f in fishers]
    np.testing.assert_allclose(found, fisher_oracle(models, floored, weights), atol=1e-5)


def test_equal_fisher_information_gives_the_average() -> None:
    models, (one,) = matrices(), small_fishers(1)
    for changes in ({}, {"power": 0.5}, {"normalise": "tensor"}, {"floor_by": "added"}):
        found = run("fisher", models, stats("fisher", [one] * 3), **changes)
        np.testing.assert_allclose(found, np.mean(models, axis=0), atol=1e-5)


@pytest.mark.parametrize("floor_by", ["absolute", "added"])
def test_the_floors_of_published_codes_are_options(floor_by: str) -> None:
    models, fishers = matrices(), small_fishers()
    given = stats("fisher", fishers)
    found = run("fisher", models, given, floor=1e-12, floor_by=floor_by)
    raised = [np.maximum(f, 1e-12) if floor_by == "absolute" else f + 1e-12 for f in fishers]
    np.testing.assert_allclose(found, fisher_oracle(models, raised, [1, 1, 1]), atol=1e-5)
    # A floor that is far above all information is the plain average: why it is not the default.
    plain = run("fisher", models, given, floor=1e-6, floor_by=floor_by)
    np.testing.assert_allclose(plain, np.mean(models, axis=0), atol=1e-4)


@pytest.mark.parametrize(("normalise", "factor"), [("tensor", 1.0), ("model", 2.0)])
def test_normalised_information_says_nothing_of_its_scale(normalise: str, factor: float) -> None:
    models, fishers = matrices(), small_fishers()
    norms = [np.sqrt(factor * (f**2).sum()) for f in fishers]
    expected = fisher_oracle(models, [f / n for f, n in zip(fishers, norms, strict=True)], [1] * 3)
    found = run("fisher", models, stats("fisher", fishers), floor=0.0, normalise=normalise)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    scaled = [f * s for f, s in zip(fishers, (1, 100, 1e-3), strict=True)]
    again = run("fisher", models, stats("fisher", scaled), floor=0.0, normalise=normalise)
    np.testing.assert_allclose(again, expected, atol=1e-4)


def test_power_zero_is_the_average_and_a_half_lies_between() -> None:
    models, fishers = matrices(), [RNG.uniform(0.1, 1, (OUT, N)) for _ in range(3)]
    flat = run("fisher", models, stats("fisher", fishers), power=0.0)
    np.testing.assert_allclose(flat, np.mean(models, axis=0), atol=1e-5)
    half = run("fisher", models, stats("fisher", fishers), power=0.5, floor=0.0)
    expected = fisher_oracle(models, [np.sqrt(f) for f in fishers], [1, 1, 1])
    np.testing.assert_allclose(half, expected, atol=1e-5)


def test_entries_that_no_model_is_sure_of_are_averaged() -> None:
    models, fishers = matrices(), [RNG.uniform(0.1, 1, (OUT, N)) for _ in range(3)]
    for f in fishers:
        f[2, 3] = 0.0
    found = run("fisher", models, stats("fisher", fishers), floor=0.0)
    assert found[2, 3] == pytest.approx(np.mean([m[2, 3] for m in models]), abs=1e-6)


def test_the_empirical_variant_asks_for_the_empirical_statistic() -> None:
    needed = METHODS["fisher"].statistics
    assert needed is not None
    assert needed(defaults("fisher")) == ("fisher",)
    assert needed(defaults("fisher", fisher="empirical")) == ("empirical_fisher",)


# Sens-Merging


def weighing(temperature: float, between: str = "distance", layer: str | None = "l.0") -> Weighing:
    scores = {"l.0": np.array([4.0, 1.0, 2.0]), "l.1": np.array([3.0, 5.0, 1.0])}
    distances = np.array([[0, 2.0, 1.0], [3.0, 0, 5.0], [1.0, 1.5, 0]])
    own = [{"weight": 1.0}] * 3
    return Weighing(layer, scores, distances, {"temperature": temperature, "between": between}, own)


@pytest.mark.parametrize("temperature", [0.05, 1.0])
def test_sens_merging_weighs_by_its_formula(temperature: float) -> None:
    alpha = np.array([4 / 5, 1 / np.sqrt(26), 2 / np.sqrt(5)])
    tau = np.array([3.0, 8.0, 2.5]) / 13.5
    power = np.exp(alpha * tau / temperature)
    found = weigh(weighing(temperature))
    np.testing.assert_allclose(found, 3 * power / power.sum(), rtol=1e-12)
    assert found.sum() == pytest.approx(3)


def test_similarity_turns_the_order_of_distances() -> None:
    alike = {"l.0": np.ones(3)}
    near, far = (
        weigh(weighing(0.1, mode)._replace(scores=alike)) for mode in ("similarity", "distance")
    )
    assert list(far.argsort()) == list(near.argsort()[::-1])
    assert far.argmax() == 1


def test_outside_the_layers_every_model_weighs_the_same() -> None:
    np.testing.assert_array_equal(weigh(weighing(0.05, layer=None)), np.ones(3))


def test_a_very_low_temperature_overflows_nothing() -> None:
    found = weigh(weighing(1e-6))
    np.testing.assert_allclose(np.sort(found), [0, 0, 3], atol=1e-9)


# What candidates share


def test_what_is_kept_is_worked_out_once_and_changes_nothing() -> None:
    models, given = matrices(), stats("input_grams", grams())
    shared, calls = Shared(), []

    def keep(key, make):
        def counted():
            calls.append(key)
            return make()

        return shared.keep(key, counted)

    compute = METHODS["regmean"].compute
    assert compute is not None
    own = [{"weight": 1.0}] * 3
    tensors = [torch.from_numpy(m).float() for m in models]
    results = [
        compute(
            Tensors(
                None,
                tensors,
                defaults("regmean", alpha=alpha),
                own,
                "w",
                given,
                keep,
                shared.recent,
                factorise,
            )
        )
        for alpha in (0.3, 0.9, 0.3)
    ]
    assert len(calls) == 2
    assert torch.equal(results[0], results[2])
    np.testing.assert_allclose(
        results[0].double(), run("regmean", models, given, alpha=0.3), atol=1e-7
    )


def test_nothing_is_kept_beyond_the_room_there_is() -> None:
    shared, made = Shared(room=100), []

    def make(size: int) -> Tensor:
        made.append(size)
        return torch.zeros(size, dtype=torch.float64)

    for _ in range(2):
        shared.keep(("small",), lambda: make(8))
        shared.keep(("large",), lambda: make(80))
    assert made == [8, 80, 80]


def test_every_statistic_that_a_method_names_is_known() -> None:
    from evomerge.calibration.statistic import STATISTICS

    for method in METHODS.values():
        if method.statistics is not None:
            values = defaults(method.name)
            assert set(method.statistics(values)) <= set(STATISTICS)
