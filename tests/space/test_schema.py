"""The JSON schema of a space: what an editor completes, accepts and marks."""

from dataclasses import replace
from importlib.metadata import EntryPoint, EntryPoints

import jsonschema
import pytest

from evomerge import methods
from evomerge.methods import METHODS, Parameter
from evomerge.space import SpaceSpec, schema

SCHEMA = SpaceSpec.model_json_schema()


def test_parameters_stand_beside_method() -> None:
    properties = SCHEMA["properties"]
    names = {parameter.name for method in METHODS.values() for parameter in method.parameters}
    assert {"method", "layer_groups", "across_layers", "seed", "layers", *names} == set(properties)


@pytest.mark.parametrize(
    "space",
    [
        {"method": "ties", "weight": 1, "election": {"choice": ["sum", "count"]}},
        {"method": {"choice": ["ties", "sce"]}, "weight": {"range": [0, 1], "per": ["model"]}},
        {"method": "ties", "weight": {"choice": [0.5, 1]}, "normalize": {"choice": [True, False]}},
        {"method": "karcher", "max_iter": {"range": [1, 8], "integer": True}},
        {"method": "karcher", "max_iter": 3},
        {
            "method": "ties",
            "weight": {"range": [0, 1], "per": ["filter"], "filters": {"rest": "*"}},
            "across_layers": "spline",
        },
        {"method": "passthrough", "layers": {"max_layers": 40, "repeats": 2, "scale": None}},
        {"method": "passthrough", "layers": {"max_layers": 8, "scale": {"range": [0.5, 2]}}},
    ],
)
def test_editors_accept_what_is_accepted(space: dict) -> None:
    jsonschema.validate(space, SCHEMA)
    SpaceSpec.model_validate(space)


@pytest.mark.parametrize(
    "space",
    [
        {"method": "tiess", "weight": 1},
        {"method": {"choice": ["tiess"]}, "weight": 1},
        {"method": "ties", "weight": 1, "election": "max"},
        {"method": "ties", "weight": 1, "election": {"choice": ["max"]}},
        {"method": "ties", "weight": 1, "normalize": 1.5},
        {"method": "ties", "weight": 1, "density": 0},
        {"method": "karcher", "max_iter": 2.5},
        {"method": "ties", "weight": {"range": [0, 1], "per": ["layer"]}},
        {"method": "ties", "weight": 1, "across_layers": "cubic"},
        {"method": "passthrough", "layers": {"repeats": 0}},
        {"method": "passthrough", "layers": {"max_layers": 0}},
    ],
)
def test_editors_mark_what_is_refused(space: dict) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(space, SCHEMA)
    with pytest.raises(ValueError):
        SpaceSpec.model_validate(space)


OUTSIDE = replace(
    METHODS["linear"], name="outside", parameters=(Parameter("warmth", "of the merge", 0.5),)
)


def test_methods_of_other_packages_are_completed_where_they_can_be_loaded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    points = EntryPoints(
        EntryPoint(name, f"{__name__}:{name.upper()}", methods.ENTRY_POINTS)
        for name in ("outside", "broken")
    )
    monkeypatch.setattr(methods, "_points", lambda: tuple(points))
    monkeypatch.setattr(schema, "entry_points", lambda group: points)
    methods._from_outside.cache_clear()
    found = SpaceSpec.model_json_schema()
    methods._from_outside.cache_clear()
    assert found["properties"]["warmth"]["description"] == "of the merge"
    assert "outside" in found["properties"]["method"]["anyOf"][0]["enum"]
    assert "broken" not in found["properties"]["method"]["anyOf"][0]["enum"]
