"""`StudySpec`: the file that says what a study compares.

Roles of tasks are not written but follow from skills: see `evomerge.study.roles`.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Annotated, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from evomerge.errors import RecipeError
from evomerge.fitness import Evaluation, Objective, TaskObjective
from evomerge.hub import short_name
from evomerge.methods import Method, get_method
from evomerge.recipe import Frozen, Rule
from evomerge.space import SpaceSpec
from evomerge.spec import CalibrationSpec, EngineSpec, StrategySpec, WorkersSpec

Policy = Literal["default", "tuned", "searched"]


class StudyExpert(Frozen):
    """A fine-tune: what it was trained for, and texts to calibrate on.

    factor: the second thing that it was trained in (a domain, a language). texts: a task of the study,
    or a .txt or .jsonl file; by default the first task of its own skill and factor.
    """

    model: str
    skill: str
    factor: str | None = None
    texts: str | None = None


class StudyBase(Frozen):
    """A base model and its fine-tunes; several of them are the sizes that are compared.

    multitask: one model trained for everything, scored beside the merges. training: tells bases of one
        name apart, which are the same but for the seed that they were trained with.
    """

    model: str
    name: str | None = None
    training: int = Field(0, ge=0)
    experts: tuple[StudyExpert, ...] = Field(min_length=2)
    multitask: str | None = None

    @model_validator(mode="after")
    def _models_differ(self) -> Self:
        twice = _repeated([self.model, *(expert.model for expert in self.experts)])
        if twice:
            raise ValueError(f"model named twice: {', '.join(twice)}")
        return self

    @property
    def label(self) -> str:
        """Its name, or the last part of the model's."""
        return self.name or short_name(self.model)

    @property
    def title(self) -> str:
        """The label, and which training it is of."""
        return f"{self.label}, training {self.training}" if self.training else self.label

    @property
    def models(self) -> tuple[str, ...]:
        """The experts' models."""
        return tuple(expert.model for expert in self.experts)


class StudyTask(Frozen):
    """A task of lm-eval, and what it asks for. metric, direction: as in a search file."""

    task: str
    skill: str
    factor: str | None = None
    metric: str | None = None
    direction: Literal["max", "min"] | None = None


class Subsets(Frozen):
    """Which experts are merged: the first of several random orders, each subset within the next.

    sizes: how many experts; by default all of them alone. orders: how many random orders.
    """

    sizes: tuple[Annotated[int, Field(ge=2)], ...] = ()
    orders: int = Field(1, ge=1)
    seed: int = Field(0, ge=0)


def _space_arm(value: object) -> str:
    return "str" if isinstance(value, str) else "SpaceSpec"


class StudyMethod(Frozen):
    """A method and how its hyperparameters are chosen.

    policy: `default` takes what was published, `tuned` the best of `candidates` on the validation
        split, `searched` the winner of a search.
    parameters: fixed values, in place of the published ones; not with a space.
    space: a preset or a space of its own; by default METHOD_global.
    candidates: how many are tried. how: tuned by a `grid`, or at `random`. strategy: of a search.
    after: the name of another entry: a search first tries what that one found, and DAM begins there.
    """

    method: str
    name: str | None = Field(None, min_length=1, max_length=60)
    policy: Policy = "default"
    parameters: dict[str, bool | float | str] = Field(default_factory=dict)
    space: (
        Annotated[
            Annotated[str, Tag("str")] | Annotated[SpaceSpec, Tag("SpaceSpec")],
            Discriminator(_space_arm),
        ]
        | None
    ) = None
    candidates: int | None = Field(None, gt=0)
    how: Literal["grid", "random"] = "grid"
    strategy: StrategySpec | None = None
    after: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _name_alone(cls, value: object) -> object:
        return {"method": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _budget_is_stated(self) -> Self:
        if self.policy != "default" and self.candidates is None:
            raise ValueError(f"policy {self.policy} needs a budget: candidates: 20")
        if self.policy == "default" and (self.candidates or self.space or self.strategy):
            raise ValueError("policy default tries nothing: leave out candidates, space, strategy")
        if self.policy != "default" and self.parameters:
            raise ValueError(f"policy {self.policy}: write fixed values into `space`")
        if self.policy == "tuned" and self.strategy is not None:
            raise ValueError("policy tuned: write `how: grid` or `how: random`, not a strategy")
        return self

    @model_validator(mode="after")
    def _method_and_parameters_exist(self) -> Self:
        method = self.declared
        for name in self.parameters:
            if method.parameter(name) is None:
                known = ", ".join(own.name for own in method.parameters) or "none"
                raise ValueError(f"{method.name} has no parameter {name!r}; known: {known}")
        if method.learned and self.policy != "default":
            raise ValueError(f"{method.name} learns its coefficients: policy default alone")
        if self.after and not (method.learned or self.policy == "searched"):
            raise ValueError("only a search, and methods that learn, begin at another result")
        return self

    @property
    def declared(self) -> Method:
        """The method's declaration; ValueError where there is none."""
        try:
            return get_method(self.method)
        except RecipeError as error:
            raise ValueError(f"{error.message}; {error.remedy}") from error

    @property
    def label(self) -> str:
        """Its name, or what was done."""
        budget = "" if self.policy == "default" else f", {self.policy} ({self.candidates})"
        return self.name or f"{self.method}{budget}"

    @property
    def space_name(self) -> str | SpaceSpec:
        """What is searched."""
        return self.space or f"{self.method}_global"

    @property
    def fixed(self) -> dict[str, tuple[Rule, ...]]:
        """The given parameters as a recipe has them."""
        return {name: (Rule(value=value),) for name, value in self.parameters.items()}


class StudySpec(Frozen):
    """Everything a study is.

    zoo: the name of models and tasks that are trained on this machine first; relative paths are then
        below its folder. trainings: the seeds that the zoo is trained with, each of which gives bases and
        experts of its own; tasks are the first one's. factor: what the second factor is called. seeds:
        for methods that draw random numbers; the others have one result.
    """

    name: str = Field("study", min_length=1, max_length=80)
    zoo: str | None = None
    trainings: tuple[Annotated[int, Field(ge=0)], ...] = Field((0,), min_length=1)
    factor: str = "factor"
    bases: tuple[StudyBase, ...] = Field(min_length=1)
    tasks: tuple[StudyTask, ...] = Field(min_length=1)
    evaluation: Evaluation = Evaluation()
    methods: tuple[StudyMethod, ...] = Field(min_length=1)
    subsets: Subsets = Subsets()
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = Field((0,), min_length=1)
    engine: EngineSpec = EngineSpec()
    workers: WorkersSpec = WorkersSpec()
    calibration: CalibrationSpec = CalibrationSpec()

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        for what, names in (
            ("task", [task.task for task in self.tasks]),
            ("method", [method.label for method in self.methods]),
            ("base", [f"{base.label}, training {base.training}" for base in self.bases]),
            ("training", [str(seed) for seed in self.trainings]),
        ):
            if twice := _repeated(names):
                raise ValueError(f"{what} named twice: {', '.join(twice)}; give each its own")
        return self

    @model_validator(mode="after")
    def _trainings_are_of_the_same(self) -> Self:
        if self.zoo is None and self.trainings != (0,):
            raise ValueError("`trainings` are of a zoo: give bases one name and a `training` each")
        if self.zoo is not None and any(base.training for base in self.bases):
            raise ValueError("the zoo is trained by `trainings`: leave `training` out of the bases")
        for label in {base.label for base in self.bases}:
            same = [base.experts for base in self.bases if base.label == label]
            if len({tuple((one.skill, one.factor) for one in experts) for experts in same}) > 1:
                raise ValueError(f"trainings of {label} differ in the skills of their experts")
        return self

    @property
    def trained(self) -> tuple[StudyBase, ...]:
        """The bases, each once for every training of the zoo."""
        return tuple(
            base.model_copy(update={"name": base.label, "training": seed})
            for base in self.bases
            for seed in self.trainings
        )

    @model_validator(mode="after")
    def _entries_follow_earlier_ones(self) -> Self:
        known: list[str] = []
        for entry in self.methods:
            if entry.after is not None and entry.after not in known:
                raise ValueError(
                    f"{entry.label} comes after {entry.after!r}, which stands not above it"
                )
            known.append(entry.label)
        return self

    @model_validator(mode="after")
    def _sizes_fit(self) -> Self:
        fewest = min(len(base.experts) for base in self.bases)
        large = [size for size in self.subsets.sizes if size > fewest]
        if large:
            raise ValueError(f"subsets of {large[0]} experts, and a base has only {fewest}")
        return self

    @model_validator(mode="after")
    def _experts_are_asked(self) -> Self:
        asked = {(task.skill, task.factor) for task in self.tasks}
        for base in self.bases:
            for expert in base.experts:
                if (expert.skill, expert.factor) not in asked:
                    known = f"{expert.skill} in {expert.factor}" if expert.factor else expert.skill
                    raise ValueError(
                        f"no task asks for {known}, which {short_name(expert.model)} learned"
                    )
        return self

    def objective(self, tasks: Iterable[StudyTask]) -> Objective:
        """The objective of a search over some of the tasks: the plain mean of their scores."""
        asked = tuple(
            TaskObjective(task=one.task, metric=one.metric, direction=one.direction)
            for one in tasks
        )
        return Objective(tasks=asked, **dict(self.evaluation))


def _repeated(names: Iterable[str]) -> list[str]:
    return sorted(name for name, count in Counter(names).items() if count > 1)
