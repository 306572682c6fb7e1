"""What a search measures its models on, and what of them: from its file alone, without torch.

Texts of tasks come from the search split: what validation and test documents say reaches no merge.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from evomerge.calibration.sets import CalibrationSet, Example, make_set
from evomerge.calibration.texts import read_texts
from evomerge.errors import SpecError, did_you_mean
from evomerge.evaluation.tasks import LoadedTask, load_tasks
from evomerge.fitness import Split
from evomerge.hub import short_name
from evomerge.methods import Method, get_method
from evomerge.methods.base import Value
from evomerge.space.searched import Choice, Range
from evomerge.space.spec import SpaceSpec
from evomerge.spec import SearchSpec

TASKS = "tasks"
_WHERE = "calibration"


def wanted(space: SpaceSpec) -> tuple[str, ...]:
    """The statistics that recipes of a space can need, sorted; nothing for methods without data."""
    if space.layers is not None:
        return ()
    methods = [get_method(name) for name in space.methods]
    return tuple(sorted({name for method in methods for name in _needed(method, space)}))


def _needed(method: Method, space: SpaceSpec) -> Iterator[str]:
    """Over all options of its parameters that the space leaves open, at either end of its ranges."""
    if method.statistics is None:
        return
    for end in (0, 1):
        listed = {
            own.name: _options(own.default, space.values.get(own.name), end)
            for own in method.parameters
        }
        for values in product(*listed.values()):
            yield from method.statistics(dict(zip(listed, values, strict=True)))


def _options(default: Value | None, searched: Any, end: int) -> tuple[Any, ...]:
    if isinstance(searched, Choice):
        return tuple(searched.choice)
    if isinstance(searched, Range):
        return (searched.range[end],)
    return (default,) if searched is None else (searched,)


def texts_of(spec: SearchSpec) -> CalibrationSet:
    """The texts of a search. Raises SpecError where a model has none, TaskError for its tasks."""
    wishes = spec.calibration
    _check_owners(wishes.own, spec.models)
    tasks = _tasks(spec)
    examples = [one for name in tasks for one in tasks[name]] if wishes.data == TASKS else None
    shared = examples if examples is not None else list(_file(wishes.data, tasks))
    own = {
        model: tasks[source] if source in tasks else list(_file(source, tasks))
        for model, source in wishes.own.items()
    }
    found = make_set(shared, own, examples=wishes.examples, max_length=wishes.max_length)
    for model in spec.models:
        found.of(model)
    return found


def _tasks(spec: SearchSpec) -> Mapping[str, list[Example]]:
    """The examples of each task, where the file's texts come from tasks."""
    names = {task.task for task in spec.objective.tasks}
    if spec.calibration.data != TASKS and not names & set(spec.calibration.own.values()):
        return {}
    return {task.name: list(task_examples(task)) for task in load_tasks(spec.objective)}


def _file(name: str, tasks: Mapping[str, Any]) -> tuple[Example, ...]:
    # Reading the search file made paths absolute: what is not was no file beside it.
    if not (Path(name).is_absolute() and Path(name).is_file()):
        raise SpecError(
            f"{name!r} is neither a file nor a task of this search",
            where=_WHERE,
            remedy=did_you_mean(name, [TASKS, *tasks]),
        )
    return read_texts(Path(name))


def _check_owners(own: Mapping[str, str], models: Sequence[str]) -> None:
    short = [short_name(model) for model in models]
    for name in own:
        if name not in {*models, *short}:
            raise SpecError(
                f"{name!r} is none of the models",
                where=f"{_WHERE}.own",
                remedy=did_you_mean(name, short),
            )


def task_examples(loaded: LoadedTask) -> Iterator[Example]:
    """Prompt and right answer of each document of the search split."""
    for number in loaded.splits[Split.SEARCH]:
        yield _example(loaded.task, loaded.documents[number])


def _example(task: Any, document: Mapping[str, Any]) -> Example:
    prompt, target = task.doc_to_text(document), task.doc_to_target(document)
    if task.OUTPUT_TYPE == "loglikelihood_rolling":
        return Example(str(target))
    if task.OUTPUT_TYPE == "multiple_choice":
        choices = task.doc_to_choice(document)
        if isinstance(prompt, int):  # the choices are beginnings of one sentence
            return Example(_spaced(task, target), prompt=str(choices[prompt]))
        target = choices[target] if isinstance(target, int) else target
    first = target[0] if isinstance(target, list) else target
    return Example(_spaced(task, first), prompt=str(prompt))


def _spaced(task: Any, target: Any) -> str:
    return f"{task.config.target_delimiter}{target}"
