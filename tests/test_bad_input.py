"""Whatever is wrong with a search is said on one screen, with its place and its remedy.

Every case ends with exit code 2 and leaves no file behind.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ruamel.yaml import YAML

from evomerge.cli.exits import run
from tests.support import VOCABULARY, WIDTH, write_checkpoint

SCREEN = 24


class Scene:
    """A good search file with its models and tasks; a case breaks one thing of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.models = [write_checkpoint(folder / name, seed) for seed, name in enumerate("bxy")]
        self.tasks = folder / "tasks"
        self.tasks.mkdir()
        self._write_task("quiz")
        self.content: dict[str, Any] = {
            "name": "scene",
            "base_model": "b",
            "models": ["x", "y"],
            "space": {
                "method": "ties",
                "weight": {"range": [0, 1], "per": ["model"]},
                "density": 0.5,
            },
            "objective": {"include_path": "tasks", "tasks": [{"task": "quiz", "metric": "acc"}]},
        }

    def _write_task(self, name: str) -> None:
        documents = self.tasks / f"{name}.jsonl"
        rows = [{"q": f"t{n % 9}", "choices": ["t1", "t2"], "gold": n % 2} for n in range(60)]
        documents.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
        task = {
            "task": name,
            "dataset_path": "json",
            "dataset_kwargs": {"data_files": {"test": str(documents)}},
            "test_split": "test",
            "output_type": "multiple_choice",
            "doc_to_text": "{{q}}",
            "doc_to_choice": "{{choices}}",
            "doc_to_target": "{{gold}}",
            "metric_list": [{"metric": "acc"}],
        }
        with (self.tasks / f"{name}.yaml").open("w", encoding="utf-8") as stream:
            YAML(typ="safe").dump(task, stream)

    def write(self) -> Path:
        file = self.folder / "search.yml"
        with file.open("w", encoding="utf-8") as stream:
            YAML().dump(self.content, stream)
        return file


def _misspelt_key(scene: Scene) -> None:
    scene.content["stratgy"] = {"name": "cma"}


def _misspelt_inner_key(scene: Scene) -> None:
    scene.content["budget"] = {"candidate": 10}


def _unknown_method(scene: Scene) -> None:
    scene.content["space"]["method"] = "tise"


def _unknown_parameter(scene: Scene) -> None:
    scene.content["space"]["densty"] = 0.3


def _unknown_preset(scene: Scene) -> None:
    scene.content["space"] = "ties_per_leyer"


def _density_zero(scene: Scene) -> None:
    scene.content["space"]["density"] = 0


def _weights_that_cancel(scene: Scene) -> None:
    scene.content["space"] = {
        "method": "ties",
        "weight": 0.0,
        "density": {"range": [0.1, 1]},
        "normalize": True,
    }


def _missing_model(scene: Scene) -> None:
    scene.content["models"] = ["x", "zzz"]


def _shape_mismatch(scene: Scene) -> None:
    name = "model.layers.1.mlp.up_proj.weight"
    write_checkpoint(scene.models[1], 5, **{name: np.zeros((WIDTH, WIDTH + 1), np.float32)})


def _vocabulary_mismatch(scene: Scene) -> None:
    wider = np.zeros((VOCABULARY + 3, WIDTH), np.float32)
    names = ("model.embed_tokens.weight", "lm_head.weight")
    write_checkpoint(scene.models[1], 5, **dict.fromkeys(names, wider))
    (scene.models[1] / "tokenizer.json").unlink()


def _missing_tensor(scene: Scene) -> None:
    write_checkpoint(scene.models[1], 5, **{"model.norm.weight": None})


def _other_tokenizer(scene: Scene) -> None:
    file = scene.models[1] / "tokenizer.json"
    file.write_text(file.read_text(encoding="utf-8").replace('"t3"', '"T3"'), encoding="utf-8")


def _nan(scene: Scene) -> None:
    value = np.ones(WIDTH, np.float32)
    value[3] = np.nan
    write_checkpoint(scene.models[2], 5, **{"model.norm.weight": value})


def _truncated(scene: Scene) -> None:
    file = scene.models[1] / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])


def _not_safetensors(scene: Scene) -> None:
    (scene.models[1] / "model.safetensors").write_bytes(b"<!doctype html>, says the proxy")


def _pickle_only(scene: Scene) -> None:
    (scene.models[1] / "model.safetensors").rename(scene.models[1] / "pytorch_model.bin")


def _unknown_task(scene: Scene) -> None:
    scene.content["objective"]["tasks"][0]["task"] = "quizz"


def _unknown_metric(scene: Scene) -> None:
    scene.content["objective"]["tasks"][0]["metric"] = "accuracy"


def _empty_split(scene: Scene) -> None:
    scene.content["objective"]["splits"] = {
        "search": 0.9999,
        "validation": 0.00005,
        "test": 0.00005,
    }


def _no_gpu(scene: Scene) -> None:
    scene.content["workers"] = {"gpus": 8}


def _nothing_to_search(scene: Scene) -> None:
    scene.content["space"]["weight"] = 0.5


CASES: list[tuple[Callable[[Scene], None], list[str]]] = [
    (_misspelt_key, ["search.yml:", "stratgy", "did you mean 'strategy'"]),
    (_misspelt_inner_key, ["search.yml:", "budget.candidate", "did you mean 'candidates'"]),
    (_unknown_method, ["search.yml", "'tise'", "did you mean 'ties'"]),
    (_unknown_parameter, ["search.yml", "'densty'", "did you mean 'density'"]),
    (_unknown_preset, ["ties_per_leyer", "did you mean 'ties_per_layer'"]),
    (_density_zero, ["search.yml", "density cannot be 0", "above 0"]),
    (_weights_that_cancel, ["space", "weight"]),
    (_missing_model, ["zzz", "no such model folder"]),
    (_shape_mismatch, ["up_proj", "shapes differ", "[8, 9]", "[8, 8]"]),
    (_vocabulary_mismatch, ["vocabulary sizes differ", "[19, 8]"]),
    (_missing_tensor, ["model.norm.weight", "lacks"]),
    (_nan, ["NaN", "model.norm.weight"]),
    (_truncated, ["model.safetensors", "truncated"]),
    (_not_safetensors, ["model.safetensors", "not a readable safetensors file"]),
    (_pickle_only, ["pickle", "safetensors"]),
    (_unknown_task, ["quizz", "quiz"]),
    (_unknown_metric, ["accuracy", "acc"]),
    (_empty_split, ["quiz", "empty"]),
    (_no_gpu, ["workers.gpus", "GPU"]),
    (_nothing_to_search, ["space", "nothing to search"]),
]


@pytest.mark.parametrize(("breaks", "says"), CASES, ids=[case[0].__name__ for case in CASES])
@pytest.mark.parametrize("command", ["run", "validate"])
def test_a_broken_search_is_refused_on_one_screen(
    command, breaks, says, tmp_path, capfd, monkeypatch
):
    monkeypatch.setenv("EVOMERGE_STORE", str(tmp_path / "store" / "evomerge.db"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    scene = Scene(tmp_path / "scene")
    breaks(scene)
    file = scene.write()
    before = sorted(tmp_path.glob("scene/**/*"))
    assert run([command, str(file)]) == 2
    shown = capfd.readouterr()
    flat = " ".join((shown.out + shown.err).split())
    assert "Traceback" not in flat
    assert [word for word in says if word not in flat] == [], flat
    assert "→" in flat or "remedy" in flat.lower()
    assert len((shown.out + shown.err).splitlines()) <= SCREEN
    assert sorted(tmp_path.glob("scene/**/*")) == before
    assert not (tmp_path / "store").exists()


def test_the_unbroken_scene_is_valid(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert run(["validate", str(Scene(tmp_path / "scene").write())]) == 0


def test_an_expert_with_other_tokens_is_said_to_be_aligned(tmp_path, capfd, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    scene = Scene(tmp_path / "scene")
    _other_tokenizer(scene)
    assert run(["validate", str(scene.write())]) == 0
    flat = " ".join((shown := capfd.readouterr()).out.split() + shown.err.split())
    assert "differs from the base model's in 2 tokens, such as 'T3'" in flat
    assert "token by token" in flat


def test_several_problems_are_reported_together(tmp_path, capfd):
    scene = Scene(tmp_path / "scene")
    _truncated(scene)
    _unknown_task(scene)
    assert run(["validate", str(scene.write())]) == 2
    shown = capfd.readouterr().err
    assert "truncated" in shown
    assert "quizz" in shown


@pytest.mark.parametrize("text", ["a: [1, 2", "just words", ""])
def test_a_file_that_is_no_search_is_refused(text, tmp_path, capfd):
    file = tmp_path / "search.yml"
    file.write_text(text, encoding="utf-8")
    assert run(["run", str(file)]) == 2
    assert "search.yml" in capfd.readouterr().err


def test_a_full_disk_is_noticed_before_the_search_is_written(tmp_path, capfd, monkeypatch):
    import shutil
    from collections import namedtuple

    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9, 10**6))
    monkeypatch.setenv("EVOMERGE_STORE", str(tmp_path / "evomerge.db"))
    assert run(["run", str(Scene(tmp_path / "scene").write())]) == 2
    assert "disk" in capfd.readouterr().err
    assert not (tmp_path / "evomerge.db").exists()
