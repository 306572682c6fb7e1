"""Adapters, other vocabularies and several workers: the same statistics as those of plain models."""

import multiprocessing
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from evomerge.calibration.collect import DEFAULTS
from evomerge.calibration.sets import Example, make_set
from evomerge.calibration.store import StatisticStore
from evomerge.dispatch.calibration import calibrate_on_ray
from evomerge.dispatch.connection import connect
from evomerge.errors import EvomergeError
from evomerge.evaluation.calibrated import Work, calibrate
from evomerge.hub import model_folders
from evomerge.merging.merge import merge_tensors
from evomerge.recipe import Calibration, Recipe, Source, Tokenizer, constant
from tests.calibration import models as families
from tests.calibration.models import save, sentences
from tests.calibration.statistics import write_statistic
from tests.merging.adapters import factors, linear, save_adapter
from tests.merging.tokenizers import model as words_model

STATISTICS = ("input_grams", "fisher", "sensitivity")


def some_texts(count: int = 4):
    return make_set([Example(text) for text in sentences(count)], {}, examples=count, max_length=64)


def values_of(work: Work, model: str) -> dict[str, dict[str, torch.Tensor]]:
    store = StatisticStore()
    found: dict[str, dict[str, torch.Tensor]] = {}
    for one in work.requests():
        if one.model == model:
            for part in store.folder(one).glob("part-*.safetensors"):
                found.setdefault(one.statistic, {}).update(load_file(part))
    return found


def test_a_model_with_an_adapter_is_measured_as_the_merged_checkpoint_is(tmp_path: Path) -> None:
    base = save(families.llama, tmp_path / "base")
    module = "model.layers.1.self_attn.q_proj"
    a, b = factors((16, 16), rank=4, seed=1, step=0.5)
    adapter = save_adapter(tmp_path / "adapter", linear(module, a, b))
    folded = save(families.llama, tmp_path / "folded")
    weights = load_file(folded / "model.safetensors")
    weights[f"{module}.weight"] += 2.0 * b @ a
    save_file(weights, folded / "model.safetensors", metadata={"format": "pt"})
    named = f"{base}+{adapter}"
    names = (named, str(folded), str(base))
    work = Work(names, model_folders(names), STATISTICS, some_texts())
    assert calibrate(work, device="cpu") == 9
    with_adapter, plain, without = (values_of(work, name) for name in names)
    for statistic in STATISTICS:
        for name, value in plain[statistic].items():
            found = with_adapter[statistic][name]
            assert torch.allclose(found, value, rtol=1e-3, atol=1e-6), (statistic, name)
    down = "model.layers.1.mlp.down_proj.weight"
    assert not torch.allclose(plain["input_grams"][down], without["input_grams"][down], rtol=1e-2)


def test_fisher_information_of_rows_follows_the_tokens_to_where_the_merge_has_them(
    tmp_path: Path,
) -> None:
    """One model knows the words in another order: its rows move, and so does what is known of them."""
    words = {"one": ["red", "green", "blue"], "two": ["blue", "red", "green"]}
    made = {n: words_model(tmp_path / n, words[n], seed) for seed, n in enumerate(words)}
    folders = {name: tmp_path / name for name in words}
    given = make_set([Example("red blue")], {}, examples=1, max_length=8)
    given.save()
    work = Work(tuple(folders), folders, ("fisher",), given)
    tensor = "lm_head.weight"
    rows = {name: len(weights[tensor]) for name, (_, weights) in made.items()}
    for number, request in enumerate(work.requests()):
        tokenizer, weights = made[request.model]
        fisher = {name: torch.full(value.shape, 1.0) for name, value in weights.items()}
        place = tokenizer.token_to_id("blue")
        fisher[tensor][place] = 1000.0 if number else 1e-6
        write_statistic(request, fisher)
    recipe = Recipe(
        merge_method="fisher",
        base_model="one",
        models=tuple(Source(model=name) for name in words),
        parameters={"floor": constant(0.0)},
        tokenizer=Tokenizer(source="base"),
        calibration=Calibration(data=given.name),
        dtype="float32",
    )
    merged = dict(merge_tensors(recipe, folders))[tensor]
    assert len(merged) == rows["one"]

    def row(name: str, word: str) -> torch.Tensor:
        tokenizer, weights = made[name]
        return weights[tensor][tokenizer.token_to_id(word)].float()

    here = made["one"][0].token_to_id
    assert torch.allclose(merged[here("blue")], row("two", "blue"), atol=1e-3)
    mean = (row("one", "red") + row("two", "red")) / 2
    assert torch.allclose(merged[here("red")], mean, atol=1e-3)


@pytest.mark.slow
def test_on_ray_every_model_is_a_task_and_nothing_is_measured_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVOMERGE_CALIBRATION", str(tmp_path / "shared"))
    # A local Ray leaves traces in its process: this one shall be able to join a cluster later.
    child = multiprocessing.get_context("spawn").Process(target=_measure_on_ray, args=(tmp_path,))
    child.start()
    child.join()
    assert child.exitcode == 0


def _measure_on_ray(folder: Path) -> None:
    names = tuple(str(save(families.llama, folder / f"{n}", n)) for n in range(3))
    work = Work(names, model_folders(names), ("sensitivity",), some_texts(2))
    said: list[str] = []
    connect(None, cpus=2)
    assert calibrate_on_ray(work, DEFAULTS, None, said.append) == 3
    assert calibrate_on_ray(work, DEFAULTS, None, said.append) == 0
    assert all(StatisticStore().has(one) for one in work.requests())
    broken = folder / "0" / "model.safetensors"
    weights = load_file(broken)
    weights["model.norm.weight"][0] = float("nan")
    save_file(weights, broken, metadata={"format": "pt"})
    with pytest.raises(EvomergeError, match="not finite"):
        calibrate_on_ray(work, DEFAULTS, None, said.append)
    assert len(said) >= 6
