"""What a user asks for: tasks, the goal over them, constraints, and how documents are divided."""

import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from evomerge.fitness.custom import load_objective
from evomerge.recipe import Frozen


class Split(StrEnum):
    """Which documents of a task: the search sees `search` alone."""

    SEARCH = "search"
    VALIDATION = "validation"
    TEST = "test"


class Splits(Frozen):
    """Shares of each task's documents; a document's hash decides where it goes."""

    search: float = Field(0.6, gt=0, le=1)
    validation: float = Field(0.2, ge=0, le=1)
    test: float = Field(0.2, ge=0, le=1)

    @model_validator(mode="after")
    def _sum_to_one(self) -> Self:
        total = self.search + self.validation + self.test
        if abs(total - 1) > 1e-6:
            raise ValueError(f"the shares add up to {total:g}, not 1")
        return self

    def split_of(self, position: float) -> Split:
        """The split of a document whose hash lies at `position` in [0, 1)."""
        if position < self.search:
            return Split.SEARCH
        # The shares add up to 1 but for rounding: what is left over never goes to a share of 0.
        if self.validation and (position < self.search + self.validation or not self.test):
            return Split.VALIDATION
        return Split.TEST if self.test else Split.SEARCH


AT_LEAST = re.compile(r"^(base|expert)\s*(?:([+-])\s*(\d*\.?\d+))?$")


def _valid_at_least(value: float | str | None) -> float | str | None:
    if isinstance(value, str) and not AT_LEAST.match(value.strip()):
        raise ValueError("write a number, or `base`, `expert`, `base - 0.01`")
    return value


class TaskObjective(Frozen):
    """What one lm-eval task contributes.

    metric: a metric of the task (`acc`, `exact_match`, …), or for multiple choice `gold_prob` (the
        probability of the right choice among the choices) and `margin` (its log-likelihood minus
        the best wrong one's). None: the task's first metric.
    normalise: divide by the base's or the best expert's score on the search split.
    at_least: constraint on the unnormalised score; candidates below it rank behind all others.
    """

    task: str
    metric: str | None = None
    weight: float = Field(1.0, gt=0)
    direction: Literal["max", "min"] | None = None
    normalise: Literal["none", "base", "expert"] = "none"
    at_least: Annotated[float | str | None, AfterValidator(_valid_at_least)] = None


class Evaluation(Frozen):
    """How tasks are asked, and how their documents are divided: for an `Objective`, and for studies."""

    include_path: Path | None = None
    splits: Splits = Splits()
    num_fewshot: int | None = Field(None, ge=0)
    fewshot_seed: int = 1234
    limit: int | None = Field(None, gt=0)
    apply_chat_template: bool = False
    system_instruction: str | None = None
    accept_benchmark_tests: bool = False


class Aims(Frozen):
    """What is climbed: for an `Objective`."""

    tasks: tuple[TaskObjective, ...] = Field(min_length=1)
    goal: Literal["mean", "worst", "pareto"] = "mean"
    custom: str | None = Field(None, min_length=1)


class Objective(Evaluation, Aims):  # the last base's fields come first, as in every stored search
    """The tasks a search is for, what is made of their scores, and how their documents are divided.

    goal: `mean` climbs the weighted mean of all tasks, `worst` the smallest of them, and `pareto`
        takes each task for an objective of its own: the search is for the front of merges that no
        other one beats in all tasks. custom: the name of a `CustomObjective` of an installed
        package, which takes the goal's place.
    include_path: a folder of lm-eval task files; lm-eval's own tasks need none.
    num_fewshot: overrides each task's own number. limit: at most so many documents a task and split.
    """

    @model_validator(mode="after")
    def _no_task_twice(self) -> Self:
        names = [task.task for task in self.tasks]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"task named twice: {', '.join(twice)}")
        return self

    @model_validator(mode="after")
    def _nothing_without_effect(self) -> Self:
        weighted = [task.task for task in self.tasks if task.weight != 1]
        normalised = [task.task for task in self.tasks if task.normalise != "none"]
        if self.custom and (self.goal != "mean" or weighted or normalised):
            raise ValueError(
                "`custom` gets the plain scores and decides alone: leave out `goal`, `weight` and "
                "`normalise`"
            )
        if self.goal == "worst" and weighted:
            raise ValueError(
                f"`weight` of {weighted[0]} has no effect with `goal: worst`: leave it out, or "
                "bring tasks to one scale with `normalise`"
            )
        if self.goal == "pareto" and len(self.tasks) < 2:
            raise ValueError("`goal: pareto` needs two tasks or more")
        return self

    @property
    def number_of_objectives(self) -> int:
        """How many numbers a candidate is judged by.

        TaskError where `custom` names nothing that is installed.
        """
        return len(self.objective_names)

    @property
    def objective_names(self) -> tuple[str, ...]:
        """What each objective is called, in the order of `compute_objectives`."""
        if self.custom:
            return load_objective(self.custom).values or (self.custom,)
        names = {
            "mean": ("mean of the tasks",),
            "worst": ("worst task",),
            "pareto": tuple(task.task for task in self.tasks),
        }
        return names[self.goal]
