"""What can be wrong with the parameters of a space, seen beside the declarations of its methods.

Yields pydantic's own details, each at its place, so that a file's reader can name the line.
"""

from collections.abc import Iterator, Mapping, Sequence

from pydantic_core import InitErrorDetails, PydanticCustomError

from evomerge.errors import RecipeError, did_you_mean
from evomerge.methods import Method, Parameter, get_method
from evomerge.recipe import Scalar
from evomerge.space.ranked import ranked_problem
from evomerge.space.searched import Choice, Fixed, Range, Searched

Place = tuple[str, ...]
Found = tuple[str, str]
"""A message and its remedy."""


def parameter_problems(
    names: Sequence[Scalar], parameters: Mapping[str, Searched | Fixed], keys: Sequence[str]
) -> Iterator[InitErrorDetails]:
    """Everything wrong with `parameters` of the methods `names`; `keys` are what else a file has."""
    try:
        methods = [get_method(str(name)) for name in names]
    except RecipeError as error:
        yield problem(("method",), error.message, error.remedy or "")
        return
    known = dict.fromkeys(own.name for method in methods for own in method.parameters)
    for name, value in parameters.items():
        if name not in known:
            what = f"{' and '.join(map(str, names))} takes no {name!r}"
            yield problem(("parameters", name), what, did_you_mean(name, [*known, *keys]))
        elif found := _unfit_for_any(methods, name, value):
            yield problem(("parameters", name), *found)
    yield from _missing(methods, parameters)
    for method in methods:
        if conflict := ranked_problem(method, parameters):
            place, message, remedy = conflict
            yield problem(("parameters", place), message, remedy)


def problem(place: Place, message: str, remedy: str) -> InitErrorDetails:
    """One problem as pydantic reports it."""
    # The message goes in as context: pydantic would take braces in it for fields.
    error = PydanticCustomError("space", "{message}", {"message": message, "remedy": remedy})
    return {"type": error, "loc": place, "input": None}


def _missing(
    methods: Sequence[Method], parameters: Mapping[str, Searched | Fixed]
) -> Iterator[InitErrorDetails]:
    needed: dict[str, tuple[list[str], Parameter]] = {}
    for method in methods:
        for own in method.parameters:
            if own.required and own.name not in parameters:
                needed.setdefault(own.name, ([], own))[0].append(method.name)
    for name, (takers, own) in needed.items():
        verb = "need" if len(takers) > 1 else "needs"
        what = f"{' and '.join(takers)} {verb} {name} ({own.doc})"
        low, high = own.search or ("low", "high")
        yield problem((), what, f"add `{name}: {{range: [{low}, {high}]}}`, or a value")


def _unfit_for_any(methods: Sequence[Method], name: str, value: Searched | Fixed) -> Found | None:
    """Why `value` does not fit one of the methods that take it, and the remedy; or None."""
    for method in methods:
        parameter = method.parameter(name)
        if parameter is not None and (found := _unfit(parameter, value)):
            message, remedy = found
            if len(methods) == 1:
                return message, remedy
            return f"{message} in {method.name}", f"{remedy}, or take {method.name} out of method"
    return None


def _unfit(parameter: Parameter, value: Searched | Fixed) -> Found | None:
    if isinstance(value, Range):
        return _unfit_range(parameter, value)
    for option in value.choice if isinstance(value, Choice) else (value,):
        if not _is_kind(parameter, option):
            return _wrong_kind(parameter)
        if not _accepts(parameter, option):
            return f"{parameter.name} cannot be {_shown(option)}", f"write {_wanted(parameter)}"
    return None


def _unfit_range(parameter: Parameter, searched: Range) -> Found | None:
    name = parameter.name
    if parameter.kind in {"bool", "choice"}:
        return _wrong_kind(parameter)
    for end in searched.range:
        if not parameter.accepts(end):
            return f"{name} cannot be {end:g}", f"write {_wanted(parameter)}"
    if parameter.kind == "int" and searched.step is not None:
        return f"{name} takes whole numbers, one apart", "remove `step`"
    if "model" in searched.per and not parameter.per_model:
        return f"{name} has one value for all models", "remove `model` from per"
    return None


def _is_kind(parameter: Parameter, option: Fixed) -> bool:
    if parameter.kind == "bool":
        return isinstance(option, bool)
    if parameter.kind == "choice":
        return isinstance(option, str)
    return not isinstance(option, bool | str)


def _accepts(parameter: Parameter, option: Fixed) -> bool:
    if parameter.kind == "choice":
        return option in parameter.choices
    return parameter.kind == "bool" or parameter.accepts(float(option))


def _wrong_kind(parameter: Parameter) -> Found:
    name = parameter.name
    if parameter.kind == "bool":
        remedy = f"write `{name}: true`, `{name}: false` or `{name}: {{choice: [true, false]}}`"
        return f"{name} is true or false", remedy
    if parameter.kind == "choice":
        remedy = (
            f"write `{name}: {parameter.choices[0]}` or "
            f"`{name}: {{choice: [{', '.join(parameter.choices)}]}}`"
        )
        return f"{name} is {parameter.bounds}", remedy
    remedy = f"write `{name}: 0.5` or `{name}: {{range: [low, high]}}`"
    return f"{name} is a number", remedy


def _wanted(parameter: Parameter) -> str:
    return parameter.bounds if parameter.kind == "choice" else f"a value {parameter.bounds}"


def _shown(option: Fixed) -> str:
    return f"{option:g}" if isinstance(option, float) else repr(option)
