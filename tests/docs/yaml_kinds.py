"""What a YAML block of the documentation is, and how the real code checks it.

KINDS is tried from the top: the first kind whose mark fits a block checks it. A new kind of file gets a
line here.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import TypeAdapter
from ruamel.yaml import YAML

from evomerge.errors import UsageError
from evomerge.merging.documents import read_documents
from evomerge.methods import METHODS
from evomerge.space import SpaceSpec
from evomerge.spec import SearchSpec, read_spec
from evomerge.study import load_study
from tests.docs.blocks import Block

Loaded = dict[str, Any]
SECTIONS = SearchSpec.model_fields


class Kind(NamedTuple):
    """A kind of YAML: its name, the keys by which it is known, and what raises where it is wrong."""

    name: str
    fits: Callable[[Loaded], bool]
    check: Callable[[str, Path], None]


def load_all(text: str) -> list[Any]:
    """All documents of a block."""
    return list(YAML(typ="safe").load_all(text))


def search_file(text: str, folder: Path) -> None:
    """A whole search file."""
    read_spec(text, folder / "search.yml", folder)


def sections(text: str, folder: Path) -> None:
    """Single sections of a search file; the same one may stand there twice, as alternatives."""
    del folder
    for part in _alternatives(text):
        for name, value in YAML(typ="safe").load(part).items():
            TypeAdapter(SECTIONS[name].rebuild_annotation()).validate_python(value)


def _alternatives(text: str) -> list[str]:
    """The block cut before every line that begins a section."""
    parts: list[list[str]] = []
    for line in text.splitlines():
        if not parts or (line and line[0].isalpha()):
            parts.append([])
        parts[-1].append(line)
    return ["\n".join(part) for part in parts if any(line.strip() for line in part)]


def merge(text: str, folder: Path) -> None:
    """A merge configuration, of one document or several."""
    read_documents(text, "merge.yml", folder)


def models(text: str, folder: Path) -> None:
    """Models alone: a search file with everything else as simple as can be."""
    search_file(text + "\nobjective: {tasks: [{task: t}]}\n", folder)


def parameter(text: str, folder: Path) -> None:
    """One parameter of a space."""
    del folder
    SpaceSpec.model_validate({"method": "task_arithmetic", **YAML(typ="safe").load(text)})


def tokenizer(text: str, folder: Path) -> None:
    """The tokenizer of a merge configuration."""
    model = "{{model: org/{}, parameters: {{weight: 1}}}}".format
    merge(f"{text}\nmerge_method: linear\nmodels: [{model('code')}, {model('chat')}]\n", folder)


def merged_models(text: str, folder: Path) -> None:
    """Models of a merge configuration: some method takes them as they stand."""
    refused = []
    for method in METHODS:
        try:
            return merge(f"merge_method: {method}\nbase_model: org/base\n{text}", folder)
        except UsageError as error:
            refused.append(f"{method}: {error}")
    raise AssertionError("no method takes these models:\n" + "\n".join(refused))


def lm_eval_task(text: str, folder: Path) -> None:
    """A task file of lm-eval: its keys are those of lm-eval's own configuration."""
    del folder
    from lm_eval.api.task import TaskConfig

    TaskConfig(**YAML(typ="safe").load(text))


def study_file(text: str, folder: Path) -> None:
    """A whole study file."""
    file = folder / "study.yml"
    file.write_text(text, encoding="utf-8")
    load_study(file)


def has(*keys: str) -> Callable[[Loaded], bool]:
    """Whether a block has these keys at the top."""
    return lambda loaded: all(key in loaded for key in keys)


def merges_models(loaded: Loaded) -> bool:
    """Whether a block has models with parameters, and nothing else."""
    return set(loaded) == {"models"} and isinstance(loaded["models"][0], dict)


def only(*keys: str) -> Callable[[Loaded], bool]:
    """Whether a block has no other keys at the top."""
    return lambda loaded: set(loaded) <= set(keys)


KINDS = [
    Kind("study file", has("bases", "methods"), study_file),
    Kind("search file", has("base_model", "objective"), search_file),
    Kind("merge configuration", has("merge_method"), merge),
    Kind("task of lm-eval", has("task", "output_type"), lm_eval_task),
    Kind("tokenizer", only("tokenizer"), tokenizer),
    Kind("models of a merge", merges_models, merged_models),
    Kind("models of a search", only("base_model", "models", "name"), models),
    Kind("parameter of a space", only("weight", "density", "t"), parameter),
    Kind("sections of a search file", only(*SECTIONS), sections),
]


def kind_of(block: Block) -> Kind | None:
    """The kind of a block; None where it is of none."""
    try:
        loaded = load_all(block.text)
    except Exception:  # alternatives of one section are one mapping with a key twice
        return KINDS[-1] if block.text.split(":")[0] in SECTIONS else None
    last = loaded[-1] if loaded else None
    if not isinstance(last, dict):
        return None
    return next((kind for kind in KINDS if kind.fits(last)), None)
