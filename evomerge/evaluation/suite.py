"""`TaskSuite`: an objective's lm-eval tasks, built and encoded once, scored again and again.

What lm-eval does for every run is done once here: few-shot contexts, requests and token ids.
Per-document results are those of `lm_eval.simple_evaluate`. Where candidates race, a split is answered
block by block, and always in the same blocks, with a race or without: an engine may round otherwise
in a batch of another size, and a candidate that survives a race must score what it would have scored.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from evomerge.evaluation.task_scorer import TaskScorer, Values
from evomerge.evaluation.tasks import load_tasks
from evomerge.fitness import Costs, EvaluationResult, Objective, Split, TaskOutcomes
from evomerge.racing import Layout, Race, RacePlan


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


@dataclass(frozen=True)
class _Block:
    """Documents of each task that are asked for in one call."""

    documents: Mapping[str, tuple[int, ...]]
    plan: Plan


@dataclass
class _Run:
    """One candidate's answers so far."""

    values: dict[str, Values] = field(default_factory=dict)
    documents: dict[str, list[int]] = field(default_factory=dict)
    forward_seconds: float = 0.0
    tokens: int = 0


class TaskSuite:
    """The tasks of one objective on one model.

    Args:
        layout: the blocks in which search and validation documents are answered, whether or not a
            candidate races; None: all in one call, unless a race says otherwise.
    """

    def __init__(
        self, objective: Objective, model: LanguageModel, layout: Layout | None = None
    ) -> None:
        self._objective = objective
        self._model = model
        self._layout = layout
        tokenizer = str(getattr(model, "tokenizer_name", ""))
        self._tasks = tuple(
            TaskScorer(task, objective, model.apply_chat_template, tokenizer)
            for task in load_tasks(objective)
        )
        self._blocks: dict[tuple[Split, Layout | None], tuple[_Block, ...]] = {}

    @property
    def objective(self) -> Objective:
        """The objective with metrics and directions filled in."""
        tasks = tuple(task.loaded.objective for task in self._tasks)
        return self._objective.model_copy(update={"tasks": tasks})

    def prepare(self, split: Split, layout: Layout | None = None) -> None:
        """Encode the requests of a split, unless that was done before; TaskError where it is empty."""
        if (split, layout) not in self._blocks:
            documents = self._documents(split)
            parts = layout.divide(documents) if layout else (documents,)
            self._blocks[split, layout] = tuple(map(self._plan, parts))

    def score(self, split: Split, race: RacePlan | None = None) -> EvaluationResult:
        """Ask the model every document of `split`, all tasks together, or until it lost its race.

        Raises TaskError where the split is empty.
        """
        layout = self._layout_of(split, race)
        self.prepare(split, layout)
        start = time.perf_counter()
        run, dropped = self._run(self._blocks[split, layout], self._judge(split, race))
        scores = [
            score
            for task, found in zip(self._tasks, self._outcomes(run), strict=True)
            for score in task.scores(found, run.values[found.task])
        ]
        overhead = time.perf_counter() - start - run.forward_seconds
        costs = Costs(
            forward_seconds=run.forward_seconds, overhead_seconds=overhead, tokens=run.tokens
        )
        return EvaluationResult(tuple(scores), self._outcomes(run), costs, dropped)

    def _run(
        self, blocks: Sequence[_Block], is_out: Callable[[Sequence[TaskOutcomes]], bool]
    ) -> tuple[_Run, bool]:
        """Answer block after block; whether the candidate was out before the last one."""
        run = _Run()
        for number, block in enumerate(blocks, start=1):
            self._answer(block, run)
            if number < len(blocks) and is_out(self._outcomes(run)):
                return run, True
        return run, False

    def _answer(self, block: _Block, run: _Run) -> None:
        answers = block.plan.run()
        run.forward_seconds += answers.forward_seconds
        run.tokens += answers.tokens
        responses = iter(answers.responses)
        for task in self._tasks:
            name = task.loaded.name
            if numbers := block.documents.get(name):
                task.read(numbers, responses.__next__, run.values.setdefault(name, {}))
                run.documents[name] = sorted([*run.documents.get(name, ()), *numbers])

    def _outcomes(self, run: _Run) -> tuple[TaskOutcomes, ...]:
        return tuple(
            task.outcomes(run.documents[task.loaded.name], run.values[task.loaded.name])
            for task in self._tasks
        )

    def _judge(
        self, split: Split, plan: RacePlan | None
    ) -> Callable[[Sequence[TaskOutcomes]], bool]:
        """Says who is out; nobody where no race can be held: see `Race`, and headlines that are no means."""
        if plan is not None and all(task.headline_is_mean for task in self._tasks):
            race = Race(plan)
            if race.documents == self._documents(split):
                return race.is_out
        return lambda _: False

    def _layout_of(self, split: Split, race: RacePlan | None) -> Layout | None:
        if race is not None:
            return race.layout
        return None if split is Split.TEST else self._layout

    def _documents(self, split: Split) -> dict[str, tuple[int, ...]]:
        return {task.loaded.name: task.documents(split) for task in self._tasks}

    def _plan(self, documents: Mapping[str, tuple[int, ...]]) -> _Block:
        instances = [
            instance
            for task in self._tasks
            for instance in task.instances(documents.get(task.loaded.name, ()))
        ]
        return _Block(documents, self._model.plan(instances))
