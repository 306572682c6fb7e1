"""Search files that come over the network: read safely, and kept to what the server allows.

A search file names folders, hub models, and code that others install. From a stranger each of these is
a request to read or run something on the server, so: no YAML feature beyond plain values, limited size
and depth, every path below an allowed folder (after links are followed), code only where the operator
said so.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    CollectionStartEvent,
    DocumentStartEvent,
    Event,
    NodeEvent,
)

from evomerge.api.settings import ServerSettings
from evomerge.errors import SpecError
from evomerge.hub import parts_of
from evomerge.methods import METHODS
from evomerge.recipe import Recipe
from evomerge.spec import SearchSpec, read_spec

FILE = Path("search file")
NOWHERE = Path("/var/empty")
_SEEDS = 2**63
_PROSE = "objective.system_instruction"
"""Read by models alone, and may say anything."""
MOST_NODES, DEEPEST, LONGEST_LINE = 20_000, 40, 20_000


def read_submission(text: str, settings: ServerSettings) -> SearchSpec:
    """The search that a text describes; SpecError or Problems where it is wrong or not allowed.

    Relative paths start in the first of the server's model folders.
    """
    check_yaml(text)
    folder = settings.model_folders[0] if settings.model_folders else NOWHERE
    try:
        spec = read_spec(text, FILE, folder)
    except (ValueError, RecursionError) as error:  # numbers that no program should read
        raise SpecError(f"not valid YAML: {error}", where=str(FILE), remedy="mend it") from error
    check_allowed(spec, settings)
    return spec


def check_yaml(text: str) -> None:
    """SpecError for what makes YAML dangerous: aliases, tags, several documents, depth and length."""
    if any(len(line) > LONGEST_LINE for line in text.splitlines()):
        raise _refused(f"has a line of more than {LONGEST_LINE} letters", 0)
    depth = nodes = documents = 0
    try:
        for event in _events(text):
            documents += isinstance(event, DocumentStartEvent)
            nodes += isinstance(event, NodeEvent)
            depth += isinstance(event, CollectionStartEvent)
            depth -= isinstance(event, CollectionEndEvent)
            problem = _problem(event, depth, nodes, documents)
            if problem is not None:
                raise _refused(problem, event.start_mark.line + 1)
    except (YAMLError, ValueError, RecursionError) as error:
        reason = str(getattr(error, "problem", None) or error).strip().split("\n")[0]
        raise SpecError(
            f"not valid YAML: {reason}", where=str(FILE), remedy="check it with `evomerge validate`"
        ) from error


def _events(text: str) -> Iterator[Any]:
    yield from YAML(typ="safe", pure=True).parse(text)


def _problem(event: Event, depth: int, nodes: int, documents: int) -> str | None:
    if isinstance(event, AliasEvent) or getattr(event, "anchor", None) is not None:
        return "has an anchor or an alias, which a server does not read"
    if getattr(event, "tag", None) is not None:
        return "has a tag, which a server does not read"
    if documents > 1:
        return "has several documents"
    if depth > DEEPEST:
        return f"is nested more than {DEEPEST} deep"
    return f"has more than {MOST_NODES} values" if nodes > MOST_NODES else None


def _refused(problem: str, line: int) -> SpecError:
    return SpecError(problem, where=f"{FILE}:{line}", remedy="write plain values out in full")


def check_allowed(spec: SearchSpec, settings: ServerSettings) -> None:
    """SpecError for the first thing in a search that the server does not allow."""
    _check_code(spec, settings)
    if spec.strategy.seed >= _SEEDS:
        raise SpecError("is too big", where="strategy.seed", remedy="write a seed below 2^63")
    for where, text in leaves(spec.model_dump(mode="json")):
        if where != _PROSE:
            _check_path(where, text, settings)
    for model in (spec.base_model, *spec.models):
        for part in {*model.split("+"), *parts_of(model)}:
            _check_path("models", part, settings)
        _check_source(model, settings)
    for recipe in spec.strategy.start.recipes:
        if isinstance(recipe, Recipe):
            _check_recipe(recipe, spec)


def _check_code(spec: SearchSpec, settings: ServerSettings) -> None:
    methods = spec.space_spec.method
    named = [methods] if isinstance(methods, str) else list(getattr(methods, "choice", ()))
    foreign = [name for name in named if name not in METHODS]
    asked = {
        "engine.trust_remote_code": spec.engine.trust_remote_code
        and not settings.trust_remote_code,
        "objective.custom": spec.objective.custom is not None and not settings.entry_points,
        "space.method": bool(foreign) and not settings.entry_points,
        "workers.runtime_env": bool(spec.workers.runtime_env) and not settings.runtime_env,
    }
    for where, refused in asked.items():
        if refused:
            raise SpecError(
                "runs code that this server does not allow",
                where=where,
                remedy="leave it out, or ask the operator: docs/security.md",
            )


def leaves(value: Any, where: str = "") -> Iterator[tuple[str, str]]:
    """Every text in a tree of plain values, keys included, with its place."""
    if isinstance(value, str):
        yield where, value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, f"{where}.{key}" if where else str(key))
            yield where, str(key)
    elif isinstance(value, list | tuple):
        for place, inner in enumerate(value):
            yield from leaves(inner, f"{where}[{place}]")


def _check_path(where: str, text: str, settings: ServerSettings) -> None:
    """Default deny: any text that some part of the program could take for a path outside."""
    if is_path(text) and not is_inside(Path(text), settings):
        raise SpecError(
            f"{text[:200]!r} is not below a folder that this server allows",
            where=where,
            remedy="name a model or task folder of the server, relative to its first model folder",
        )


def is_path(text: str) -> bool:
    """Whether a text leads to a file: absolute, from home, upwards, or to something that is there."""
    if text.startswith(("/", "~", "\\")) or ".." in text.replace("\\", "/").split("/"):
        return True
    if "\0" in text:
        return True
    try:
        return "/" in text and Path(text).exists()
    except (OSError, ValueError):
        return False


def is_inside(path: Path, settings: ServerSettings) -> bool:
    """Whether a path leads below an allowed folder, after links are followed."""
    try:
        real = path.resolve()
    except (OSError, ValueError, RuntimeError):
        return False
    allowed = (*settings.model_folders, *settings.task_folders)
    return path.is_absolute() and any(real.is_relative_to(folder.resolve()) for folder in allowed)


def _check_source(model: str, settings: ServerSettings) -> None:
    """What is no allowed folder is fetched from the hub, where the server does that."""
    for part in parts_of(model):
        if Path(part).is_absolute():
            continue
        if Path(part).is_dir():
            raise SpecError(
                "is a folder beside the server's program, and no model of it",
                where=part[:200],
                remedy="name a folder below the server's model folders",
            )
        if not settings.hub:
            raise SpecError(
                "this server takes models from its own folders alone",
                where=part[:200],
                remedy="name a folder below the server's model folders",
            )


def _check_recipe(recipe: Recipe, spec: SearchSpec) -> None:
    known = {spec.base_model, *spec.models}
    strange = [model for model in recipe.all_models() if model not in known]
    if strange:
        raise SpecError(
            f"merges {strange[0][:200]}, which is none of the search's models",
            where="strategy.start.recipes",
            remedy="write the models as base_model and models have them",
        )
