"""The zoo of the demo: a base model, its fine-tunes and their tasks, trained here in a minute.

Small enough to train on two CPU cores, real enough that recipes matter: the fine-tunes know
different things, were trained for different lengths, and one of them does harm. docs/zoo.md says
what was tried and what each trivial merge scores on it.
"""

from evomerge.zoo.build import Zoo, build_zoo, default_folder
from evomerge.zoo.config import ExpertConfig, Lesson, StageConfig, ZooConfig
from evomerge.zoo.named import ZOOS

__all__ = [
    "ZOOS",
    "ExpertConfig",
    "Lesson",
    "StageConfig",
    "Zoo",
    "ZooConfig",
    "build_zoo",
    "default_folder",
]
