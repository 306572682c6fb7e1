"""Building the zoo: trains everything, writes everything, in one folder that appears when complete.

A finished zoo carries manifest.json; a folder whose manifest names the same configuration is used
again with a new search file, anything else at that place is built anew.
"""

import copy
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import LlamaForCausalLM
from transformers.utils import logging as transformers_logging

from evomerge.zoo.config import ExpertConfig, Lesson, ZooConfig
from evomerge.zoo.search_file import write_search_file
from evomerge.zoo.tasks import write_tasks
from evomerge.zoo.tokenizer import make_tokenizer
from evomerge.zoo.training import MAX_LENGTH, Rates, new_model, train

Progress = Callable[[str, float], None]
"""Called with what is being done and the share (0 to 1) of everything that is done."""
MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Zoo:
    """Where a finished zoo lies; all paths are absolute."""

    base: Path
    experts: tuple[Path, ...]
    tasks: Path
    search_file: Path


def default_folder(config: ZooConfig | None = None) -> Path:
    """`zoo-HASH` below the user's cache folder (XDG_CACHE_HOME, or ~/.cache)."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "evomerge" / f"zoo-{(config or ZooConfig()).hash}"


def build_zoo(
    folder: Path | None = None,
    progress: Progress | None = None,
    config: ZooConfig | None = None,
) -> Zoo:
    """The zoo in `folder`, trained there unless the same one is there already.

    Args:
        folder: None for `default_folder()`.
        progress: told what is being done and how much of it is done.
        config: None for the zoo of the demo.
    """
    config = config or ZooConfig()
    place = (folder or default_folder(config)).expanduser().resolve()
    if not _is_finished(place, config):
        place.parent.mkdir(parents=True, exist_ok=True)
        with beside(place) as draft:
            _build(draft, place, config, progress or _silent)
    zoo = _zoo_at(place, config)
    # The hash speaks of models and tasks alone: what is searched for may change without them.
    write_search_file(zoo.search_file, place, config)
    return zoo


def _silent(_what: str, _share: float) -> None:
    """Progress that nobody looks at."""


def _zoo_at(place: Path, config: ZooConfig) -> Zoo:
    experts = tuple(place / expert.name for expert in config.experts)
    return Zoo(place / "base", experts, place / "tasks", place / "search.yml")


def _is_finished(place: Path, config: ZooConfig) -> bool:
    try:
        manifest = json.loads((place / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return bool(manifest.get("hash") == config.hash and manifest.get("place") == str(place))


@contextmanager
def beside(place: Path) -> Iterator[Path]:
    """A temporary folder that becomes `place` if the block ends well, and vanishes otherwise."""
    draft = Path(tempfile.mkdtemp(prefix=f".{place.name}-", dir=place.parent))
    try:
        yield draft
        draft.chmod(0o755)
        if place.exists():
            shutil.rmtree(place)
        draft.rename(place)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _build(draft: Path, place: Path, config: ZooConfig, progress: Progress) -> None:
    write_tasks(draft / "tasks", place / "tasks", config)
    with using_threads(config.threads):
        _Trainer(draft, config, progress).train_all()
    manifest = {"hash": config.hash, "place": str(place), "config": config.describe()}
    (draft / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")


@contextmanager
def using_threads(count: int) -> Iterator[None]:
    """torch's thread count decides the order of sums, and so the last bits of the weights."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def without_bars() -> Iterator[None]:
    """Without transformers' own progress bars: ours is the only one."""
    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()


class _Trainer:
    """Trains base and experts in turn, saves each, and reports the share of steps done."""

    def __init__(self, folder: Path, config: ZooConfig, progress: Progress) -> None:
        self.folder = folder
        self.config = config
        self.progress = progress
        self.steps_done = 0
        self.tokenizer = make_tokenizer(MAX_LENGTH)

    def train_all(self) -> None:
        base = self._train_base()
        for number, expert in enumerate(self.config.experts):
            self._train_expert(copy.deepcopy(base), expert, number)

    def _train_base(self) -> LlamaForCausalLM:
        model = new_model(self.config)
        for number, stage in enumerate(self.config.stages):
            rates = Rates(stage.lr, stage.muon_lr)
            self._train(model, "base", stage.lessons, stage.steps, rates, 50 * number)
        self._save(model, "base")
        return model

    def _train_expert(self, model: LlamaForCausalLM, expert: ExpertConfig, number: int) -> None:
        lessons = expert_lessons(expert, self.config)
        self._train(model, expert.name, lessons, expert.steps, Rates(expert.lr), 10 + number)
        self._save(model, expert.name)

    def _train(
        self,
        model: LlamaForCausalLM,
        name: str,
        lessons: tuple[Lesson, ...],
        steps: int,
        rates: Rates,
        seed: int,
    ) -> None:
        def on_step() -> None:
            self.steps_done += 1
            self.progress(f"training {name}", self.steps_done / self.config.total_steps)

        seed += 1 + 100 * self.config.seed
        train(model, lessons, steps, rates, self.config.batch_size, seed, on_step)

    def _save(self, model: LlamaForCausalLM, name: str) -> None:
        with without_bars():
            model.save_pretrained(self.folder / name)
        self.tokenizer.save_pretrained(str(self.folder / name))


def expert_lessons(expert: ExpertConfig, config: ZooConfig) -> tuple[Lesson, ...]:
    """The expert's own lesson, and its replay of the base's last stage."""
    own = Lesson(expert.asked, expert.answered, 1 - expert.replay)
    if not expert.replay:
        return (own,)
    replayed = config.stages[-1].lessons
    total = sum(lesson.share for lesson in replayed)
    scale = expert.replay / total
    return (own, *(Lesson(part.asked, part.answered, part.share * scale) for part in replayed))
