"""`TaskSuite`: an objective's lm-eval tasks, built and encoded once, scored again and again.

What lm-eval does for every run is done once here: few-shot contexts, requests and token ids. What
depends on the model's answers is lm-eval's own code on lm-eval's own objects: filters,
`process_results`, aggregation. Per-document results are those of `lm_eval.simple_evaluate`.
"""

import math
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from evomerge.errors import MergeError, TaskError
from evomerge.evaluation.margins import gold_choices, margin_values
from evomerge.evaluation.remember import remember_documents
from evomerge.evaluation.tasks import (
    LoadedTask,
    filter_names,
    has_margins,
    load_tasks,
    metric_key,
)
from evomerge.fitness import (
    Costs,
    EvaluationResult,
    Floats,
    Objective,
    Split,
    TaskOutcomes,
    TaskScore,
    mean_score,
)
from evomerge.racing import RacePlan


@dataclass(frozen=True)
class Answers:
    """What a model says: one response for each request, and what it cost."""

    responses: Sequence[Any]
    forward_seconds: float
    tokens: int


class Plan(Protocol):
    """Requests encoded and ordered once; `run` asks the model as it is now."""

    def run(self) -> Answers: ...


class LanguageModel(Protocol):
    """An engine as the suite sees it."""

    def plan(self, instances: Sequence[Any]) -> Plan:
        """Encode lm-eval instances, each as often as it repeats; answers come in their order."""
        ...

    def apply_chat_template(
        self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
    ) -> str: ...


class TaskSuite:
    """The tasks of one objective on one model."""

    def __init__(self, objective: Objective, model: LanguageModel) -> None:
        self._objective = objective
        self._model = model
        self._tasks = tuple(_TaskRequests(task, objective, model) for task in load_tasks(objective))
        self._plans: dict[Split, Plan] = {}

    @property
    def objective(self) -> Objective:
        """The objective with metrics and directions filled in."""
        tasks = tuple(requests.loaded.objective for requests in self._tasks)
        return self._objective.model_copy(update={"tasks": tasks})

    def prepare(self, split: Split) -> None:
        """Encode the requests of a split, unless that was done before."""
        if split not in self._plans:
            instances = [one for task in self._tasks for one in task.instances(split)]
            self._plans[split] = self._model.plan(instances)

    def score(self, split: Split, race: RacePlan | None = None) -> EvaluationResult:
        """Ask the model every document of `split`, all tasks together; TaskError where it is empty."""
        self.prepare(split)
        start = time.perf_counter()
        answers = self._plans[split].run()
        scores: list[TaskScore] = []
        outcomes: list[TaskOutcomes] = []
        responses = iter(answers.responses)
        for task in self._tasks:
            task_scores, task_outcomes = task.score(split, responses.__next__)
            scores += task_scores
            outcomes.append(task_outcomes)
        overhead = time.perf_counter() - start - answers.forward_seconds
        costs = Costs(
            forward_seconds=answers.forward_seconds,
            overhead_seconds=overhead,
            tokens=answers.tokens,
        )
        return EvaluationResult(tuple(scores), tuple(outcomes), costs)


class _TaskRequests:
    """One task's instances, grouped by document."""

    def __init__(self, loaded: LoadedTask, objective: Objective, model: LanguageModel) -> None:
        self.loaded = loaded
        self._filters = filter_names(loaded.task)
        _set_fewshot(loaded.task, objective)
        _build_requests(loaded, objective, model)
        self._by_document: dict[int, list[Any]] = defaultdict(list)
        for instance in loaded.task.instances:
            self._by_document[instance.doc_id].append(instance)
        for instances in self._by_document.values():
            instances.sort(key=lambda instance: instance.idx)
        remember_documents(loaded.task, loaded.documents)
        numbers = self._by_document if has_margins(loaded.task) else ()
        self._gold = {n: gold_choices(loaded.task, loaded.documents[n]) for n in numbers}

    def instances(self, split: Split) -> list[Any]:
        numbers = self.loaded.splits[split]
        if not numbers:
            raise TaskError(
                f"split {split.value!r} of {self.loaded.name!r} is empty",
                where="objective.splits",
                remedy="give it a larger share, or give the task more documents",
            )
        return [instance for number in numbers for instance in self._by_document[number]]

    def score(
        self, split: Split, next_response: Callable[[], Any]
    ) -> tuple[list[TaskScore], TaskOutcomes]:
        """Hand out responses in the order of `instances`, then do what lm-eval does with them."""
        numbers = self.loaded.splits[split]
        instances = self.instances(split)
        for instance in instances:
            instance.resps = [next_response() for _ in range(instance.repeats)]
        self.loaded.task._instances = instances
        self.loaded.task.apply_filters()
        raw = self._results(numbers)
        for instance in instances:
            instance.resps, instance.filtered_resps = [], {}
        values = {name: column for name in raw if (column := _as_floats(raw[name])) is not None}
        return self._aggregate(raw, values), TaskOutcomes(self.loaded.name, numbers, values)

    def _results(self, numbers: Sequence[int]) -> dict[str, list[Any]]:
        """Per-document values of every metric and filter, `None` where a document gives none."""
        found: dict[str, dict[int, Any]] = defaultdict(dict)
        for filter_name in self._filters:
            for place, number in enumerate(numbers):
                results = [one.filtered_resps[filter_name] for one in self._by_document[number]]
                document = self.loaded.documents[number]
                for metric, value in self.loaded.task.process_results(document, results).items():
                    found[metric_key(metric, filter_name, self._filters)][place] = value
                if number in self._gold and filter_name == self._filters[0]:
                    for metric, value in margin_values(results, self._gold[number]).items():
                        found[metric].setdefault(place, value)
        return {name: [got.get(i) for i in range(len(numbers))] for name, got in found.items()}

    def _aggregate(
        self, raw: Mapping[str, list[Any]], values: Mapping[str, Floats]
    ) -> list[TaskScore]:
        scores = []
        aggregations = self.loaded.task.aggregation()
        headline = self.loaded.objective.metric
        for name, column in raw.items():
            score = _aggregated(self.loaded.name, name, aggregations, column, values.get(name))
            if score is not None:
                marked = TaskScore(
                    score.task, name, score.value, score.stderr, score.n, name == headline
                )
                scores.append(marked)
        self._check_headline(scores)
        return scores

    def _check_headline(self, scores: Sequence[TaskScore]) -> None:
        headline = self.loaded.objective.metric
        found = next((score for score in scores if score.headline), None)
        if found is None:
            raise TaskError(
                f"{self.loaded.name!r} gave no {headline!r}",
                where="objective.tasks",
                remedy=f"use one of: {', '.join(score.metric for score in scores)}",
            )
        if not math.isfinite(found.value):
            raise MergeError(
                f"{headline} of {self.loaded.name!r} is {found.value}: the merged model computes no numbers",
                remedy="search smaller weights",
            )


def _aggregated(
    task: str, name: str, aggregations: Mapping[str, Any], column: list[Any], values: Floats | None
) -> TaskScore | None:
    """lm-eval's aggregate of one metric; None where it gives no number."""
    from lm_eval.api.metrics import mean

    present = [value for value in column if value is not None]
    aggregate = aggregations.get(name.partition(",")[0], mean)
    value = aggregate(present)
    if not isinstance(value, int | float | np.number):
        return None
    if aggregate is mean and values is not None:
        return mean_score(task, name, np.array(present, dtype=np.float64))
    return TaskScore(task, name, float(value), None, len(present))


def _as_floats(column: Sequence[Any]) -> Floats | None:
    """A column of plain numbers as an array, NaN for None; None where a value is no number."""
    if all(value is None or isinstance(value, int | float | np.number) for value in column):
        return np.array([np.nan if value is None else value for value in column], dtype=np.float64)
    return None


def _set_fewshot(task: Any, objective: Objective) -> None:
    """As `lm_eval.simple_evaluate` does it: a task that says 0 keeps 0."""
    own = task.get_config("num_fewshot")
    if objective.num_fewshot is not None and own != 0:
        task.set_config(key="num_fewshot", value=objective.num_fewshot)
    elif own is None:
        task.set_config(key="num_fewshot", value=0)
    task.set_fewshot_seed(seed=objective.fewshot_seed)


def _build_requests(loaded: LoadedTask, objective: Objective, model: LanguageModel) -> None:
    """Few-shot examples are drawn document after document, so all up to the last one are built."""
    import lm_eval.api.task as lm_eval_task

    last = max((numbers[-1] for numbers in loaded.splits.values() if numbers), default=0)
    chat = objective.apply_chat_template
    bar, lm_eval_task.tqdm = lm_eval_task.tqdm, lambda documents, **_: documents
    try:
        loaded.task.build_all_requests(
            limit=last + 1,
            rank=0,
            world_size=1,
            system_instruction=objective.system_instruction,
            apply_chat_template=chat,
            fewshot_as_multiturn=chat,
            chat_template=model.apply_chat_template if chat else None,
            tokenizer_name=getattr(model, "tokenizer_name", "") if chat else "",
        )
    finally:
        lm_eval_task.tqdm = bar
