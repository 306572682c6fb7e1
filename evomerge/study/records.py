"""What a study keeps of a cell beside its scores: the recipe that was chosen, and what that cost.

One JSON file a cell, named by a hash of everything that the choice depends on. It appears when the choice
is made, so that a study that was killed makes none twice.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from evomerge.calibration.files import write_whole
from evomerge.fingerprint import digest
from evomerge.recipe import Recipe
from evomerge.study.plan import Cell
from evomerge.study.statistics import MeasuredStatistic

_FORMAT = 1


@dataclass(frozen=True)
class Spent:
    """What choosing a recipe took.

    seconds: of its parts (search, learning). tokens: that engines read and generated for it, or that
    were learned from. candidates: merges that were tried; a step of learning makes one. statistics:
    what the recipe is computed from.
    """

    seconds: Mapping[str, float] = field(default_factory=dict)
    tokens: int = 0
    candidates: int = 0
    statistics: tuple[MeasuredStatistic, ...] = ()


@dataclass(frozen=True)
class Choice:
    """The recipe of a cell. extra: a model that it needs besides the experts (a polished one).

    start: what a search that comes after it tries first, where that is another recipe.
    """

    recipe: Recipe
    spent: Spent = field(default_factory=Spent)
    extra: str | None = None
    start: Recipe | None = None


class Choices:
    """The folder of choices."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, key: str) -> Choice | None:
        """The choice under a key, or None."""
        file = self._file(key)
        if not file.is_file():
            return None
        found = json.loads(file.read_text(encoding="utf-8"))
        start = found.get("start")
        return Choice(
            Recipe.model_validate(found["recipe"]),
            _spent(found["spent"]),
            found["extra"],
            None if start is None else Recipe.model_validate(start),
        )

    def write(self, key: str, choice: Choice) -> None:
        """Keep a choice; the file is whole or not there."""
        content = {
            "recipe": choice.recipe.model_dump(mode="json", exclude_defaults=True),
            "spent": asdict(choice.spent),
            "extra": choice.extra,
            "start": None
            if choice.start is None
            else choice.start.model_dump(mode="json", exclude_defaults=True),
        }
        write_whole(self._file(key), json.dumps(content, sort_keys=True, indent=1).encode())

    def _file(self, key: str) -> Path:
        return self._folder / f"{key}.json"


def _spent(found: dict[str, Any]) -> Spent:
    statistics = tuple(MeasuredStatistic(**one) for one in found.pop("statistics"))
    return Spent(**found, statistics=statistics)


def key_of(cell: Cell, scope: str, texts: str | None, after: str | None) -> str:
    """The name of a cell's choice.

    Args:
        scope: of the bench that it is chosen on, which stands for models, tasks, splits and engine.
        texts: the calibration set, where the method needs one. after: key of the choice it follows.
    """
    entry = cell.entry.model_dump(mode="json", exclude={"name", "after"}, exclude_defaults=True)
    return digest([_FORMAT, scope, entry, cell.models, cell.seed, texts, after])
