"""One finished search on the fake engine, and a way to call commands as a shell would."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from evomerge.cli.exits import run
from tests.support import write_checkpoint


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def evomerge(capsys):
    """Run a command in this process."""

    def call(*arguments):
        capsys.readouterr()
        code = run([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Done(code, captured.out, captured.err)

    return call


def write_search(folder: Path, **changes: Any) -> Path:
    """A search file on the fake engine, beside its models."""
    for seed, name in enumerate("bxy"):
        write_checkpoint(folder / name, seed)
    content = {
        "name": "tiny",
        "base_model": "b",
        "models": ["x", "y"],
        "space": {
            "method": "task_arithmetic",
            "weight": {"range": [0, 1.5], "per": ["model", "layer_group"]},
            "layer_groups": 2,
        },
        "objective": {"tasks": [{"task": "alpha"}, {"task": "beta"}]},
        "budget": {"candidates": 8},
        "engine": {"name": "fake"},
        **changes,
    }
    file = folder / "search.yml"
    with file.open("w", encoding="utf-8") as stream:
        YAML().dump(content, stream)
    return file


@dataclass(frozen=True)
class Finished:
    """A finished search: its file, its store, its id."""

    folder: Path
    file: Path
    store: Path
    id: str


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    file, store = write_search(folder), folder / "store.db"
    code = run(["run", str(file), "--inline", "--store", str(store), "--search-id", "done-one"])
    assert code == 0
    return Finished(folder, file, store, "done-one")
