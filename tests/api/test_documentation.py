"""docs/api.md knows every route of the API, its method and its scope, and no other."""

import re
from pathlib import Path

from tests.api.conftest import API
from tests.api.test_access import needed, routes

PAGE = (Path(__file__).parents[2] / "docs" / "api.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| `([A-Z]+) (/\S*)` \| (\w+) \|", re.MULTILINE)


def test_every_route_is_documented_with_its_scope(world):
    found = {
        (method, route.path.removeprefix(API), needed(route).value)
        for route in routes(world.app())
        if route.path.startswith(API)
        for method in route.methods - {"HEAD"}
    }
    assert set(ROW.findall(PAGE)) == found


def test_every_status_that_the_api_declares_is_explained(world):
    declared = {
        status
        for path, methods in world.app().openapi()["paths"].items()
        if path.startswith(API)
        for operation in methods.values()
        for status in operation["responses"]
        if int(status) >= 400
    }
    explained = set(re.findall(r"\b[45]\d\d\b", PAGE[PAGE.index("| Status |") :]))
    assert declared <= explained
