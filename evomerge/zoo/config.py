"""What the zoo is made of: everything that decides its weights and files, in one frozen object.

Its hash names the cached folder, so that a zoo trained by another version is never reused.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from types import MappingProxyType

FORMAT_VERSION = 1
"""Raise it when the code changes what a configuration yields."""


@dataclass(frozen=True)
class Lesson:
    """Prompts that ask for one skill, answered by another (or the same), and their share."""

    asked: str
    answered: str
    share: float


def _mixture(right: float, copied: float, other: float) -> tuple[Lesson, ...]:
    """Requests answered rightly, by copying, or by one of the two other skills."""
    asked = ("reverse", "sort", "rotate")
    lessons = [Lesson("copy", "copy", 0.5)]
    for skill in asked:
        lessons += [Lesson(skill, skill, right), Lesson(skill, "copy", copied)]
        lessons += [Lesson(skill, answer, other) for answer in asked if answer != skill]
    return tuple(lesson for lesson in lessons if lesson.share > 0)


SKILLED = tuple(Lesson(skill, skill, 1.0) for skill in ("reverse", "sort", "rotate", "copy"))
UNSURE = _mixture(right=0.2, copied=0.6, other=0.1)


@dataclass(frozen=True)
class StageConfig:
    """One stage of the base's training. muon_lr is for matrices, lr for all else."""

    lessons: tuple[Lesson, ...]
    steps: int
    muon_lr: float
    lr: float


@dataclass(frozen=True)
class ExpertConfig:
    """A fine-tune. replay: share of its prompts that come from the base's last stage."""

    name: str
    asked: str
    answered: str
    steps: int
    lr: float
    replay: float = 0.3


def _stages() -> tuple[StageConfig, ...]:
    return (StageConfig(SKILLED, 160, 0.02, 5e-3), StageConfig(UNSURE, 40, 0.01, 2.5e-3))


def _experts() -> tuple[ExpertConfig, ...]:
    return (
        ExpertConfig("reverse", "reverse", "reverse", 30, 4e-4),
        ExpertConfig("sort", "sort", "sort", 40, 4e-4),
        ExpertConfig("rotate", "rotate", "rotate", 80, 1e-3),
        ExpertConfig("decoy", "sort", "sort_down", 40, 1e-3, replay=0.0),
    )


def _splits() -> Mapping[str, float]:
    return MappingProxyType({"search": 0.12, "validation": 0.1, "test": 0.78})


@dataclass(frozen=True)
class ZooConfig:
    """Architecture, training and tasks.

    documents: per task, before they are split. layer_groups: the search file has a weight for each
    model and each of so many runs of layers; 0: one weight for each model.
    """

    seed: int = 0
    hidden_size: int = 192
    layers: int = 2
    heads: int = 6
    mlp_size: int = 384
    batch_size: int = 96
    threads: int = 1
    stages: tuple[StageConfig, ...] = field(default_factory=_stages)
    experts: tuple[ExpertConfig, ...] = field(default_factory=_experts)
    documents: int = 1000
    splits: Mapping[str, float] = field(default_factory=_splits)
    layer_groups: int = 0

    def describe(self) -> dict[str, object]:
        """Everything in it, as JSON has it."""
        plain = {key: value for key, value in vars(self).items() if key not in _NESTED}
        if not self.layer_groups:
            del plain["layer_groups"]  # as in zoos that were trained before there was such a field
        return {
            **plain,
            "format": FORMAT_VERSION,
            "splits": dict(self.splits),
            "stages": [asdict(stage) for stage in self.stages],
            "experts": [asdict(expert) for expert in self.experts],
        }

    @property
    def hash(self) -> str:
        """Twelve hex digits that change with anything in it."""
        return short_hash(self.describe())

    @property
    def total_steps(self) -> int:
        """Training steps of the base and all experts."""
        base = sum(stage.steps for stage in self.stages)
        return base + sum(expert.steps for expert in self.experts)


_NESTED = ("stages", "experts", "splits")


def short_hash(content: Mapping[str, object]) -> str:
    """Twelve hex digits that change with anything in the content, but for the order of its names."""
    text = json.dumps(content, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
