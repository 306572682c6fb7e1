"""The search file that the demo runs on the zoo; docs/zoo.md says how its settings were chosen."""

from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from evomerge.zoo.config import ZooConfig
from evomerge.zoo.tasks import ASKED


def write_search_file(file: Path, zoo: Path, config: ZooConfig) -> None:
    """Write the search file for a zoo whose final folder is `zoo` (absolute)."""
    with file.open("w", encoding="utf-8") as stream:
        YAML().dump(_search(zoo, config), stream)


def _search(zoo: Path, config: ZooConfig) -> dict[str, Any]:
    return {
        "name": "zoo",
        "base_model": str(zoo / "base"),
        "models": [str(zoo / expert.name) for expert in config.experts],
        "space": _space(config.layer_groups),
        "objective": {
            "include_path": str(zoo / "tasks"),
            "tasks": [*map(_generation, ASKED), *map(_choice, ASKED)],
            "splits": dict(config.splits),
        },
        "strategy": {"seed": 0},
        "budget": {"candidates": 60},
        "engine": {"dtype": "float32", "max_model_len": 32},
    }


def _space(layer_groups: int) -> dict[str, Any]:
    grouped = {"layer_groups": layer_groups} if layer_groups else {}
    per = ["model", "layer_group"] if layer_groups else ["model"]
    return {
        "method": "task_arithmetic",
        "weight": {"range": [0, 2], "per": per},
        **grouped,
        "normalize": False,
        "lambda": 1.0,
    }


def _generation(skill: str) -> dict[str, str]:
    return {"task": f"zoo_{skill}", "metric": "exact_match"}


def _choice(skill: str) -> dict[str, str]:
    return {"task": f"zoo_{skill}_next", "metric": "gold_prob"}
