"""`TaskScorer`: one lm-eval task; its requests built once, its answers turned into values.

What depends on the model's answers is lm-eval's own code on lm-eval's own objects: filters,
`process_results`, aggregation. Answers may come in parts, document by document: nothing that lm-eval
does before it aggregates looks at more than one document.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from evomerge.errors import MergeError, TaskError
from evomerge.evaluation.margins import gold_choices, margin_values
from evomerge.evaluation.remember import remember_documents
from evomerge.evaluation.tasks import LoadedTask, filter_names, has_margins, metric_key
from evomerge.fitness import Floats, Objective, Split, TaskOutcomes, TaskScore, mean_score

Values = dict[str, dict[int, Any]]
"""Of each metric, the value of each document that gives one."""


class TaskScorer:
    """One task's instances, grouped by document.

    Args:
        render_chat: the engine's chat template, where the objective applies one.
        tokenizer_name: of the engine; part of lm-eval's keys where it does.
    """

    def __init__(
        self,
        loaded: LoadedTask,
        objective: Objective,
        render_chat: Callable[..., str],
        tokenizer_name: str,
    ) -> None:
        self.loaded = loaded
        self._filters = filter_names(loaded.task)
        _set_fewshot(loaded.task, objective)
        _build_requests(loaded, objective, render_chat, tokenizer_name)
        self._by_document: dict[int, list[Any]] = defaultdict(list)
        for instance in loaded.task.instances:
            self._by_document[instance.doc_id].append(instance)
        for instances in self._by_document.values():
            instances.sort(key=lambda instance: instance.idx)
        remember_documents(loaded.task, loaded.documents)
        numbers = self._by_document if has_margins(loaded.task) else ()
        self._gold = {n: gold_choices(loaded.task, loaded.documents[n]) for n in numbers}

    def documents(self, split: Split) -> tuple[int, ...]:
        """The numbers of a split's documents, rising; TaskError where it has none."""
        numbers = self.loaded.splits[split]
        if not numbers:
            raise TaskError(
                f"split {split.value!r} of {self.loaded.name!r} is empty",
                where="objective.splits",
                remedy="give it a larger share, or give the task more documents",
            )
        return numbers

    def instances(self, numbers: Sequence[int]) -> list[Any]:
        """The requests of some documents, in their order."""
        return [instance for number in numbers for instance in self._by_document[number]]

    def read(self, numbers: Sequence[int], next_response: Callable[[], Any], found: Values) -> None:
        """Hand out responses in the order of `instances`, and note in `found` what they are worth."""
        instances = self.instances(numbers)
        for instance in instances:
            instance.resps = [next_response() for _ in range(instance.repeats)]
        self.loaded.task._instances = instances
        self.loaded.task.apply_filters()
        for filter_name in self._filters:
            for number in numbers:
                self._read_one(number, filter_name, found)
        for instance in instances:
            instance.resps, instance.filtered_resps = [], {}

    def _read_one(self, number: int, filter_name: str, found: Values) -> None:
        results = [one.filtered_resps[filter_name] for one in self._by_document[number]]
        values = self.loaded.task.process_results(self.loaded.documents[number], results)
        for metric, value in values.items():
            name = metric_key(metric, filter_name, self._filters)
            found.setdefault(name, {})[number] = value
        if number in self._gold and filter_name == self._filters[0]:
            for metric, value in margin_values(results, self._gold[number]).items():
                found.setdefault(metric, {}).setdefault(number, value)

    def outcomes(self, numbers: Sequence[int], found: Values) -> TaskOutcomes:
        """The values of documents that were read, numbers rising, NaN where a document gives none."""
        columns = {name: _as_floats([got.get(n) for n in numbers]) for name, got in found.items()}
        values = {name: column for name, column in columns.items() if column is not None}
        return TaskOutcomes(self.loaded.name, tuple(numbers), values)

    def scores(self, outcomes: TaskOutcomes, found: Values) -> list[TaskScore]:
        """lm-eval's aggregate of every metric over the documents of `outcomes`.

        Raises TaskError where the headline is missing, MergeError where it is no finite number.
        """
        scores = []
        for name, got in found.items():
            present = [got[n] for n in outcomes.doc_ids if got.get(n) is not None]
            score = self._aggregate(name, present, outcomes.values.get(name))
            if score is not None:
                scores.append(score)
        self._check_headline(scores)
        return scores

    @property
    def headline_is_mean(self) -> bool:
        """Whether the headline is the mean of its values over documents."""
        from lm_eval.api.metrics import mean

        return self._aggregation(self.loaded.objective.metric or "") is mean

    def _aggregation(self, name: str) -> Callable[[list[Any]], Any]:
        from lm_eval.api.metrics import mean

        found: Callable[[list[Any]], Any] = self.loaded.task.aggregation().get(
            name.partition(",")[0], mean
        )
        return found

    def _aggregate(self, name: str, present: list[Any], values: Floats | None) -> TaskScore | None:
        """None where the metric gives no number."""
        from lm_eval.api.metrics import mean

        task, headline = self.loaded.name, name == self.loaded.objective.metric
        aggregation = self._aggregation(name)
        value = aggregation(present)
        if not isinstance(value, int | float | np.number):
            return None
        if aggregation is mean and values is not None:
            return mean_score(task, name, np.array(present, dtype=np.float64), headline)
        return TaskScore(task, name, float(value), None, len(present), headline)

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


def _build_requests(
    loaded: LoadedTask, objective: Objective, render_chat: Callable[..., str], tokenizer_name: str
) -> None:
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
            chat_template=render_chat if chat else None,
            tokenizer_name=tokenizer_name if chat else "",
        )
    finally:
        lm_eval_task.tqdm = bar
