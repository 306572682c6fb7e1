"""Runs a study: chooses the recipe of every cell, then scores all of a base's models side by side.

A cell that fails says why and stops nothing else. Whatever was chosen or scored is found again: the same
command after a kill repeats nothing that was finished.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from evomerge.controller.baselines import soup
from evomerge.errors import CandidateError, EvomergeError
from evomerge.fitness import Objective, Split, TaskOutcomes
from evomerge.hub import short_name
from evomerge.recipe import Recipe
from evomerge.service import check_search
from evomerge.spec import SearchSpec
from evomerge.store.types import EvaluationRecord, EvaluationStatus
from evomerge.study.bench import Bench, Where, open_bench
from evomerge.study.choose import NEUTRAL, Task, choose
from evomerge.study.learning_out import learn_on_ray
from evomerge.study.memory import Peaks, watched
from evomerge.study.plan import Cell, Skipped, make_plan, waves
from evomerge.study.recipes import default_recipe, needs_texts
from evomerge.study.records import Choice, Choices, key_of
from evomerge.study.roles import held_in
from evomerge.study.spec import StudyBase, StudySpec, StudyTask
from evomerge.study.statistics import measured_for_all

CHOICES, PEAKS = "choices", "peaks"
Tell = Callable[[str], None]
Heard = Callable[[str, int, int], None]
"""Told what is done, how many cells are ready, of how many."""


@dataclass(frozen=True)
class Scored:
    """A model's answers to the test documents, or why there are none."""

    label: str
    evaluation: EvaluationRecord | None
    outcomes: tuple[TaskOutcomes, ...] = ()
    error: str | None = None


@dataclass(frozen=True)
class CellResult:
    """A cell, what was chosen for it, and what that scores."""

    cell: Cell
    scored: Scored
    choice: Choice | None = None
    peak_bytes: int | None = None


@dataclass(frozen=True)
class BaseResult:
    """Everything of one base. experts: in the order of the file; objective: with metrics filled in."""

    base: StudyBase
    tasks: tuple[StudyTask, ...]
    objective: Objective
    own: Scored
    experts: tuple[Scored, ...]
    multitask: Scored | None
    cells: tuple[CellResult, ...]
    versions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class StudyResult:
    """What a study found."""

    spec: StudySpec
    bases: tuple[BaseResult, ...]
    skipped: tuple[Skipped, ...] = ()


def run_study(
    spec: StudySpec,
    folder: Path,
    where: Where,
    heard: Heard = lambda what, done, total: None,
    tell: Tell = lambda text: None,
) -> StudyResult:
    """Run what is not done yet, and return all of it.

    Raises UsageError where models or tasks cannot be used, EngineError where no engine starts.
    """
    plan = make_plan(spec)
    count = _Count(len(plan.cells), heard)
    bases = [
        _BaseRun(spec, base, folder, where, count, tell).result(
            [cell for cell in plan.cells if cell.base is base]
        )
        for base in spec.bases
    ]
    return StudyResult(spec, tuple(bases), plan.skipped)


@dataclass
class _Count:
    total: int
    heard: Heard
    done: int = 0

    def __call__(self, what: str) -> None:
        self.heard(what, self.done, self.total)
        self.done += 1


@dataclass
class _BaseRun:
    """One base of a study."""

    spec: StudySpec
    base: StudyBase
    folder: Path
    where: Where
    count: _Count
    tell: Tell

    def __post_init__(self) -> None:
        self._choices = Choices(self.folder / CHOICES)
        self._peaks = Peaks(self.folder / PEAKS)
        self._failed: dict[str, EvomergeError] = {}
        self._made: dict[tuple[str, tuple[int, ...], int], tuple[str, Choice] | str] = {}

    def result(self, cells: Sequence[Cell]) -> BaseResult:
        everything = self._search(self.base.models, self.spec.tasks)
        everything = self._with_texts(everything)
        self._measure_ahead(cells, everything)
        for wave in waves(cells):
            self._learn_ahead(wave, everything)
            for cell in wave:
                self.count(cell.label)
                self._made[_name(cell)] = self._chosen(cell, everything)
        with open_bench(self.where, self._bench_of(everything)) as bench:
            references = dict(self._references())
            scored = self._scored(bench, references | self._recipes(cells))
            objective, versions = bench.spec.objective, bench.search.versions
        found = [self._cell_result(cell, scored, everything) for cell in cells]
        experts = tuple(scored[model] for model in self.base.models)
        multitask = scored.get(self.base.multitask or "")
        own = scored[self.base.model]
        return BaseResult(
            self.base, self.spec.tasks, objective, own, experts, multitask, tuple(found), versions
        )

    # --- specs ---
    def _search(self, models: Sequence[str], tasks: Sequence[StudyTask]) -> SearchSpec:
        """A search over some models and tasks, but for its space."""
        return SearchSpec(
            name=f"{self.spec.name}: {self.base.title}"[:100],
            base_model=self.base.model,
            models=tuple(models),
            space=NEUTRAL,
            objective=self.spec.objective(tasks),
            engine=self.spec.engine,
            workers=self.spec.workers,
            calibration=self.spec.calibration.model_copy(
                update={"own": self._texts(models, tasks)}
            ),
        )

    def _texts(self, models: Sequence[str], tasks: Sequence[StudyTask]) -> dict[str, str]:
        """Where each expert's calibration texts come from: its own file, or its first task."""
        own = {}
        for expert in self.base.experts:
            if expert.model in models:
                first = held_in(tasks, [expert])[0].task
                own[expert.model] = expert.texts or first
        return own

    def _bench_of(self, everything: SearchSpec) -> SearchSpec:
        """All tasks on all models."""
        extra = [self.base.multitask] if self.base.multitask else []
        return everything.model_copy(
            update={
                "models": (*everything.models, *extra),
                "calibration": type(everything.calibration)(),
            }
        )

    def _with_texts(self, everything: SearchSpec) -> SearchSpec:
        """The texts pinned and kept, where some method at given values needs them."""
        fake = self.spec.engine.name == "fake"
        if fake or not any(needs_texts(entry.declared) for entry in self.spec.methods):
            return everything
        from evomerge.evaluation.calibration_texts import texts_of

        name = texts_of(everything).save()
        calibration = everything.calibration.model_copy(update={"set": name})
        return everything.model_copy(update={"calibration": calibration})

    # --- choosing ---
    def _measure_ahead(self, cells: Sequence[Cell], everything: SearchSpec) -> None:
        """On a cluster, the statistics of all models at once."""
        texts = everything.calibration.set
        if texts is not None and not self.where.inline:
            given = [one for one in cells if one.entry.policy == "default"]
            measured_for_all((default_recipe(cell, texts) for cell in given), self.where)

    def _learn_ahead(self, wave: Sequence[Cell], everything: SearchSpec) -> None:
        """On a cluster, all that learn, side by side."""
        if self.where.inline:
            return
        learning = [cell for cell in wave if cell.entry.declared.learned]
        asked = [task for cell in learning if (task := self._asked_of(cell, everything))]
        missing = [task for task in asked if self._choices.read(task.key) is None]
        for task, found in learn_on_ray(missing, self.where, self.spec.workers):
            if isinstance(found, Choice):
                self._choices.write(task.key, found)
            else:
                self._failed[task.key] = found

    def _asked_of(self, cell: Cell, everything: SearchSpec) -> Task | None:
        """What to choose for; None where what it begins at failed."""
        try:
            return self._asked(cell, everything)
        except CandidateError:
            return None

    def _chosen(self, cell: Cell, everything: SearchSpec) -> tuple[str, Choice] | str:
        """Key and choice of a cell; why there is none where it cannot be had."""
        try:
            return self._choice(cell, everything)
        except CandidateError as error:
            self.tell(f"{cell.label}: {error.message}")
            return error.message

    def _choice(self, cell: Cell, everything: SearchSpec) -> tuple[str, Choice]:
        asked = self._asked(cell, everything)
        if asked.key in self._failed:
            raise self._failed[asked.key]
        found = self._choices.read(asked.key)
        if found is None:
            found = choose(asked, self.where)
            self._choices.write(asked.key, found)
        return asked.key, found

    def _asked(self, cell: Cell, everything: SearchSpec) -> Task:
        """Raises CandidateError where what the cell begins at failed."""
        after_key, after = self._earlier(cell)
        tasks = held_in(self.spec.tasks, [self.base.experts[place] for place in cell.places])
        spec = self._search(cell.models, tasks)
        texts = everything.calibration.set
        key = key_of(cell, self._scope(cell, spec), texts, after_key)
        named = spec.model_copy(update={"space": cell.entry.space_name})
        return Task(cell, named, texts, after, key, self.folder / key)

    def _earlier(self, cell: Cell) -> tuple[str | None, Choice | None]:
        """Key and choice that a cell begins at: of the same seed, or of the only one there is."""
        if cell.entry.after is None:
            return None, None
        for seed in (cell.seed, self.spec.seeds[0]):
            made = self._made.get((cell.entry.after, cell.places, seed))
            if isinstance(made, tuple):
                return made
        raise CandidateError(f"{cell.entry.after} gave nothing to begin at")

    def _scope(self, cell: Cell, spec: SearchSpec) -> str:
        """What models, tasks, splits and engine of a cell are, as one hash; worked out once a subset."""
        known = self.__dict__.setdefault("_scopes", {})
        if cell.places not in known:
            checked = check_search(spec, self.where.store.url, here=self.where.address is None)
            known[cell.places] = checked.scope
        return str(known[cell.places])

    # --- scoring ---
    def _references(self) -> Iterator[tuple[str, tuple[str, Recipe]]]:
        """Base, experts and multitask model as they are, by model."""
        base = self.base.model
        for model in (base, *self.base.models, self.base.multitask):
            if model is not None:
                label = "base" if model == base else short_name(model)
                yield model, (label, soup(label, base, [model]).recipe)

    def _recipes(self, cells: Sequence[Cell]) -> dict[str, tuple[str, Recipe]]:
        """What was chosen from the experts alone, by recipe."""
        found = {}
        for cell in cells:
            made = self._made[_name(cell)]
            if isinstance(made, tuple) and made[1].extra is None:
                found[made[1].recipe.recipe_id] = (cell.entry.label, made[1].recipe)
        return found

    def _scored(self, bench: Bench, recipes: Mapping[str, tuple[str, Recipe]]) -> dict[str, Scored]:
        if self.where.inline:
            self._watch(bench, recipes)
        evaluations = bench.score(list(recipes.values()), Split.TEST)
        labels = [label for label, _ in recipes.values()]
        return {
            name: self._with_outcomes(label, evaluation)
            for name, label, evaluation in zip(recipes, labels, evaluations, strict=True)
        }

    def _watch(self, bench: Bench, recipes: Mapping[str, tuple[str, Recipe]]) -> None:
        """Score what is new one by one, and see how much memory each takes; the first one starts the
        engine, and is not watched."""
        new = [one for one in recipes.values() if not bench.is_scored(one[1], Split.TEST)]
        bench.score(new[:1], Split.TEST)
        for one in new[1:]:
            with watched() as peak:
                bench.score([one], Split.TEST)
            self._peaks.write(one[1].recipe_id, peak)

    def _with_outcomes(self, label: str, evaluation: EvaluationRecord) -> Scored:
        if evaluation.status is not EvaluationStatus.SCORED:
            return Scored(label, None, error=evaluation.error or "could not be scored")
        return Scored(label, evaluation, self.where.store.outcomes(evaluation.id))

    def _cell_result(
        self, cell: Cell, scored: Mapping[str, Scored], everything: SearchSpec
    ) -> CellResult:
        made = self._made[_name(cell)]
        if isinstance(made, str):
            return CellResult(cell, Scored(cell.entry.label, None, error=made))
        choice = made[1]
        if choice.extra is None:
            peak = self._peaks.read(choice.recipe.recipe_id)
            return CellResult(cell, scored[choice.recipe.recipe_id], choice, peak)
        return CellResult(cell, self._polished(cell, choice, everything), choice)

    def _polished(self, cell: Cell, choice: Choice, everything: SearchSpec) -> Scored:
        """A model that was made on the way is scored on a bench that knows it."""
        assert choice.extra is not None, "asked for such choices alone"
        spec = self._bench_of(everything)
        spec = spec.model_copy(update={"models": (*spec.models, choice.extra)})
        with open_bench(self.where, spec) as bench:
            return self._scored(bench, {"": (cell.entry.label, choice.recipe)})[""]


def _name(cell: Cell) -> tuple[str, tuple[int, ...], int]:
    return cell.entry.label, cell.places, cell.seed


__all__ = ["BaseResult", "CellResult", "Scored", "StudyResult", "run_study"]
