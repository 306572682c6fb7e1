"""One engine for the whole session: starting vLLM takes seconds, swapping weights does not."""

import os
from pathlib import Path

import pytest

from evomerge.recipe import Recipe, Source, constant
from evomerge.spec import SearchSpec
from tests.evaluation import tiny

TASKS = ("letters", "words", "say", "text")


@pytest.fixture(scope="session")
def task_folder(tmp_path_factory) -> Path:
    return tiny.write_tasks(tmp_path_factory.mktemp("tasks"))


@pytest.fixture(scope="session")
def models(tmp_path_factory) -> dict[str, str]:
    """Untied fp32 checkpoints: base, one, two."""
    return tiny.write_models(tmp_path_factory.mktemp("models"))


def make_spec(models, task_folder, tasks=TASKS, *, engine=None, splits=None, **objective):
    """A search on the tiny models; all documents in the search split unless told otherwise."""
    return SearchSpec.model_validate(
        {
            "base_model": models["base"],
            "models": [models["one"], models["two"]],
            "objective": {
                "include_path": task_folder,
                "tasks": [task if isinstance(task, dict) else {"task": task} for task in tasks],
                "splits": splits or {"search": 0.6, "validation": 0.2, "test": 0.2},
                **objective,
            },
            "engine": {"dtype": "float32", "kv_cache_gib": 0.06, **(engine or {})},
        }
    )


def merge(models, one=0.6, two=0.4, method="ties", **fields) -> Recipe:
    """A merge of both experts onto the base."""
    sources = tuple(
        Source(model=models[name], parameters={"weight": constant(weight)})
        for name, weight in (("one", one), ("two", two))
    )
    return Recipe(merge_method=method, base_model=models["base"], models=sources, **fields)


@pytest.fixture(scope="session")
def evaluator(models, task_folder):
    """The live engine that most tests share; every test applies the recipe it needs."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    from evomerge.evaluation import make_evaluator

    made = make_evaluator(make_spec(models, task_folder))
    yield made
    made.close()
