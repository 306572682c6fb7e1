"""The JSON schema of `space:` as files are written: parameters stand beside `method`.

Each parameter is spelt out from the methods' declarations, so that an editor completes options and
marks values that a method does not take.
"""

from typing import Any

from evomerge.methods import METHODS, Parameter

Schema = dict[str, Any]


def spell_out_parameters(schema: Schema) -> None:
    """Put every parameter of every method beside `method`, instead of a map of any names."""
    arms = schema["properties"].pop("parameters")["additionalProperties"]
    a_range = next(iter(arms.values()))[0]  # the first arm; pydantic names it as it likes
    schema["properties"]["method"] = _of_options(sorted(METHODS), "A merge method, or several.")
    declared: dict[str, list[Parameter]] = {}
    for method in METHODS.values():
        for parameter in method.parameters:
            declared.setdefault(parameter.name, []).append(parameter)
    for name, parameters in declared.items():
        schema["properties"][name] = _parameter(parameters, a_range)


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
