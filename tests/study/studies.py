"""A study on the fake engine, small enough for a second or two."""

from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from tests.support import write_checkpoint

TUNED = {
    "name": "tuned",
    "method": "task_arithmetic",
    "policy": "tuned",
    "candidates": 4,
    "space": {"method": "task_arithmetic", "weight": 1.0, "lambda": {"range": [0.1, 1.5]}},
}
SEARCHED = {"name": "searched", "method": "task_arithmetic", "policy": "searched", "candidates": 6}


def content(**changes: Any) -> dict[str, Any]:
    """Three experts, each of a skill in a language of its own."""
    found = {
        "name": "tiny",
        "factor": "language",
        "bases": [
            {
                "model": "b",
                "experts": [
                    {"model": "x", "skill": "sort", "factor": "de"},
                    {"model": "y", "skill": "reverse", "factor": "fr"},
                    {"model": "z", "skill": "rotate", "factor": "en"},
                ],
            }
        ],
        "tasks": [
            {"task": "sort_de", "skill": "sort", "factor": "de"},
            {"task": "reverse_fr", "skill": "reverse", "factor": "fr"},
            {"task": "rotate_en", "skill": "rotate", "factor": "en"},
            {"task": "sort_fr", "skill": "sort", "factor": "fr"},
            {"task": "copy_de", "skill": "copy", "factor": "de"},
        ],
        "methods": [{"name": "average", "method": "linear"}, "task_arithmetic"],
        "engine": {"name": "fake"},
    }
    return {**found, **changes}


def write_study(folder: Path, **changes: Any) -> Path:
    """The study's file, beside its models."""
    for seed, name in enumerate("bxyz"):
        write_checkpoint(folder / name, seed)
    file = folder / "study.yml"
    with file.open("w", encoding="utf-8") as stream:
        YAML().dump(content(**changes), stream)
    return file
