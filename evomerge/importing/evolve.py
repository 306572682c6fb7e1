"""A mergekit-evolve configuration, read with its lines; facts about the format from mergekit 0.1.5.

A genome there is an array of numbers: for each group of `layer_granularity` layers, each model, and
each filter (and the rest), a weight, and with TIES and DARE a density. Weights lose their sign
unless `allow_negative_weights`, densities are clipped to [0, 1]; nothing else bounds them. Each group
becomes a slice, or, with `smooth`, an anchor of a gradient over all layers.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError

from evomerge.errors import Problems, SpecError, UsageError

METHODS = ("linear", "task_arithmetic", "ties", "dare_ties", "slerp")
NORMALIZED = ("linear", "ties", "dare_ties")
"""Methods that normalise unless the genome says otherwise."""


class _Lenient(BaseModel):
    """What is not known is kept aside and named, as mergekit itself passes it over."""

    model_config = ConfigDict(frozen=True, extra="ignore", coerce_numbers_to_str=True)


class Genome(_Lenient):
    """The `genome:` block."""

    models: tuple[str, ...] = Field(min_length=2)
    merge_method: str
    base_model: str | None = None
    tokenizer_source: str | None = None
    layer_granularity: int = 0
    normalize: bool | None = None
    allow_negative_weights: bool = False
    filters: tuple[str, ...] = ()
    smooth: bool = False

    @field_validator("models", mode="before")
    @classmethod
    def _names(cls, value: Any) -> Any:
        return [model_name(one) for one in value] if isinstance(value, list) else value

    @field_validator("base_model", mode="before")
    @classmethod
    def _name(cls, value: Any) -> Any:
        return model_name(value)

    @field_validator("filters", mode="before")
    @classmethod
    def _no_filters(cls, value: Any) -> Any:
        return value or ()

    @property
    def normalizes(self) -> bool:
        """Whether weights are divided by their sum."""
        return self.merge_method in NORMALIZED if self.normalize is None else self.normalize


class Task(_Lenient):
    """An entry of `tasks:`; a name alone means accuracy."""

    name: str
    weight: float = 1.0
    metric: str = "acc,none"


class Evolve(_Lenient):
    """The whole configuration."""

    genome: Genome
    tasks: tuple[Task, ...] = Field(min_length=1)
    limit: int | None = None
    num_fewshot: int | None = None
    shuffle: bool = False
    random_init: bool = False
    apply_chat_template: bool = True
    fewshot_as_multiturn: bool = True

    @field_validator("tasks", mode="before")
    @classmethod
    def _names_alone(cls, value: Any) -> Any:
        if not isinstance(value, list):
            return value
        return [{"name": one} if isinstance(one, str) else one for one in value]


@dataclass(frozen=True)
class Read:
    """A configuration, its file, the line of every key by its path, and keys that mergekit does not know."""

    config: Evolve
    file: Path
    lines: Mapping[tuple[str, ...], int]
    unknown: Sequence[tuple[str, ...]] = field(default_factory=tuple)

    def where(self, *path: str) -> str:
        """`FILE:LINE: KEY`, of the innermost key that the file has."""
        return _where(self.file, self.lines, path)


def _where(file: Path, lines: Mapping[tuple[str, ...], int], path: tuple[str, ...]) -> str:
    known = path
    while known and known not in lines:
        known = known[:-1]
    return f"{file}:{lines.get(known, 1)}: {'.'.join(path)}"


def model_name(value: Any) -> Any:
    """A model as recipes name it: mergekit's mappings become `path@revision+adapter`."""
    if not isinstance(value, Mapping):
        return value
    model, lora = value.get("model", value), value.get("lora")
    parts = [_with_revision(part) for part in (model, lora) if part is not None]
    return "+".join(parts)


def _with_revision(part: Any) -> str:
    if not isinstance(part, Mapping):
        return str(part)
    named = part.get("path", part.get("model"))
    revision = part.get("revision")
    return f"{named}@{revision}" if revision else str(named)


def read_evolve(file: Path) -> Read:
    """Read and check a configuration. Raises SpecError, or Problems, with lines."""
    try:
        data = YAML(typ="rt").load(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise SpecError("no such file", where=str(file), remedy="check the path") from error
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"cannot be read: {error}", where=str(file), remedy="check it") from error
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else "?"
        raise SpecError(
            f"not valid YAML: {error.problem}", where=f"{file}:{line}", remedy="mend that line"
        ) from error
    if not isinstance(data, dict) or "genome" not in data:
        raise SpecError(
            "is no configuration of mergekit-evolve: it has no `genome:`",
            where=str(file),
            remedy="a merge configuration needs no import: `evomerge merge` reads it as it is",
        )
    lines = dict(_lines(data))
    read = Read(_validated(data, file, lines), file, lines, tuple(_unknown(data)))
    problems = list(_refusals(read))
    if problems:
        raise problems[0] if len(problems) == 1 else Problems(problems)
    return read


def _validated(data: Any, file: Path, lines: Mapping[tuple[str, ...], int]) -> Evolve:
    try:
        return Evolve.model_validate(data)
    except ValidationError as error:
        problems = []
        for detail in error.errors():
            path = tuple(str(part) for part in detail["loc"])
            where = _where(file, lines, path)
            message = "missing" if detail["type"] == "missing" else detail["msg"]
            remedy = "mergekit-evolve needs it as well: see its own documentation"
            problems.append(SpecError(message, where=where, remedy=remedy))
        raise problems[0] if len(problems) == 1 else Problems(problems) from error


def _refusals(read: Read) -> Iterator[UsageError]:
    """What mergekit-evolve would refuse too, and spaces that have no counterpart."""
    genome = read.config.genome
    if genome.merge_method not in METHODS:
        yield SpecError(
            f"mergekit-evolve has no genome for {genome.merge_method!r}",
            where=read.where("genome", "merge_method"),
            remedy=f"one of {', '.join(METHODS)}",
        )
    elif genome.merge_method in METHODS[1:4] and genome.base_model is None:
        yield SpecError(
            f"{genome.merge_method} needs a base_model",
            where=read.where("genome", "base_model"),
            remedy="name the model that the others were fine-tuned from",
        )
    if genome.merge_method == "slerp" and len(genome.models) != 2:
        yield SpecError(
            f"slerp of {len(genome.models)} models, two at a time for each layer group, has no counterpart",
            where=read.where("genome", "models"),
            remedy="keep two models, a file for each pair; or `merge_method: linear` for all of them",
        )
    if genome.merge_method == "slerp" and (genome.smooth or genome.filters):
        yield SpecError(
            "slerp takes neither smooth nor filters",
            where=read.where("genome", "smooth" if genome.smooth else "filters"),
            remedy="remove them, as for mergekit-evolve",
        )


def _lines(data: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], int]]:
    """Every key's line, counted from 1."""
    if isinstance(data, dict) and hasattr(data, "lc"):
        for key, value in data.items():
            yield (*path, str(key)), data.lc.key(key)[0] + 1
            yield from _lines(value, (*path, str(key)))
    elif isinstance(data, list) and hasattr(data, "lc"):
        for place, value in enumerate(data):
            yield (*path, str(place)), data.lc.item(place)[0] + 1
            yield from _lines(value, (*path, str(place)))


def _unknown(data: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    yield from ((key,) for key in data if key not in Evolve.model_fields)
    genome = data["genome"]
    if isinstance(genome, Mapping):
        yield from (("genome", key) for key in genome if key not in Genome.model_fields)
    for place, task in enumerate(data.get("tasks") or ()):
        if isinstance(task, Mapping):
            yield from (("tasks", str(place), key) for key in task if key not in Task.model_fields)
