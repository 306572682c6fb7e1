"""A recipe in lines that people read, and what two recipes differ in. Torch-free."""

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from evomerge.merging.parts import WHOLE
from evomerge.recipe import Module, Recipe, Rule, Setting, Settings, Source, Token, Value

ALL = "all"


class Line(NamedTuple):
    """One value: where it holds, for which model (None for what all share), for which tensors."""

    place: str
    model: str | None
    layers: str
    parameter: str
    tensors: str
    value: Value | None


class Difference(NamedTuple):
    """What two recipes say differently; None where one says nothing."""

    what: str
    first: str | None
    second: str | None


def head_of(recipe: Recipe) -> dict[str, str]:
    """What a recipe says beside its parameters; defaults are left out."""
    found: dict[str, object] = {
        "method": recipe.merge_method,
        "base model": recipe.base_model,
        "models": ", ".join(dict.fromkeys(source.model for source in recipe.sources())),
        "dtype": recipe.dtype,
        "output dtype": recipe.out_dtype,
        "seed": recipe.seed or None,
        "chat template": recipe.chat_template,
    }
    if recipe.tokenizer is not None:
        found["tokenizer"] = recipe.tokenizer.source
        found["padded to a multiple of"] = recipe.tokenizer.pad_to_multiple_of
        for text, token in recipe.tokenizer.tokens.items():
            found[f"token {text!r}"] = _origin(token)
    return {what: str(value) for what, value in found.items() if value is not None}


def _origin(token: Token) -> str:
    row = "zeros" if token.model is None else token.model
    if token.token is not None:
        row += f", its {token.token!r}"
    if token.token_id is not None:
        row += f", its number {token.token_id}"
    return row + ", in all models" * token.force


def lines_of(recipe: Recipe) -> Iterator[Line]:
    """Every value of a recipe, in file order; a model without values of its own has one line."""
    yield from _shared("", recipe.parameters)
    yield from _part("", recipe)
    for name, module in (recipe.modules or {}).items():
        place = "" if name == WHOLE else name
        yield from _shared(place, module.parameters)
        yield from _part(place, module)


def _part(place: str, part: Recipe | Module) -> Iterator[Line]:
    for source in part.models or ():
        yield from _own(place, source)
    for number, run in enumerate(part.slices or ()):
        inner = ", ".join([place] * bool(place) + [f"slice {number}"])
        if run.base_model is not None:
            yield Line(inner, None, ALL, f"base model {run.base_model}", ALL, None)
        yield from _shared(inner, run.parameters)
        for source in run.sources:
            yield from _own(inner, source)


def _shared(place: str, settings: Settings) -> Iterator[Line]:
    for name, setting in settings.items():
        for tensors, rule in _named(setting):
            yield Line(place, None, ALL, name, tensors, rule.value)


def _own(place: str, source: Source) -> Iterator[Line]:
    span = source.layer_range
    layers = ALL if span is None else f"{span[0]}-{span[1] - 1}"
    for name, setting in source.parameters.items():
        for tensors, rule in _named(setting):
            yield Line(place, source.model, layers, name, tensors, rule.value)
    if not source.parameters:
        yield Line(place, source.model, layers, "", ALL, None)


def _named(setting: Setting) -> Iterator[tuple[str, Rule]]:
    for number, rule in enumerate(setting):
        yield rule.filter or ("all others" if number else ALL), rule


def value_text(value: Value | None, *, exact: bool = False) -> str:
    """A value as people write it; gradients from the first layer to the last."""
    if isinstance(value, tuple):
        return " → ".join(value_text(item, exact=exact) for item in value)
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return value
    return f"{value:.17g}" if exact and float(f"{value:.6g}") != value else f"{value:.6g}"


def differences(first: Recipe, second: Recipe) -> tuple[Difference, ...]:
    """Everything that two recipes say differently; empty exactly where they are equal."""
    one, two = _facts(first), _facts(second)
    found = tuple(
        Difference(what, one.get(what), two.get(what))
        for what in dict.fromkeys([*one, *two])
        if one.get(what) != two.get(what)
    )
    if not found and first != second:
        return (Difference("order of rules, models or slices", first.recipe_id, second.recipe_id),)
    return found


def _facts(recipe: Recipe) -> dict[str, str]:
    facts = head_of(recipe)
    seen: Counter[str] = Counter()
    for line in lines_of(recipe):
        words = [line.place, line.model or "", line.parameter or "taken"]
        words += [f"[{line.tensors}]"] * (line.tensors not in {ALL, "all others"})
        what = " ".join(word for word in words if word)
        seen[what] += 1
        if seen[what] > 1:
            what += f" #{seen[what]}"
        value = value_text(line.value, exact=True) or "yes"
        facts[what] = value if line.layers == ALL else f"{value} (layers {line.layers})"
    return facts
