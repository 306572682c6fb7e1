"""The JSON schema of `space:` as files are written: parameters stand beside `method`.

Each parameter is spelt out from the methods' declarations, so that an editor completes options and
marks values that a method does not take. Methods of other packages are among them where installed.
"""

from contextlib import suppress
from importlib.metadata import entry_points
from typing import Any

from evomerge.errors import RecipeError
from evomerge.methods import ENTRY_POINTS, METHODS, Method, Parameter, get_method

Schema = dict[str, Any]


def spell_out_parameters(schema: Schema) -> None:
    """Put every parameter of every method beside `method`, instead of a map of any names."""
    arms = schema["properties"].pop("parameters")["additionalProperties"]
    a_range = next(iter(arms.values()))[0]  # the first arm; pydantic names it as it likes
    methods = _methods()
    names = sorted(method.name for method in methods)
    schema["properties"]["method"] = _of_options(names, "A merge method, or several.")
    declared: dict[str, list[Parameter]] = {}
    for method in methods:
        for parameter in method.parameters:
            declared.setdefault(parameter.name, []).append(parameter)
    for name, parameters in declared.items():
        schema["properties"][name] = _parameter(parameters, a_range)


def _methods() -> list[Method]:
    """All methods that can be named here and now; broken packages are reported when they are used."""
    found = dict(METHODS)
    for point in entry_points(group=ENTRY_POINTS):
        with suppress(RecipeError):
            found.setdefault(point.name, get_method(point.name))
    return list(found.values())


def _parameter(declared: list[Parameter], a_range: Schema) -> Schema:
    """What may be written for a parameter, in whichever method it is."""
    docs = " | ".join(dict.fromkeys(parameter.doc for parameter in declared))
    kinds = {parameter.kind for parameter in declared}
    if kinds == {"choice"}:
        options = dict.fromkeys(option for parameter in declared for option in parameter.choices)
        return _of_options(list(options), docs)
    if kinds == {"bool"}:
        return _of_options([True, False], docs)
    number = _number(declared)
    return {"description": docs, "anyOf": [number, a_range, _choice(number)]}


def _of_options(options: list[Any], doc: str) -> Schema:
    one = {"enum": options}
    return {"description": doc, "anyOf": [one, _choice(one)]}


def _choice(one: Schema) -> Schema:
    return {
        "type": "object",
        "properties": {"choice": {"type": "array", "items": one, "minItems": 1}},
        "required": ["choice"],
        "additionalProperties": False,
    }


def _number(declared: list[Parameter]) -> Schema:
    """A number within the widest of the bounds."""
    kinds = {parameter.kind for parameter in declared}
    number: Schema = {"type": "integer" if kinds == {"int"} else "number"}
    low, high = min(p.low for p in declared), max(p.high for p in declared)
    open_below = all(p.low_open for p in declared if p.low == low)
    if low > float("-inf"):
        number["exclusiveMinimum" if open_below else "minimum"] = low
    if high < float("inf"):
        number["maximum"] = high
    return number
