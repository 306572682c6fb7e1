"""What is measured, against derivations of its own in float64."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from evomerge.calibration.batches import Encoded, encode
from evomerge.calibration.collect import Options
from evomerge.calibration.loading import Loaded
from evomerge.errors import CheckpointError, SpecError
from tests.calibration import models
from tests.calibration.models import load, measured, save, texts

CAUSAL = [models.llama, models.qwen, models.gpt2, models.mixtral]


@pytest.fixture(autouse=True)
def float64_is_left_alone() -> None:
    torch.set_num_threads(1)


def encoded(loaded: Loaded, given) -> tuple[Encoded, ...]:
    return encode(loaded.tokenizer, given.of("model"), given.max_length)


def inputs_by_hooks(loaded: Loaded, given) -> dict[str, np.ndarray]:
    """Gram matrices of modules' inputs, one text at a time, in float64, seen by hooks."""
    sums: dict[str, np.ndarray] = {}
    counts: dict[str, int] = {}

    def hook(name):
        def note(module, args, output):
            rows = args[0].detach().double().reshape(-1, args[0].shape[-1]).numpy()
            sums[name] = sums.get(name, 0) + rows.T @ rows
            counts[name] = counts.get(name, 0) + len(rows)

        return note

    linear = ("Linear", "Conv1D", "MixtralTopKRouter")
    modules = [(n, m) for n, m in loaded.model.named_modules() if type(m).__name__ in linear]
    handles = [module.register_forward_hook(hook(name)) for name, module in modules]
    with torch.no_grad():
        for one in encoded(loaded, given):
            loaded.model(input_ids=torch.tensor([one.ids]))
    for handle in handles:
        handle.remove()
    return {name: total / counts[name] for name, total in sums.items()}


@pytest.mark.parametrize("make", [*CAUSAL, models.classifier])
def test_input_grams_are_the_mean_products_of_every_linear_layers_inputs(
    make: Callable[[], torch.nn.Module], tmp_path: Path
) -> None:
    loaded, given = load(save(make, tmp_path / "m")), texts()
    values, header = measured("input_grams", loaded, given, tmp_path / "s")
    leaders = header["notes"]["leaders"]
    oracle = inputs_by_hooks(loaded, given)
    checked = 0
    for module, expected in oracle.items():
        slots = [s for s in loaded.slots.values() if s.parameter == f"{module}.weight"]
        for slot in slots:
            if "embed" in slot.name or "wte" in slot.name:
                assert slot.name not in leaders
                continue
            np.testing.assert_allclose(
                values[leaders[slot.name]].double().numpy(), expected, rtol=2e-4, atol=2e-5
            )
            checked += 1
    assert checked >= 8


def test_layers_with_one_input_share_one_matrix(tmp_path: Path) -> None:
    loaded = load(save(models.llama, tmp_path / "m"))
    values, header = measured("input_grams", loaded, texts(), tmp_path / "s")
    leaders, layer = header["notes"]["leaders"], "model.layers.1"
    attention = {leaders[f"{layer}.self_attn.{part}_proj.weight"] for part in "qkv"}
    mlp = {leaders[f"{layer}.mlp.{part}_proj.weight"] for part in ("gate", "up")}
    assert len(attention) == len(mlp) == 1
    assert set(values) == set(leaders.values())


def test_gpt2s_weights_are_known_to_be_transposed(tmp_path: Path) -> None:
    loaded = load(save(models.gpt2, tmp_path / "m"))
    _, header = measured("input_grams", loaded, texts(), tmp_path / "s")
    transposed = header["notes"]["transposed"]
    assert "transformer.h.0.attn.c_attn.weight" in transposed
    assert "transformer.wte.weight" not in header["notes"]["leaders"]


def test_experts_are_found_by_the_checkpoints_names_and_get_the_tokens_sent_to_them(
    tmp_path: Path,
) -> None:
    loaded, given = load(save(models.mixtral, tmp_path / "m")), texts()
    assert loaded.lost == ()
    values, header = measured("input_grams", loaded, given, tmp_path / "s")
    tokens = sum(len(one.ids) for one in encoded(loaded, given))
    prefix = "model.layers.0.block_sparse_moe.experts"
    names = [f"{prefix}.{n}.w1.weight" for n in range(4)]
    sent = [header["counts"].get(name, 0) for name in names]
    assert sum(sent) == 2 * tokens
    # Experts and router see the same inputs: each token counts for both experts it is sent to.
    pairs = zip(names, sent, strict=True)
    everything = sum(values[name].double() * count for name, count in pairs if count)
    router = header["notes"]["leaders"]["model.layers.0.block_sparse_moe.gate.weight"]
    assert torch.allclose(everything, 2 * tokens * values[router].double(), rtol=1e-3, atol=1e-3)
    assert header["counts"][router] == tokens


def test_an_expert_without_a_token_has_no_matrix(tmp_path: Path) -> None:
    def lonely() -> torch.nn.Module:
        model = models.mixtral(chosen=1)
        with torch.no_grad():  # one of the first two logits is always the largest
            for layer in model.model.layers:
                layer.mlp.gate.weight.zero_()
                layer.mlp.gate.weight[0], layer.mlp.gate.weight[1] = 1.0, -1.0
        return model

    loaded = load(save(lonely, tmp_path / "m"))
    values, _ = measured("input_grams", loaded, texts(), tmp_path / "s")
    fisher, _ = measured("fisher", loaded, texts(), tmp_path / "s")
    for expert, used in ((0, True), (1, True), (2, False), (3, False)):
        name = f"model.layers.0.block_sparse_moe.experts.{expert}.w2.weight"
        assert (name in values) == used
        assert bool(fisher[name].any()) == used


def gradients(loaded: Loaded, one: Encoded, labels: torch.Tensor, mean: bool) -> dict:
    """∂ log p(labels | x) of one text in float64, by autograd on a model of float64."""
    model = loaded.model.double().requires_grad_(True)
    logits = model(input_ids=torch.tensor([one.ids])).logits
    scores = logits if loaded.classifier else logits[0, one.known - 1 : -1]
    total = scores.log_softmax(-1).gather(1, labels[:, None])
    value = -total.mean() if mean else total.sum()
    named = dict(model.named_parameters())
    found = torch.autograd.grad(value, list(named.values()), allow_unused=True)
    loaded.model.float().requires_grad_(False)
    return {
        name: torch.zeros_like(p) if g is None else g.detach().double()
        for (name, p), g in zip(named.items(), found, strict=True)
    }


def text_labels(loaded: Loaded, one: Encoded) -> torch.Tensor:
    return torch.tensor([one.label] if loaded.classifier else one.ids[one.known :])


@pytest.mark.parametrize("make", [*CAUSAL, models.classifier])
def test_empirical_fisher_is_the_mean_of_each_examples_squared_gradient(
    make: Callable[[], torch.nn.Module], tmp_path: Path
) -> None:
    loaded, given = load(save(make, tmp_path / "m")), texts()
    values, _ = measured("empirical_fisher", loaded, given, tmp_path / "s")
    ones = encoded(loaded, given)
    found = [gradients(loaded, one, text_labels(loaded, one), mean=False) for one in ones]
    typical = float(sum(value.mean() for value in values.values())) / len(values)
    for name, slot in loaded.slots.items():
        expected = sum(slot.of(one[slot.parameter]) ** 2 for one in found) / len(found)
        scale = float(expected.mean()) + 1e-6 * typical
        np.testing.assert_allclose(values[name] / scale, expected / scale, rtol=2e-3, atol=2e-4)
    assert set(values) == set(loaded.slots)


def test_true_fisher_comes_near_the_expectation_over_all_labels(tmp_path: Path) -> None:
    loaded = load(save(models.classifier, tmp_path / "m"))
    given = texts(150, examples=150)
    values, _ = measured("fisher", loaded, given, tmp_path / "s")
    expected = np.zeros((3, 16))
    for one in encoded(loaded, given):
        with torch.no_grad():
            chances = loaded.model(input_ids=torch.tensor([one.ids])).logits[0].softmax(-1)
        for label in range(3):
            squares = gradients(loaded, one, torch.tensor([label]), mean=False)
            expected += float(chances[label]) * squares["classifier.weight"].numpy() ** 2
    expected /= len(given.examples)
    assert len(given.examples) == 150
    found = values["classifier.weight"].double().numpy()
    assert abs(found.sum() / expected.sum() - 1) < 0.15
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.97


def test_drawn_labels_follow_the_models_distribution() -> None:
    from evomerge.calibration.likelihood import _draw

    chances = torch.tensor([0.5, 0.0, 0.2, 0.3])
    scores = chances.log().repeat(20_000, 1)
    drawn = _draw(scores, Encoded((1,), 1, None, seed=5))
    shares = torch.bincount(drawn, minlength=4) / 20_000
    assert shares[1] == 0
    assert (shares - chances).abs().max() < 0.015


@pytest.mark.parametrize("make", CAUSAL)
def test_sensitivity_is_the_mean_sum_of_weight_times_gradient(
    make: Callable[[], torch.nn.Module], tmp_path: Path
) -> None:
    loaded, given = load(save(make, tmp_path / "m")), texts()
    values, _ = measured("sensitivity", loaded, given, tmp_path / "s")
    ones = encoded(loaded, given)
    found = [gradients(loaded, one, text_labels(loaded, one), mean=True) for one in ones]
    held = loaded.tensors()
    for name, slot in loaded.slots.items():
        weight = slot.of(held[slot.parameter]).double()
        expected = sum((slot.of(one[slot.parameter]) * weight).abs().sum() for one in found)
        assert float(values[name]) == pytest.approx(float(expected) / len(found), rel=1e-3)


@pytest.mark.parametrize("make", [models.llama, models.gpt2])
def test_output_gradient_grams_are_kfacs_second_factor(
    make: Callable[[], torch.nn.Module], tmp_path: Path
) -> None:
    """A layer's weight gradient is gᵀx: with one token its square's sum is tr(G) · tr(A)."""
    loaded = load(save(make, tmp_path / "m"))
    given = texts(1)
    short = encoded(loaded, given)[0]
    values, header = measured("output_gradient_grams", loaded, given, tmp_path / "s")
    name = next(n for n in values if n.endswith(("down_proj.weight", "mlp.c_proj.weight")))
    labels = drawn_labels(loaded, short)
    outputs = {}

    def keep(module, args, output):
        output.retain_grad()
        outputs["g"] = output

    module = loaded.model.get_submodule(name.removesuffix(".weight"))
    loaded.model.double().requires_grad_(True)
    handle = module.register_forward_hook(keep)
    logits = loaded.model(input_ids=torch.tensor([short.ids])).logits
    scores = logits[0, short.known - 1 : -1].log_softmax(-1)
    scores.gather(1, labels[:, None]).sum().backward()
    handle.remove()
    gradient = outputs["g"].grad.reshape(-1, 16)
    expected = gradient.T @ gradient / len(gradient)
    scale = float(expected.abs().max())
    np.testing.assert_allclose(values[name] / scale, expected / scale, atol=1e-4)
    assert header["counts"][name] == len(short.ids)
    assert not any("lm_head" in one or "wte" in one for one in values)


def drawn_labels(loaded: Loaded, one: Encoded) -> torch.Tensor:
    from evomerge.calibration.likelihood import _draw

    with torch.no_grad():
        logits = loaded.model(input_ids=torch.tensor([one.ids])).logits
    return _draw(logits[0, one.known - 1 : -1].log_softmax(-1), one)


def test_logits_stand_at_the_same_positions_for_every_model(tmp_path: Path) -> None:
    given = texts()
    found = []
    for seed in (0, 1):
        loaded = load(save(models.llama, tmp_path / f"{seed}", seed))
        values, header = measured("logits", loaded, given, tmp_path / f"s{seed}")
        everything = []
        for one in sorted(encoded(loaded, given), key=lambda x: (len(x.ids), x.seed)):
            with torch.no_grad():
                everything.append(loaded.model(input_ids=torch.tensor([one.ids])).logits[0])
        assert torch.allclose(values["logits"], torch.cat(everything), atol=1e-5)
        found.append((values["logits"].shape, header["ids"]))
    assert found[0] == found[1]


@pytest.mark.parametrize(
    "statistic", ["input_grams", "output_gradient_grams", "fisher", "sensitivity", "logits"]
)
def test_batches_and_passes_change_nothing(statistic: str, tmp_path: Path) -> None:
    loaded, given = load(save(models.mixtral, tmp_path / "m")), texts(12)
    alone, _ = measured(statistic, loaded, given, tmp_path / "a", Options(batch_size=1))
    several, _ = measured(statistic, loaded, given, tmp_path / "b", Options(batch_size=5))
    narrow = Options(batch_size=5, memory=1 << 12)
    passes, header = measured(statistic, loaded, given, tmp_path / "c", narrow)
    assert set(alone) == set(several) == set(passes)
    for name, value in alone.items():
        scale = float(value.abs().max()) + 1e-30
        assert float((several[name] - value).abs().max()) < 1e-4 * scale
        assert torch.equal(several[name], passes[name])
    if statistic not in {"sensitivity", "logits"}:
        assert header["passes"] > 3


def test_no_batch_ever_holds_a_pad(tmp_path: Path) -> None:
    loaded, given = load(save(models.llama, tmp_path / "m")), texts(12)
    seen = []
    forward = loaded.model.forward

    def watched(input_ids, **rest):
        seen.append(tuple(input_ids.shape))
        return forward(input_ids=input_ids, **rest)

    loaded.model.forward = watched
    measured("input_grams", loaded, given, tmp_path / "s")
    lengths = sorted(len(one.ids) for one in encoded(loaded, given))
    fed = sorted(length for count, length in seen[1:] for _ in range(count))
    assert fed == lengths
    assert len(set(lengths)) > 4


def test_the_order_of_texts_does_not_matter(tmp_path: Path) -> None:
    from evomerge.calibration.sets import Example, make_set

    loaded = load(save(models.llama, tmp_path / "m"))
    listed = [Example(text) for text in models.sentences(9)]
    one, other = (
        make_set(order, {}, examples=6, max_length=64) for order in (listed, listed[::-1])
    )
    assert one.id == other.id
    first, _ = measured("fisher", loaded, one, tmp_path / "a")
    second, _ = measured("fisher", loaded, other, tmp_path / "b")
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_model_with_nan_is_refused_by_name(tmp_path: Path) -> None:
    def broken() -> torch.nn.Module:
        model = models.llama()
        with torch.no_grad():
            model.model.layers[1].mlp.up_proj.weight[0, 0] = float("nan")
        return model

    loaded = load(save(broken, tmp_path / "m"))
    with pytest.raises(CheckpointError, match="is not finite"):
        measured("input_grams", loaded, texts(), tmp_path / "s")


def test_a_classifier_without_labels_is_told_what_it_lacks(tmp_path: Path) -> None:
    from evomerge.calibration.sets import Example, make_set

    loaded = load(save(models.classifier, tmp_path / "m"))
    given = make_set([Example("red blue")], {}, examples=3, max_length=9)
    with pytest.raises(SpecError, match="need labels"):
        measured("empirical_fisher", loaded, given, tmp_path / "s")
    measured("fisher", loaded, given, tmp_path / "t")


def test_a_tied_embedding_gets_the_gradient_of_both_its_uses(tmp_path: Path) -> None:
    loaded = load(save(lambda: models.llama(tied=True), tmp_path / "m"))
    given = texts(4)
    values, _ = measured("empirical_fisher", loaded, given, tmp_path / "s")
    ones = encoded(loaded, given)
    found = [gradients(loaded, one, text_labels(loaded, one), mean=False) for one in ones]
    name = "model.embed_tokens.weight"
    expected = sum(one[name] ** 2 for one in found) / len(found)
    assert torch.allclose(values[name].double(), expected, rtol=1e-3, atol=1e-6)
    assert "lm_head.weight" not in values
    grams, header = measured("input_grams", loaded, given, tmp_path / "s")
    assert name not in header["notes"]["leaders"]
    assert not any("embed" in one or "lm_head" in one for one in grams)
