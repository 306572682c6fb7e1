"""Runs every check of a search and reports all problems together."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from evomerge.errors import CheckpointError, Problems, SpecError, UsageError
from evomerge.fitness import Objective
from evomerge.hub import parts_of
from evomerge.layout import CheckpointIndex
from evomerge.merging.finite import ensure_finite
from evomerge.merging.statistics import StatisticsCache
from evomerge.merging.validate import find_problems
from evomerge.methods import get_method
from evomerge.preflight.fingerprint import digest, fingerprint, scope
from evomerge.preflight.machine import check_machine, package_versions
from evomerge.preflight.models import compare, read_models, vocabulary_notes
from evomerge.space import SearchSpace
from evomerge.spec import SearchSpec
from evomerge.staging import MODEL
from evomerge.vocabulary import has_tokenizer


@dataclass(frozen=True)
class PreflightReport:
    """A search that can start.

    spec: with metrics, directions and model revisions pinned.
    scope: within which scores may be reused.
    notes: what is worth knowing and stops nothing, in sentences for people.
    """

    spec: SearchSpec
    space: SearchSpace
    scope: str
    versions: dict[str, str]
    notes: tuple[str, ...] = ()


def preflight(
    spec: SearchSpec, *, store_folder: Path | None = None, here: bool = True
) -> PreflightReport:
    """Check everything; raise the one problem, or Problems.

    Args:
        store_folder: where the store's file will lie, if it is a file.
        here: whether the workers run on this machine, so that its memory and GPUs matter.
    """
    names = (spec.base_model, *spec.models)
    indexes, broken = read_models(names)
    problems: list[UsageError] = [*broken]
    if len(indexes) == len(names):
        base, *experts = indexes
        problems += [problem for expert in experts for problem in compare(base, expert)]
        problems += _space_problems(spec, base)
        if spec.engine.name != "fake":
            problems += _engine_problems(spec, base)
        if here:
            problems += check_machine(spec, base, store_folder)
    problems += _objective_problems(spec)
    problems += _task_problems(spec)
    if not problems:
        spec = _pin_texts(spec)
    if not problems and spec.engine.name != "fake":
        problems += _weight_problems(indexes)
    if problems:
        raise problems[0] if len(problems) == 1 else Problems(problems)
    return _report(spec, indexes)


def _report(spec: SearchSpec, indexes: list[CheckpointIndex]) -> PreflightReport:
    versions = package_versions()
    names = (spec.base_model, *spec.models)
    prints = {name: fingerprint(index) for name, index in zip(names, indexes, strict=True)}
    pinned, tasks = _pin_objective(spec)
    space = bind_space(pinned, indexes[0])
    within = scope(pinned, prints, tasks, versions)
    notes = vocabulary_notes(spec.models, indexes[0], indexes[1:])
    parts = {
        f"{MODEL}{part}": print
        for name, index in zip(names, indexes, strict=True)
        for part, print in _prints(name, index)
    }
    return PreflightReport(pinned, space, within, {**versions, **parts}, tuple(notes))


def _prints(name: str, index: CheckpointIndex) -> Iterator[tuple[str, str]]:
    """The fingerprint of each part of a model: checkpoint and adapter lie in folders of their own."""
    for part, found in zip(parts_of(name), index.parts or (index,), strict=True):
        yield part, fingerprint(found)


def bind_space(spec: SearchSpec, base: CheckpointIndex) -> SearchSpace:
    """The search's space on its base model."""
    return SearchSpace(
        spec.space_spec, spec.base_model, spec.models, base, spec.out_dtype, spec.calibration.set
    )


def _width_problems(spec: SearchSpec) -> Iterator[SpecError]:
    """Parameters that change the shapes of tensors, in an engine that cannot follow."""
    space = spec.space_spec
    for method in space.methods:
        if get_method(method).learned:
            yield SpecError(
                f"{method} is learned, not searched",
                where="space.method",
                remedy=f"run `evomerge {method} CONFIG FOLDER`; start a search from its start.yml",
            )
    for name, value in space.parameters.items():
        known = [own for method in space.methods if (own := get_method(method).parameter(name))]
        if any(x.stored and value != x.default for x in known):
            yield SpecError(
                f"{name} gives files that no engine runs",
                where=f"space.{name}",
                remedy=f"leave {name} out, and write the winner so with `evomerge merge`",
            )
        elif spec.engine.name == "vllm" and any(x.resizes and value != x.default for x in known):
            yield SpecError(
                f"{name} changes the shapes of tensors, and vLLM's engine keeps those it started with",
                where=f"space.{name}",
                remedy=f"leave {name} out, or write `engine: {{name: hf}}`",
            )


def _space_problems(spec: SearchSpec, base: CheckpointIndex) -> Iterator[UsageError]:
    try:
        space = bind_space(spec, base)
    except Problems as several:
        yield from several.problems
        return
    except UsageError as problem:
        yield problem
        return
    yield from _width_problems(spec)
    if space.dimension == 0:
        yield SpecError(
            "nothing to search: every parameter has a fixed value",
            where="space",
            remedy="give at least one parameter a range",
        )
    found: dict[str, UsageError] = {}
    for gene in (0.25, 0.75):
        recipe = space.decode(np.full(space.dimension, gene))
        found.update({problem.message: problem for problem in find_problems(recipe, "space")})
    yield from found.values()


def _engine_problems(spec: SearchSpec, base: CheckpointIndex) -> Iterator[UsageError]:
    if base.parts:
        yield SpecError(
            "the base model has an adapter, which an engine does not start with",
            where="base_model",
            remedy="take the plain model for base_model, and name the adapter under models",
        )
    if spec.engine.name == "hf" and spec.space_spec.layers is not None:
        yield SpecError(
            "engine hf has the base model's layers and cannot run stacks of others",
            where="engine.name",
            remedy="use vllm, or another space than one over layers",
        )
    if not has_tokenizer(base.path):
        yield SpecError(
            "the base model has no tokenizer, so it can answer no task",
            where=str(base.path),
            remedy="put tokenizer.json and tokenizer_config.json into its folder",
        )
    longest = base.config.get("max_position_embeddings")
    asked = spec.engine.max_model_len
    if asked and longest and asked > longest:
        yield SpecError(
            f"{asked} is above the model's own limit of {longest} tokens",
            where="engine.max_model_len",
            remedy=f"set it to {longest} or less",
        )


def _objective_problems(spec: SearchSpec) -> Iterator[UsageError]:
    """An objective of another package is looked for before anything is scored for it."""
    try:
        _ = spec.objective.number_of_objectives
    except UsageError as problem:
        yield problem


def _task_problems(spec: SearchSpec) -> list[UsageError]:
    if spec.engine.name == "fake":
        return []
    from evomerge.evaluation.tasks import check_tasks

    return list(check_tasks(spec.objective))


def _weight_problems(indexes: list[CheckpointIndex]) -> Iterator[UsageError]:
    cache = StatisticsCache()
    for index in indexes:
        try:
            ensure_finite(index, cache)
        except CheckpointError as problem:
            yield problem


def _pin_texts(spec: SearchSpec) -> SearchSpec:
    """The spec with the id of the texts that its methods are computed from, where they need any."""
    from evomerge.evaluation.calibration_texts import texts_of, wanted

    if spec.engine.name == "fake" or not wanted(spec.space_spec):
        return spec
    found = texts_of(spec).name
    if spec.calibration.set not in {None, found}:
        raise SpecError(
            "the calibration texts have changed since the search began",
            where="calibration",
            remedy="put back the files and tasks that it began with, or start a new search",
        )
    return spec.model_copy(
        update={"calibration": spec.calibration.model_copy(update={"set": found})}
    )


def _pin_objective(spec: SearchSpec) -> tuple[SearchSpec, list[str]]:
    """The spec with metrics and directions filled in, and a hash for each task's documents."""
    if spec.engine.name == "fake":
        from evomerge.evaluation.fake import pin_fake

        return spec.model_copy(update={"objective": pin_fake(spec.objective)}), []
    from evomerge.evaluation.tasks import load_tasks

    loaded = load_tasks(spec.objective)
    objective = spec.objective.model_copy(update={"tasks": tuple(t.objective for t in loaded)})
    hashes = [digest([_asked(task.task, spec.objective), list(task.documents)]) for task in loaded]
    return spec.model_copy(update={"objective": objective}), hashes


def _asked(task: Any, objective: Objective) -> list[Any]:
    """A task's settings, and the documents that examples are drawn from, where there are any."""
    own = task.config.num_fewshot if objective.num_fewshot is None else objective.num_fewshot
    return [task.dump_config(), list(task.fewshot_docs()) if own else []]
