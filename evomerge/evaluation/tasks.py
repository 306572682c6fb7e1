"""Finding, checking and loading the lm-eval tasks of an objective; no engine, no torch.

Tasks below `include_path` are looked up first: lm-eval's own list takes some ten seconds to read and
is read only for a name that is not found there.
"""

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any

from evomerge.errors import Problems, TaskError, did_you_mean
from evomerge.evaluation.public_tests import public_dataset, public_test
from evomerge.evaluation.splits import split_documents
from evomerge.fitness import Objective, Split, TaskObjective

OUTPUT_TYPES = ("multiple_choice", "loglikelihood", "loglikelihood_rolling", "generate_until")
MARGIN_METRICS = ("gold_prob", "margin")
"""Our own per-document metrics of multiple-choice tasks."""
_NO_FILTER = "none"


@dataclass(frozen=True)
class LoadedTask:
    """One lm-eval task, its documents, and what its headline is."""

    objective: TaskObjective
    """With `metric` and `direction` filled in."""
    task: Any
    documents: Sequence[Mapping[str, Any]]
    splits: Mapping[Split, tuple[int, ...]]

    @property
    def name(self) -> str:
        return self.objective.task


def load_tasks(objective: Objective) -> tuple[LoadedTask, ...]:
    """Load every task, or raise all that is wrong with them at once."""
    loaded, problems = _try_all(objective)
    if problems:
        raise problems[0] if len(problems) == 1 else Problems(problems)
    return loaded


def check_tasks(objective: Objective) -> tuple[TaskError, ...]:
    """Everything wrong with the tasks of an objective; loads their documents, no engine."""
    return _try_all(objective)[1]


def _try_all(objective: Objective) -> tuple[tuple[LoadedTask, ...], tuple[TaskError, ...]]:
    loaded, problems = [], []
    for number, wanted in enumerate(objective.tasks):
        try:
            loaded.append(_load(wanted, objective, f"objective.tasks[{number}]"))
        except TaskError as problem:
            problems.append(problem)
    return tuple(loaded), tuple(problems)


def _load(wanted: TaskObjective, objective: Objective, where: str) -> LoadedTask:
    task = _build(wanted.task, objective, where)
    _check_kind(wanted.task, task, where)
    _check_shots(wanted.task, task, objective, where)
    _check_documents(wanted.task, task, objective, where)
    metric, direction = resolve_metric(wanted, task, where)
    documents = list(task.eval_docs)
    splits = split_documents(documents, objective.splits, objective.limit)
    _check_splits(wanted.task, objective, splits, where)
    pinned = wanted.model_copy(update={"metric": metric, "direction": direction})
    return LoadedTask(pinned, task, documents, splits)


def _build(name: str, objective: Objective, where: str) -> Any:
    manager = _find(name, objective, where)
    kind = manager.task_index[name].kind.name.lower()
    if kind in {"group", "tag"}:
        raise TaskError(
            f"{name!r} is a {kind} of tasks",
            where=where,
            remedy="name its tasks one by one, each with its own weight",
        )
    if manager is not _own_manager(objective):
        _refuse_benchmark(objective, f"{name!r} is {_known_as(name)}", where)
    try:
        (task,) = manager.load([name])["tasks"].values()
    except Exception as error:  # lm-eval and datasets raise anything here
        raise TaskError(
            f"lm-eval cannot load {name!r}: {type(error).__name__}: {error}",
            where=where,
            remedy="check the task file and the data it points to",
        ) from error
    return task


def _find(name: str, objective: Objective, where: str) -> Any:
    own = _own_manager(objective)
    if own and name in own.task_index:
        return own
    if objective.include_path and not objective.include_path.is_dir():
        raise TaskError(
            f"no such folder: {objective.include_path}",
            where="objective.include_path",
            remedy="point it to the folder that holds the task files",
        )
    known = _manager(None)
    if name not in known.task_index:
        raise _unknown(name, own.all_tasks if own else [], known.all_tasks, where)
    return known


def _own_manager(objective: Objective) -> Any:
    return _manager(objective.include_path) if objective.include_path else None


def _known_as(name: str) -> str:
    benchmark = public_test(name)
    return f"the public benchmark {benchmark}" if benchmark else "one of lm-eval's own benchmarks"


def _refuse_benchmark(objective: Objective, what: str, where: str) -> None:
    if not objective.accept_benchmark_tests:
        raise TaskError(
            f"{what}: searching on its test set spoils it",
            where=where,
            remedy="use documents of your own, or set objective.accept_benchmark_tests: true",
        )


def _check_documents(name: str, task: Any, objective: Objective, where: str) -> None:
    """A task file of one's own may read a benchmark's documents under another name."""
    config = task.config
    split = config.test_split if task.has_test_docs() else config.validation_split
    benchmark = public_dataset(str(config.dataset_path), split)
    if benchmark:
        what = (
            f"{name!r} reads {split!r} of {config.dataset_path}, the public benchmark {benchmark}"
        )
        _refuse_benchmark(objective, what, where)


def _unknown(name: str, own: list[str], known: list[str], where: str) -> TaskError:
    if own and get_close_matches(name, own, n=1):
        remedy = did_you_mean(name, own)
    else:
        close = get_close_matches(name, known, n=3)
        remedy = (
            f"did you mean {' or '.join(map(repr, close))}?" if close else "see `lm-eval ls tasks`"
        )
    place = "include_path nor among lm-eval's own" if own else "lm-eval's own tasks"
    return TaskError(f"no task {name!r} in {place}", where=where, remedy=remedy)


@lru_cache(maxsize=8)
def _manager(include_path: Path | None) -> Any:
    os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
    from lm_eval.tasks import TaskManager

    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    if include_path is None:
        return TaskManager()
    return TaskManager(include_path=str(include_path), include_defaults=False)


def _check_shots(name: str, task: Any, objective: Objective, where: str) -> None:
    """Examples must not come from the documents that are divided into splits.

    lm-eval falls back to them where a task names no other pool; test documents would then stand,
    with their answers, in the prompts of the search.
    """
    config = task.config
    own = config.num_fewshot if objective.num_fewshot is None else objective.num_fewshot
    evaluated = config.test_split if task.has_test_docs() else config.validation_split
    pool = config.fewshot_split or config.training_split or config.validation_split
    given = isinstance(config.fewshot_config, dict) and "samples" in config.fewshot_config
    if own and not given and pool in {None, evaluated}:
        raise TaskError(
            f"the {own} examples in each prompt of {name!r} would be drawn from the documents that "
            "are scored",
            where=where,
            remedy="name another `fewshot_split` in the task file, or set num_fewshot: 0",
        )


def _check_kind(name: str, task: Any, where: str) -> None:
    problem = None
    if task.OUTPUT_TYPE not in OUTPUT_TYPES:
        problem = f"{name!r} has the output type {task.OUTPUT_TYPE!r}, which cannot be scored"
    elif getattr(task, "MULTIMODAL", False):
        problem = f"{name!r} needs images or sound"
    elif getattr(task, "UNSAFE_CODE", False):
        problem = f"{name!r} runs code that the model wrote"
    elif not (task.has_test_docs() or task.has_validation_docs()):
        problem = f"{name!r} has neither test nor validation documents"
    if problem:
        raise TaskError(problem, where=where, remedy=f"use a task of: {', '.join(OUTPUT_TYPES)}")


def _check_splits(
    name: str, objective: Objective, splits: Mapping[Split, tuple[int, ...]], where: str
) -> None:
    for split, numbers in splits.items():
        if not numbers and getattr(objective.splits, split.value) > 0:
            total = sum(map(len, splits.values()))
            raise TaskError(
                f"split {split.value!r} of {name!r} is empty: the task has {total} documents",
                where=where,
                remedy=f"give it more documents, or set objective.splits.{split.value} to 0",
            )


def filter_names(task: Any) -> tuple[str, ...]:
    """The task's filters, in order."""
    return tuple(ensemble.name for ensemble in task._filters)


def metric_key(metric: str, filter_name: str, filters: Sequence[str]) -> str:
    """How a metric is called here: plain where the task has one filter, else `metric,filter`."""
    return metric if len(filters) == 1 else f"{metric},{filter_name}"


def known_metrics(task: Any) -> tuple[str, ...]:
    """Every metric of the task, the first one first, then ours."""
    filters = filter_names(task)
    keys = [metric_key(name, one, filters) for name in task.aggregation() for one in filters]
    ours = MARGIN_METRICS if has_margins(task) else ()
    return (*keys, *(name for name in ours if name not in keys))


def has_margins(task: Any) -> bool:
    """Whether log-likelihoods of choices with a gold one are there to compare."""
    return bool(task.OUTPUT_TYPE == "multiple_choice")


def resolve_metric(wanted: TaskObjective, task: Any, where: str) -> tuple[str, str]:
    """The headline's name and direction; TaskError where the task has no such metric."""
    known = known_metrics(task)
    spellings = dict(_spellings(known, filter_names(task)))
    asked = known[0] if wanted.metric is None and known else wanted.metric or ""
    if asked not in spellings:
        raise TaskError(
            f"{wanted.task!r} has no metric {asked!r}",
            where=f"{where}.metric",
            remedy=did_you_mean(asked, known),
        )
    metric = spellings[asked]
    higher = task.higher_is_better().get(metric.partition(",")[0], True)
    return metric, wanted.direction or ("max" if higher else "min")


def _spellings(known: Sequence[str], filters: Sequence[str]) -> Iterator[tuple[str, str]]:
    """What a user may write for each metric; a bare name means the first filter's."""
    for key in reversed(known):
        name, _, _ = key.partition(",")
        yield name, key
        yield key, key
        if len(filters) == 1:
            yield f"{name},{filters[0]}", key
            yield f"{name},{_NO_FILTER}", key
