"""What can be wrong with a recipe before any checkpoint is opened: checked against the methods.

Used by the YAML reader, by preflight and by `evomerge validate`. Torch-free.
"""

import math
import re
from collections.abc import Iterator

from evomerge.errors import Problems, RecipeError, did_you_mean
from evomerge.merging.chat_templates import check_template
from evomerge.merging.parts import placed_slices
from evomerge.methods import Method, Parameter, get_method
from evomerge.methods.amounts import weights_cancel
from evomerge.recipe import Recipe, Scalar, Setting, Settings, Slice, Source

DTYPES = ("float32", "float16", "bfloat16")
ALIGNMENTS = ("permutation", "activations")
"""How the units of models can be brought into one order before they are merged."""
_MODULE = re.compile(r"\w+(\.\w+)*")


def validate(recipe: Recipe, where: str | None = None) -> None:
    """Raise a RecipeError for one problem, Problems for several, nothing for none."""
    problems = list(find_problems(recipe, where))
    if len(problems) == 1:
        raise problems[0]
    if problems:
        raise Problems(problems)


def find_problems(recipe: Recipe, where: str | None = None) -> Iterator[RecipeError]:
    """Every problem of a recipe; `where` names the file it came from."""
    try:
        method = get_method(recipe.merge_method, where)
    except RecipeError as error:
        yield error
        return
    yield from _dtypes(recipe, where)
    yield from _modules(recipe, where)
    yield from _tokens(recipe, where)
    yield from _structure(recipe, method, where)
    yield from _chat_template(recipe, where)
    for place, settings in _all_settings(recipe):
        yield from _settings(method, settings, _place(where, place))
    for part, place in placed_slices(recipe):
        yield from _group(recipe, method, part, _place(where, place))


def _modules(recipe: Recipe, where: str | None) -> Iterator[RecipeError]:
    """Modules with models or slices, names that can begin a tensor's name."""
    modules = recipe.modules or {}
    for part in recipe.parts:
        if any(source.layer_range for source in part.models or ()):
            remedy = "list the models under slices: sources:"
            yield RecipeError("layer_range under models", where=where, remedy=remedy)
    for name, module in modules.items():
        place = _place(where, f"module {name}")
        if (module.models is None) == (module.slices is None):
            remedy = "remove one, or add models: [...]"
            yield RecipeError("give exactly one of models and slices", where=place, remedy=remedy)
        if not _MODULE.fullmatch(name):
            remedy = "write the first parts of the names of its tensors, as vision_tower"
            yield RecipeError(f"{name!r} begins no tensor's name", where=place, remedy=remedy)


def _structure(recipe: Recipe, method: Method, where: str | None) -> Iterator[RecipeError]:
    """What reordering units, or making a model of another structure, cannot go with."""
    if recipe.align is not None and recipe.align not in ALIGNMENTS:
        remedy = did_you_mean(recipe.align, list(ALIGNMENTS))
        yield RecipeError(f"align is {recipe.align!r}", where=where, remedy=remedy)
    elif recipe.align is not None and (recipe.slices or recipe.modules or method.rebuilds):
        what = f"{method.name} aligns by itself" if method.rebuilds else "slices or modules"
        yield RecipeError(
            f"align: {recipe.align} does not go with {what}", where=where, remedy="remove align"
        )
    elif recipe.align is not None and method.statistics is not None:
        yield RecipeError(
            f"align: {recipe.align} with {method.name}, whose statistics are in the old order",
            where=where,
            remedy="write the reordered model first: merge it alone, with align, by passthrough",
        )
    if recipe.align == "activations" and recipe.calibration is None:
        yield RecipeError(
            "align: activations matches units by what they answer to texts, and none are named",
            where=where,
            remedy="add `calibration: texts.jsonl`, or write align: permutation",
        )
    if method.rebuilds and (recipe.models is None or recipe.tokenizer is not None):
        yield RecipeError(
            f"{method.name} merges whole models of one vocabulary",
            where=where,
            remedy="list them under models:, without slices, modules and tokenizer",
        )


def _chat_template(recipe: Recipe, where: str | None) -> Iterator[RecipeError]:
    try:
        if recipe.chat_template is not None:
            check_template(recipe.chat_template, where)
    except RecipeError as error:
        yield error


def _tokens(recipe: Recipe, where: str | None) -> Iterator[RecipeError]:
    """Rows of embeddings come from models that are merged: others are not opened."""
    known = recipe.all_models()
    tokens = recipe.tokenizer.tokens if recipe.tokenizer else {}
    for text, token in tokens.items():
        if token.model is not None and token.model not in known:
            yield RecipeError(
                f"{token.model!r} is none of the merged models",
                where=_place(where, f"token {text}"),
                remedy=did_you_mean(token.model, list(known)),
            )


def _place(where: str | None, place: str) -> str:
    return f"{where}: {place}" if where and place else where or place


def _dtypes(recipe: Recipe, where: str | None) -> Iterator[RecipeError]:
    for field in ("dtype", "out_dtype"):
        value = getattr(recipe, field)
        if value is not None and value not in DTYPES:
            yield RecipeError(
                f"{field} {value!r} is not supported",
                where=where,
                remedy=did_you_mean(value, list(DTYPES)),
            )


def _all_settings(recipe: Recipe) -> Iterator[tuple[str, Settings]]:
    """Every `parameters` block, as it is written: a module's appear once, not in every slice."""
    yield "parameters", recipe.parameters
    for name, module in (recipe.modules or {}).items():
        yield f"module {name}", module.parameters
    for part in recipe.parts:
        for source in part.models or ():
            yield f"model {source.model}", source.parameters
        for number, run in enumerate(part.slices or ()):
            yield f"slice {number}", run.parameters
            for source in run.sources:
                yield f"slice {number}, model {source.model}", source.parameters


def _settings(method: Method, settings: Settings, where: str) -> Iterator[RecipeError]:
    for name, setting in settings.items():
        yield from setting_problems(method, name, setting, where)


def setting_problems(
    method: Method, name: str, setting: Setting, where: str
) -> Iterator[RecipeError]:
    """What is wrong with one parameter of a method: its name, or its values."""
    parameter = method.parameter(name)
    if parameter is not None:
        yield from _values(parameter, setting, where)
        return
    known = [known.name for known in method.parameters]
    yield RecipeError(
        f"{method.name} has no parameter {name!r}",
        where=where,
        remedy=did_you_mean(str(name), known),
    )


def _values(parameter: Parameter, setting: Setting, where: str) -> Iterator[RecipeError]:
    if not setting:
        yield RecipeError(f"{parameter.name} has no value", where=where, remedy="give one")
    for rule in setting:
        values = rule.value if isinstance(rule.value, tuple) else (rule.value,)
        if not values:
            yield RecipeError(f"{parameter.name} has an empty list", where=where)
        for value in values:
            if problem := _value(parameter, value):
                yield RecipeError(
                    f"{parameter.name} is {value!r}: {problem}",
                    where=where,
                    remedy=f"{parameter.name}: {parameter.doc} ({parameter.bounds})",
                )


def _value(parameter: Parameter, value: Scalar) -> str | None:
    if parameter.kind == "choice":
        return None if value in parameter.choices else f"it must be {parameter.bounds}"
    if isinstance(value, str):
        return "it must be a number" if parameter.kind != "bool" else "it is true or false"
    if parameter.kind == "bool":
        return None if value in {0, 1} else "it is true or false"
    if not math.isfinite(value):
        return "it must be a finite number"
    return None if parameter.accepts(value) else f"it must be {parameter.bounds}"


def _group(recipe: Recipe, method: Method, part: Slice, where: str) -> Iterator[RecipeError]:
    base = part.base_model or recipe.base_model
    if base is None and method.base in {"required", "endpoint"}:
        yield RecipeError(
            f"{method.name} needs a base_model", where=where, remedy="add base_model: PATH"
        )
    merged = merged_sources(method, part, base)
    yield from _count(method, len(merged), where)
    yield from _lengths(part, where)
    yield from _doubles(part, where)
    for source in (*merged, None):
        yield from _missing(recipe, method, part, source, where)
    yield from _cancelling(recipe, method, part, merged, where)


def merged_sources(method: Method, part: Slice, base: str | None) -> tuple[Source, ...]:
    """The sources whose tensors are combined: without a base that is subtracted, an endpoint first."""
    if method.base == "optional" or (method.base == "origin" and base is None):
        return part.sources
    others = tuple(source for source in part.sources if source.model != base)
    if method.base != "endpoint" or base is None:
        return others
    return (base_source(part, base), *others)


def base_source(part: Slice, base: str) -> Source:
    """The base's own source; where it is not listed, the layers that the first source gives."""
    listed = next((source for source in part.sources if source.model == base), None)
    first = part.sources[0].layer_range if part.sources else None
    return listed or Source(model=base, layer_range=first)


def _count(method: Method, count: int, where: str) -> Iterator[RecipeError]:
    most = method.max_models
    if count < method.min_models or (most is not None and count > most):
        wanted = f"{method.min_models}" if most == method.min_models else f"{method.min_models}+"
        besides = " besides the base" if method.base in {"required", "origin"} else ""
        yield RecipeError(
            f"{method.name} merges {wanted} models{besides}, not {count}",
            where=where or None,
            remedy="list the models under models:, each once",
        )


def _doubles(part: Slice, where: str) -> Iterator[RecipeError]:
    """The same layers of the same model twice: its weights would be taken for two models'."""
    seen: set[tuple[str, tuple[int, int] | None]] = set()
    for source in part.sources:
        key = (source.model, source.layer_range)
        if key in seen:
            yield RecipeError(
                f"model {source.model} is listed twice",
                where=where or None,
                remedy="list it once, with the sum of its weights",
            )
        seen.add(key)


def _lengths(part: Slice, where: str) -> Iterator[RecipeError]:
    ranges = [source.layer_range for source in part.sources if source.layer_range is not None]
    for low, high in ranges:
        if not 0 <= low < high:
            yield RecipeError(
                f"layer_range [{low}, {high}] is empty",
                where=where,
                remedy="write [first, last + 1]",
            )
    if len({high - low for low, high in ranges}) > 1:
        yield RecipeError(
            "the sources of one slice take different numbers of layers",
            where=where,
            remedy="give every source a layer_range of the same length",
        )


def setting_of(recipe: Recipe, part: Slice, source: Source | None, name: str) -> Iterator[Setting]:
    """The settings of a parameter, most specific first: source, slice (and module), recipe."""
    for settings in (source.parameters if source else {}, part.parameters, recipe.parameters):
        if name in settings:
            yield settings[name]


def _missing(
    recipe: Recipe, method: Method, part: Slice, source: Source | None, where: str
) -> Iterator[RecipeError]:
    owner = f"model {source.model} has no " if source else "missing: "
    for parameter in method.parameters:
        wanted = parameter.required and parameter.per_model == (source is not None)
        if wanted and not any(setting_of(recipe, part, source, parameter.name)):
            yield RecipeError(
                f"{owner}{parameter.name}, which {method.name} needs",
                where=where or None,
                remedy=f"add parameters: {{{parameter.name}: VALUE}}",
            )


def _cancelling(
    recipe: Recipe, method: Method, part: Slice, merged: tuple[Source, ...], where: str
) -> Iterator[RecipeError]:
    normalize = _constant(recipe, method, part, None, "normalize")
    weights = [_constant(recipe, method, part, source, "weight") for source in merged]
    known = [float(weight) for weight in weights if weight is not None]
    if normalize and known and len(known) == len(weights) and weights_cancel(known):
        yield cancel_error(known, where)


def cancel_error(weights: list[float], where: str | None) -> RecipeError:
    """The weights that normalisation would divide by sum to (almost) nothing."""
    listing = ", ".join(f"{weight:g}" for weight in weights)
    return RecipeError(
        f"the weights cancel ({listing}), so they cannot be normalised",
        where=where or None,
        remedy="change a weight, or set normalize: false",
    )


def _constant(
    recipe: Recipe, method: Method, part: Slice, source: Source | None, name: str
) -> Scalar | None:
    """The value of a parameter where it is one number for all tensors, else None."""
    parameter = method.parameter(name)
    setting = next(setting_of(recipe, part, source, name), None)
    if setting is None:
        return parameter.default if parameter else None
    plain = len(setting) == 1 and setting[0].filter is None
    value = setting[0].value if plain else None
    return None if isinstance(value, tuple) else value
