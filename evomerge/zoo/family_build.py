"""Trains a family of bases and fine-tunes, and writes its tasks, in one folder that appears when complete."""

import copy
import json
import os
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from torch import Tensor
from transformers import LlamaForCausalLM

from evomerge.zoo.build import MANIFEST, Progress, beside, using_threads, without_bars
from evomerge.zoo.config import ZooConfig
from evomerge.zoo.families import FamilyConfig, Pair, Size
from evomerge.zoo.languages import (
    LANGUAGES,
    LENGTH,
    SKILLS,
    SYMBOLS,
    draw_word,
    draw_words,
    prompt,
    written,
)
from evomerge.zoo.tokenizer import END_ID, encode, make_tokenizer
from evomerge.zoo.training import MAX_LENGTH, Example, Rates, batch_of, new_model, train_on

_CHOICES = 4
_SKILLED, _UNSURE = Rates(5e-3, 0.02), Rates(2.5e-3, 0.01)


def build_family(
    config: FamilyConfig, folder: Path | None = None, progress: Progress | None = None
) -> Path:
    """The family's folder, trained unless the same one is there already.

    It holds `tasks/`, and for each size SIZE/base, SIZE/SKILL_LANGUAGE and perhaps SIZE/multitask.

    Args:
        folder: None for `family-HASH` in the user's cache folder.
        progress: told what is being done and how much of it is done.
    """
    place = (folder or _default_folder(config)).expanduser().resolve()
    if _is_finished(place, config):
        return place
    place.parent.mkdir(parents=True, exist_ok=True)
    with beside(place) as draft, using_threads(config.threads):
        _write_tasks(draft / "tasks", place / "tasks", config)
        trainer = _Trainer(draft, config, progress or (lambda what, share: None))
        for number, size in enumerate(config.sizes):
            trainer.train(size, number)
        manifest = {"hash": config.hash, "place": str(place)}
        (draft / MANIFEST).write_text(json.dumps(manifest) + "\n", encoding="utf-8")
    return place


def _default_folder(config: FamilyConfig) -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "evomerge" / f"family-{config.hash}"


def _is_finished(place: Path, config: FamilyConfig) -> bool:
    try:
        manifest = json.loads((place / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return bool(manifest == {"hash": config.hash, "place": str(place)})


@dataclass(frozen=True)
class _Lesson:
    """Prompts of one pair, and the share that is answered rightly; the rest is copied."""

    pair: Pair
    right: float
    weight: float = 1.0


class _Trainer:
    """Trains size after size, saves each model, and reports the share of steps done."""

    def __init__(self, folder: Path, config: FamilyConfig, progress: Progress) -> None:
        self._folder, self._config, self._progress = folder, config, progress
        self._tokenizer = make_tokenizer(MAX_LENGTH)
        self._done = 0

    def train(self, size: Size, number: int) -> None:
        config = self._config
        everything = [Pair(skill, one) for skill in SKILLS for one in LANGUAGES]
        skilled = [_Lesson(pair, 1.0) for pair in everything]
        unsure = [_Lesson(pair, config.right) for pair in everything]
        base = new_model(_architecture(size, config.seed))
        seed = 1000 * config.seed + 100 * number
        self._run(base, f"{size.name} base", skilled, config.skilled_steps, _SKILLED, seed)
        self._run(base, f"{size.name} base", unsure, config.unsure_steps, _UNSURE, seed + 1)
        self._save(base, f"{size.name}/base")
        wholes = [(pair.name, [pair], 1) for pair in config.pairs]
        if config.multitask:
            wholes.append(("multitask", list(config.pairs), len(config.pairs)))
        for place, (name, pairs, times) in enumerate(wholes):
            lessons = _tuned(pairs, unsure, config.replay)
            model = copy.deepcopy(base)
            what = f"{size.name} {name}"
            steps = config.expert_steps * times
            self._run(model, what, lessons, steps, Rates(config.lr), seed + 10 + place)
            self._save(model, f"{size.name}/{name}")

    def _run(
        self,
        model: LlamaForCausalLM,
        what: str,
        lessons: Sequence[_Lesson],
        steps: int,
        rates: Rates,
        seed: int,
    ) -> None:
        def on_step() -> None:
            self._done += 1
            self._progress(f"training {what}", self._done / self._config.total_steps)

        def draw(size: int, rng: random.Random) -> tuple[Tensor, Tensor]:
            return _batch(lessons, size, rng)

        train_on(model, draw, steps, rates, self._config.batch_size, seed, on_step)

    def _save(self, model: LlamaForCausalLM, name: str) -> None:
        with without_bars():
            model.save_pretrained(self._folder / name)
        self._tokenizer.save_pretrained(str(self._folder / name))


def _architecture(size: Size, seed: int) -> ZooConfig:
    return ZooConfig(
        seed=seed,
        hidden_size=size.hidden_size,
        layers=size.layers,
        heads=size.heads,
        mlp_size=size.mlp_size,
    )


def _tuned(pairs: Sequence[Pair], unsure: Sequence[_Lesson], replay: float) -> list[_Lesson]:
    """The pairs' own lessons, and the replay of what the base did last."""
    own = [_Lesson(pair, 1.0, (1 - replay) / len(pairs)) for pair in pairs]
    return [*own, *(_Lesson(one.pair, one.right, replay / len(unsure)) for one in unsure)]


def _batch(lessons: Sequence[_Lesson], size: int, rng: random.Random) -> tuple[Tensor, Tensor]:
    """Token ids and labels [size, length] of lessons drawn by their weights."""
    drawn = rng.choices(lessons, [lesson.weight for lesson in lessons], k=size)
    return batch_of(_example(lesson, rng) for lesson in drawn)


def _example(lesson: _Lesson, rng: random.Random) -> Example:
    skill, language = lesson.pair.skill, lesson.pair.language
    word = draw_word(rng, held_out=False)
    answer = SKILLS[skill].answer(word) if rng.random() < lesson.right else word
    return encode(prompt(skill, word, language)), [*encode(written(answer, language)), END_ID]


def _write_tasks(folder: Path, data_folder: Path, config: FamilyConfig) -> None:
    """One multiple-choice task a pair: which letter comes next in the answer. A choice is one token."""
    folder.mkdir(parents=True)
    for pair in config.tasks:
        rng = random.Random(f"{config.seed} {pair.name}")
        documents = [_document(pair, word, rng) for word in draw_words(config.documents, rng)]
        lines = "".join(json.dumps(document) + "\n" for document in documents)
        (folder / f"{pair.name}.jsonl").write_text(lines, encoding="utf-8")
        with (folder / f"{pair.name}.yaml").open("w", encoding="utf-8") as stream:
            YAML().dump(_task(pair, data_folder / f"{pair.name}.jsonl"), stream)


def _document(pair: Pair, word: tuple[int, ...], rng: random.Random) -> dict[str, Any]:
    answer = SKILLS[pair.skill].answer(word)
    known = rng.randrange(LENGTH - 1)
    others = sorted({*word, *range(SYMBOLS)} - {answer[known]}, key=lambda s: (s not in word, s))
    picked = sorted([answer[known], *others[: _CHOICES - 1]])
    choices = [written((symbol,), pair.language) for symbol in picked]
    text = prompt(pair.skill, word, pair.language) + written(answer[:known], pair.language)
    return {"prompt": text, "choices": choices, "gold": picked.index(answer[known])}


def _task(pair: Pair, data: Path) -> dict[str, Any]:
    return {
        "task": pair.name,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(data)}},
        "test_split": "test",
        "output_type": "multiple_choice",
        "doc_to_text": "{{prompt}}",
        "doc_to_choice": "choices",
        "doc_to_target": "gold",
        "target_delimiter": "",
        "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
        "metadata": {"version": 1.0},
    }


__all__ = ["build_family"]
