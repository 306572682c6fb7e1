"""An evaluator without a model: recipes are scored by a smooth, fixed formula.

For tests of the controller, for fault tests and for simulations of strategies. The formula knows a
hidden best weight for every task, model and tensor kind; the nearer a recipe's weights lie to it, the
more of the pseudo documents it answers. The same recipe gets the same outcomes in every process.
"""

import hashlib
import math
import time
from collections.abc import Iterator, Sequence
from functools import cached_property
from importlib.metadata import version

import numpy as np

from evomerge.errors import MergeError, TaskError
from evomerge.evaluation.splits import split_documents
from evomerge.fitness import (
    Costs,
    EvaluationResult,
    Floats,
    Objective,
    Split,
    TaskObjective,
    TaskOutcomes,
    mean_score,
)
from evomerge.racing import Race, RacePlan
from evomerge.recipe import Recipe, Setting, Settings, constant, evaluate
from evomerge.spec import SearchSpec

DOCUMENTS = 500
"""Documents of every pseudo task, all splits together."""

_TENSORS = tuple(
    (f"model.layers.{layer}.{part}.weight", layer / 3)
    for layer in range(4)
    for part in ("self_attn.q_proj", "mlp.up_proj", "input_layernorm")
)
_CONTINUOUS = ("gold_prob", "margin")


class FakeEvaluator:
    """Scores recipes by a formula, after a sleep of `engine.fake_seconds`."""

    def __init__(self, spec: SearchSpec) -> None:
        self._spec = spec

    def evaluate(
        self, recipe: Recipe, split: Split, race: RacePlan | None = None
    ) -> EvaluationResult:
        """Pseudo outcomes of every task; MergeError where all weights of a linear merge cancel.

        Costs count documents, of all tasks, as tokens; seconds are in proportion to them.
        """
        documents = self._documents[split]
        if not documents:
            raise TaskError(
                f"split {split.value!r} of {self._spec.objective.tasks[0].task!r} is empty",
                where="objective.splits",
                remedy="give it a larger share, or give the task more documents",
            )
        weights = _effective_weights(recipe, self._spec)
        tasks = self._spec.objective.tasks
        whole = [self._answer(task, weights, documents) for task in tasks]
        answered, dropped = _run_race(whole, race) if race else (whole, False)
        count = sum(len(outcomes.doc_ids) for outcomes in answered)
        seconds = self._spec.engine.fake_seconds * count / (len(tasks) * len(documents))
        time.sleep(seconds)
        scores = tuple(
            mean_score(outcomes.task, metric, values, headline=True)
            for outcomes in answered
            for metric, values in outcomes.values.items()
        )
        return EvaluationResult(
            scores, tuple(answered), Costs(forward_seconds=seconds, tokens=count), dropped
        )

    def versions(self) -> dict[str, str]:
        """The package's own version: nothing else changes a score here."""
        return {"engine": "fake", "evomerge": version("evomerge"), "numpy": version("numpy")}

    def close(self) -> None:
        """Nothing to give back."""

    @cached_property
    def _documents(self) -> dict[Split, tuple[int, ...]]:
        objective = self._spec.objective
        documents = [{"number": number} for number in range(DOCUMENTS)]
        return split_documents(documents, objective.splits, objective.limit)

    def _answer(
        self, task: TaskObjective, weights: Floats, documents: tuple[int, ...]
    ) -> TaskOutcomes:
        metric = task.metric or "acc"
        hardness = np.array([_uniform("document", task.task, number) for number in documents])
        values = _answers(metric, _quality(task.task, weights), hardness)
        return TaskOutcomes(task.task, documents, {metric: values})


def _run_race(whole: Sequence[TaskOutcomes], plan: RacePlan) -> tuple[Sequence[TaskOutcomes], bool]:
    """What of its outcomes a candidate gets to say, and whether it was dropped."""
    race = Race(plan)
    documents = {outcomes.task: outcomes.doc_ids for outcomes in whole}
    answered: dict[str, set[int]] = {task: set() for task in documents}
    for block in plan.layout.divide(documents)[:-1]:
        for task, numbers in block.items():
            answered[task].update(numbers)
        so_far = [_restrict(outcomes, answered[outcomes.task]) for outcomes in whole]
        if race.documents == documents and race.is_out(so_far):
            return so_far, True
    return whole, False


def _restrict(outcomes: TaskOutcomes, numbers: set[int]) -> TaskOutcomes:
    """The outcomes of some documents alone."""
    there = [number in numbers for number in outcomes.doc_ids]
    ids = tuple(number for number, keep in zip(outcomes.doc_ids, there, strict=True) if keep)
    values = {metric: column[there] for metric, column in outcomes.values.items()}
    return TaskOutcomes(outcomes.task, ids, values)


def pin_fake(objective: Objective) -> Objective:
    """The objective as the fake scores it: `acc`, and more is better, unless it says otherwise."""
    tasks = tuple(
        task.model_copy(
            update={"metric": task.metric or "acc", "direction": task.direction or "max"}
        )
        for task in objective.tasks
    )
    return objective.model_copy(update={"tasks": tasks})


def _quality(task: str, weights: Floats) -> float:
    """0.2 to 0.95: how near `weights` (models x tensors) lie to the task's hidden optimum."""
    best = np.array([[_optimum(task, m, t) for t, _ in _TENSORS] for m in range(len(weights))])
    distance = float(((weights - best) ** 2).sum(axis=0).mean())
    return 0.2 + 0.75 * math.exp(-distance)


def _optimum(task: str, model: int, tensor: str) -> float:
    kind = tensor.split(".")[3]
    return 0.2 + 0.8 * _uniform("model", task, model) + 0.2 * _uniform("kind", task, model, kind)


def _answers(metric: str, quality: float, hardness: Floats) -> Floats:
    odds = math.log(quality / (1 - quality)) - np.log(hardness / (1 - hardness))
    if metric in _CONTINUOUS:
        return odds if metric == "margin" else 1 / (1 + np.exp(-odds))
    return (hardness < quality).astype(np.float64)


def _uniform(*key: object) -> float:
    """A fixed number in (0, 1) for a key."""
    digest = hashlib.sha256("/".join(map(str, key)).encode()).digest()
    return (int.from_bytes(digest[:6]) + 0.5) / float(1 << 48)


def _effective_weights(recipe: Recipe, spec: SearchSpec) -> Floats:
    """Weight times density of each expert on each pseudo tensor; 0 for a model that is not merged."""
    table = np.array([list(_model_weights(recipe, model)) for model in spec.models])
    shares = np.array([list(_model_weights(recipe, model)) for model in recipe.all_models()])
    if recipe.merge_method == "linear" and bool((np.abs(shares.sum(axis=0)) < 1e-8).any()):
        raise MergeError(
            "the weights cancel: they add up to 0",
            where=recipe.recipe_id,
            remedy="use weights whose sum is not 0, or set normalize to false",
        )
    if not np.isfinite(table).all():
        raise MergeError("the weights are not finite", where=recipe.recipe_id)
    return table


def _model_weights(recipe: Recipe, model: str) -> Iterator[float]:
    sources = [source for source in recipe.sources() if source.model == model]
    own: Settings = sources[0].parameters if sources else {}
    for tensor, position in _TENSORS:
        weight = _value(own, recipe.parameters, "weight", tensor, position)
        density = _value(own, recipe.parameters, "density", tensor, position)
        yield weight * density**0.25 if sources else 0.0


def _value(own: Settings, shared: Settings, name: str, tensor: str, position: float) -> float:
    settings: tuple[Setting, ...] = (own.get(name, ()), shared.get(name, ()), constant(1.0))
    for setting in settings:
        value = evaluate(setting, tensor, position)
        if value is not None:
            return float(value)
    return 1.0
