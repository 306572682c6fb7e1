"""`SearchSpec`: the file a user submits.

Read with line numbers, checked completely, and reported in one go: each problem names the file, the
line, the field and what to write instead.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Discriminator, Field, Tag, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError

from evomerge.errors import NotFoundError, Problems, SpecError, UsageError, did_you_mean
from evomerge.fitness import Objective
from evomerge.hub import parts_of
from evomerge.recipe import Frozen, Recipe
from evomerge.resources import resource_folder
from evomerge.space import SpaceSpec, count_problems

SOUP = "greedy_soup"


class Starts(Frozen):
    """What a search knows before its first candidate. The scored baselines always belong to it.

    recipes: mergekit YAML files that are tried first. searches: earlier searches of the store over the
        same base, models, tasks and space, whose scores the strategy is told: ids, or `auto` for all
        of them that are finished when this one is submitted.
    """

    recipes: tuple[
        Annotated[
            Annotated[Recipe, Tag("Recipe")] | Annotated[Path, Tag("Path")],
            Discriminator(lambda value: "Path" if isinstance(value, str | Path) else "Recipe"),
        ],
        ...,
    ] = ()
    searches: Annotated[
        Annotated[tuple[str, ...], Tag("list")] | Annotated[Literal["auto"], Tag("auto")],
        Discriminator(lambda value: "auto" if isinstance(value, str) else "list"),
    ] = ()


class StrategySpec(Frozen):
    """Which optimiser, and its settings; `auto` population is the strategy's own choice.

    name: `auto` chooses by dimension, types of parameters, budget and objectives, and says why.
        `greedy_soup` needs no optimiser: it averages models, best first, while the average gets better.
    asynchronous: ask for a candidate whenever a worker is free, without waiting for a generation.
        `auto`: where there is more than one worker. The history then depends on when workers finish;
        a resumed search still continues its own.
    """

    name: Literal[
        "auto",
        "cma",
        "sep-cma",
        "lra-cma",
        "ipop",
        "bipop",
        "catcma",
        "gp",
        "nsga2",
        "random",
        "grid",
        "greedy_soup",
    ] = "auto"
    sigma0: float = Field(0.25, gt=0, le=1)
    population_size: Annotated[
        Annotated[int, Field(ge=2), Tag("int")] | Annotated[Literal["auto"], Tag("auto")],
        Discriminator(lambda value: "auto" if isinstance(value, str) else "int"),
    ] = "auto"
    seed: int = Field(0, ge=0)
    asynchronous: Annotated[
        Annotated[bool, Tag("bool")] | Annotated[Literal["auto"], Tag("auto")],
        Discriminator(lambda value: "auto" if isinstance(value, str) else "bool"),
    ] = "auto"
    start: Starts = Starts()


class RacingSpec(Frozen):
    """Whether candidates stop early that cannot matter any more.

    Documents are answered in blocks, the same shuffled blocks for every candidate. After each, one that
    is worse than the candidate it has to beat, at the given error, answers no more.

    error: the chance that the search's true winner is dropped for being worse. lead_after: from this
        share of the documents on a candidate leaves also if it does not lead; 1: `error` alone
        decides. blocks: into how many parts the search split is cut.
    """

    enabled: bool = True
    error: float = Field(0.05, gt=0, lt=0.5)
    lead_after: float = Field(0.2, gt=0, le=1)
    blocks: int = Field(10, ge=2)


class Budget(Frozen):
    """When a search stops: whichever limit comes first. Baselines and finals do not count.

    candidates: how many are tried. tokens: read and generated. hours: of work, with all workers busy.
    gpu_hours: of all GPUs together. patience: so many candidates without a better one.
    """

    candidates: int = Field(200, gt=0)
    tokens: int | None = Field(None, gt=0)
    hours: float | None = Field(None, gt=0)
    gpu_hours: float | None = Field(None, gt=0)
    patience: int | None = Field(None, gt=0)


ANY_ACCELERATOR = "any"


class WorkersSpec(Frozen):
    """How many workers, and what each one needs.

    accelerator_type: of GPUs, as Ray names them (`A100`, `H100`). Null: all workers have to have the
        kind that the first one has, because others round differently; `any`: they may differ.
    resources: further resources of a Ray cluster, each with its amount.
    autoscale: the cluster starts nodes on demand, so more may be asked for than it has now.
    idle_minutes: after which a worker without work is given back, and its node with it; null: never.
    stage: whether models are copied to the node's own disk before they are read; `auto`: where they
        lie on a network file system.
    runtime_env: what Ray sets up for workers and controller (`pip`, `env_vars`, `working_dir` …).
    """

    max: int = Field(1, gt=0)
    cpus: float = Field(1, gt=0)
    gpus: float = Field(0, ge=0)
    attempts: int = Field(3, gt=0)
    """How often a candidate is tried before it counts as failed."""
    accelerator_type: str | None = Field(None, min_length=1)
    resources: dict[str, Annotated[float, Field(ge=0)]] = Field(default_factory=dict)
    autoscale: bool = False
    idle_minutes: float | None = Field(10.0, gt=0)
    stage: Literal["auto", "always", "never"] = "auto"
    runtime_env: dict[str, Any] = Field(default_factory=dict)


class EngineSpec(Frozen):
    """The engine that answers the tasks.

    name: `vllm`, or `hf` where vLLM cannot load a model; never chosen silently. `fake` scores
        recipes by a formula, without any model: for tests and simulations.
    """

    name: Literal["vllm", "hf", "fake"] = "vllm"
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = "auto"
    max_model_len: int | None = Field(None, gt=0)
    gpu_memory_utilization: float = Field(0.85, gt=0, le=1)
    kv_cache_gib: float = Field(0.25, gt=0)
    """Size of the KV cache on a CPU."""
    max_num_seqs: int = Field(256, gt=0)
    tensor_parallel_size: int = Field(1, gt=0)
    enforce_eager: bool | None = None
    """None: eager on a CPU, CUDA graphs on a GPU."""
    models_on: Literal["auto", "device", "pinned", "mapped"] = "auto"
    """Where base and experts lie: on the GPU, in pinned memory, or in mapped files."""
    rank_memory_gib: float | None = Field(None, ge=0)
    """Host memory for DELLA's ranks, a byte for an entry and expert; None: a quarter of what is free."""
    trust_remote_code: bool = False
    fake_seconds: float = Field(0.0, ge=0)
    """How long the fake engine takes for a candidate."""

    @property
    def rank_bytes(self) -> int | None:
        """`rank_memory_gib` in bytes."""
        return None if self.rank_memory_gib is None else int(self.rank_memory_gib * 2**30)


class CalibrationSpec(Frozen):
    """The texts that merge methods measure models on (fisher, regmean, mats, sens_merging).

    data: `tasks`: documents of the search split with their answers; or a .txt or .jsonl file.
    own: texts of single models, in place of `data`: a file, or the name of a task. examples: at most
    so many a model; max_length: tokens of each. set: the texts' id, filled in on submission.
    """

    data: str = "tasks"
    own: dict[str, str] = Field(default_factory=dict)
    examples: int = Field(128, gt=0)
    max_length: int = Field(512, ge=2)
    set: str | None = None


class Selection(Frozen):
    """How the winner is chosen: the `top` candidates by search score meet on the validation split."""

    top: int = Field(5, gt=0)


class SearchSpec(Frozen):
    """Everything a search is."""

    name: str = Field("search", min_length=1, max_length=100)
    base_model: str
    models: tuple[str, ...] = Field(min_length=1)
    space: Annotated[
        Annotated[str, Tag("str")] | Annotated[SpaceSpec, Tag("SpaceSpec")],
        Discriminator(lambda value: "str" if isinstance(value, str) else "SpaceSpec"),
    ] = "ties_per_layer"
    objective: Objective
    strategy: StrategySpec = StrategySpec()
    racing: RacingSpec = RacingSpec()
    budget: Budget = Budget()
    workers: WorkersSpec = WorkersSpec()
    engine: EngineSpec = EngineSpec()
    selection: Selection = Selection()
    calibration: CalibrationSpec = CalibrationSpec()
    out_dtype: Literal["float32", "float16", "bfloat16"] | None = None

    @model_validator(mode="after")
    def _models_differ(self) -> "SearchSpec":
        if self.models_named_twice:
            raise ValueError(f"model named twice: {', '.join(self.models_named_twice)}")
        return self

    @model_validator(mode="after")
    def _gpus_to_count(self) -> "SearchSpec":
        if self.budget.gpu_hours is not None and self.workers.gpus == 0:
            raise ValueError("budget.gpu_hours counts GPUs, and workers.gpus is 0: set one of them")
        return self

    @property
    def models_named_twice(self) -> list[str]:
        everyone = (self.base_model, *self.models)
        return sorted({model for model in everyone if everyone.count(model) > 1})

    @property
    def space_spec(self) -> SpaceSpec:
        """The space itself, loaded where the file names a preset."""
        return load_preset(self.space) if isinstance(self.space, str) else self.space


def load_preset(name: str) -> SpaceSpec:
    """The preset `search_spaces/NAME.yml`."""
    folder = resource_folder("search_spaces")
    known = [path.stem for path in folder.glob("*.yml")]
    if name not in known:  # also whatever would lead out of the folder
        raise NotFoundError(
            f"no search space named {name!r}", where="space", remedy=did_you_mean(name, known)
        )
    return SpaceSpec.model_validate(YAML(typ="safe").load(folder / f"{name}.yml"))


def load_spec(file: Path) -> SearchSpec:
    """Read a search file. Relative paths in it are taken from its own folder.

    Raises SpecError or Problems, each naming file, line, field and remedy.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise SpecError("no such file", where=str(file), remedy="check the path") from error
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"cannot be read: {error}", where=str(file), remedy="check it") from error
    return read_spec(text, file, file.parent)


def read_spec(text: str, file: Path, folder: Path) -> SearchSpec:
    """The same from a search file's text; errors call it `file`, relative paths start in `folder`."""
    try:
        data = YAML(typ="rt").load(text)
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else "?"
        raise SpecError(
            f"not valid YAML: {error.problem}", where=f"{file}:{line}", remedy="mend that line"
        ) from error
    if not isinstance(data, dict):
        raise SpecError("holds no mapping", where=str(file), remedy="see `evomerge schema`")
    spec = _validate(data, file)
    try:
        _ = spec.space_spec
    except NotFoundError as error:
        where = f"{file}:{line_of(data, ['space'])}: space"
        raise NotFoundError(error.message, where=where, remedy=error.remedy) from error
    spec = _resolve_paths(spec, folder.resolve())
    if spec.models_named_twice:  # one folder, written in two ways
        raise SpecError(
            f"model named twice: {', '.join(spec.models_named_twice)}",
            where=f"{file}:{line_of(data, ['models'])}: models",
            remedy="name each model once",
        )
    for problem in count_problems(spec.space_spec, len(spec.models)):
        where = f"{file}:{line_of(data, ['models'])}: models"
        raise SpecError(problem.message, where=where, remedy=problem.remedy)
    return spec


def _validate(data: Any, file: Path) -> SearchSpec:
    try:
        return SearchSpec.model_validate(data)
    except ValidationError as error:
        problems = list(problems_of(error, data, file))
        raise problems[0] if len(problems) == 1 else Problems(problems) from error
    except UsageError as error:
        raise type(error)(error.message, where=str(file), remedy=error.remedy) from error


def problems_of(
    error: ValidationError,
    data: Any,
    file: Path,
    model: type[BaseModel] = SearchSpec,
    page: str = "docs/search_file.md",
) -> Iterator[SpecError]:
    """Each thing that pydantic found wrong with a file, with its line and a remedy.

    Args:
        data: as ruamel.yaml read it, with line numbers. model: what the file was taken for; page: where
        its fields are described.
    """
    for detail in error.errors():
        location = _in_file(data, [part for part in detail["loc"] if _is_field(part)])
        where = f"{file}:{line_of(data, location)}: {'.'.join(map(str, location))}"
        message = detail["msg"].removeprefix("Value error, ")
        if detail["type"] == "extra_forbidden":
            known = _known_keys(model, location[:-1])
            yield SpecError(
                f"unknown key {location[-1]!r}",
                where=where,
                remedy=did_you_mean(str(location[-1]), known),
            )
        elif detail["type"] == "missing":
            yield SpecError("missing", where=where, remedy=f"add `{location[-1]}: …`")
        elif detail["type"] == "space":
            yield SpecError(message, where=where, remedy=detail["ctx"]["remedy"])
        else:
            given = "" if isinstance(detail["input"], dict) else f" (given: {detail['input']!r})"
            yield SpecError(message + given, where=where, remedy=f"see {page}")


def _is_field(part: object) -> bool:
    """Whether a part of pydantic's location stands in the file, and is no name of a union's arm."""
    return isinstance(part, int) or (
        isinstance(part, str)
        and part
        not in {
            "str",
            "SpaceSpec",
            "Range",
            "Choice",
            "bool",
            "float",
            "int",
            "auto",
            "list",
            "Path",
            "Recipe",
        }
        and not part.startswith(("literal[", "function-", "constrained-"))
    )


def _in_file(data: Any, location: Sequence[object]) -> list[object]:
    """`location` without `parameters` where the file writes a space's parameters beside `method`."""
    if list(location[:2]) == ["space", "parameters"] and "parameters" not in data["space"]:
        return ["space", *location[2:]]
    return list(location)


def line_of(data: Any, location: Sequence[object]) -> int:
    """The line of the innermost part of `location` that the file has."""
    line = 1
    for part in location:
        if hasattr(data, "lc"):
            try:
                line = data.lc.data[part][0] + 1
                data = data[part]
            except (KeyError, IndexError, TypeError):
                break
    return line


def _known_keys(model: type[BaseModel], location: Sequence[object]) -> list[str]:
    models = [model]
    for part in location:
        # No field: an index of a list, or a key such as the parameters of a space.
        fields = [
            model.model_fields.get(str(part)) or model.model_fields.get("parameters")
            for model in models
            if isinstance(part, str)
        ]
        inner = [one for field in fields if field for one in _models_in(field.annotation)]
        models = inner or models
    return [name for model in models for name in model.model_fields]


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [one for arm in getattr(annotation, "__args__", ()) for one in _models_in(arm)]


def _resolve_paths(spec: SearchSpec, folder: Path) -> SearchSpec:
    include = spec.objective.include_path
    resolved = None if include is None else (folder / include.expanduser()).resolve()
    return spec.model_copy(
        update={
            "base_model": resolve_model(spec.base_model, folder),
            "models": tuple(resolve_model(model, folder) for model in spec.models),
            "objective": spec.objective.model_copy(update={"include_path": resolved}),
            "strategy": spec.strategy.model_copy(update={"start": _resolve_start(spec, folder)}),
            "calibration": _resolve_texts(spec.calibration, folder),
        }
    )


def _resolve_texts(calibration: CalibrationSpec, folder: Path) -> CalibrationSpec:
    """Files that are there become absolute paths; the rest are names of tasks, or mistakes."""

    def resolved(name: str) -> str:
        path = (folder / Path(name).expanduser()).resolve()
        return str(path) if path.is_file() else name

    own = {model: resolved(name) for model, name in calibration.own.items()}
    return calibration.model_copy(update={"data": resolved(calibration.data), "own": own})


def _resolve_start(spec: SearchSpec, folder: Path) -> Starts:
    start = spec.strategy.start
    recipes = tuple(
        (folder / recipe.expanduser()).resolve() if isinstance(recipe, Path) else recipe
        for recipe in start.recipes
    )
    return start.model_copy(update={"recipes": recipes})


def resolve_model(name: str, folder: Path) -> str:
    """Existing folders, of model and adapter, become absolute paths; anything else stays (a hub id)."""
    paths = [(folder / Path(part).expanduser()).resolve() for part in parts_of(name, folder)]
    parts = zip(paths, parts_of(name, folder), strict=True)
    return "+".join(str(path) if path.is_dir() else part for path, part in parts)
