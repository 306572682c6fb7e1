"""Whatever is sent to any route, allowed by the schema or not: never a fault, always what the schema says."""

from __future__ import annotations

import json
from contextlib import nullcontext, suppress

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from evomerge.store.access import Scope

ENDLESS = "/api/v1/searches/{search}/events"
"""A stream; tests/api/test_searches.py follows it."""
THERE = {"search": "done-one", "candidate": 1, "name": "progress"}
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
EXAMPLES = settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
SPECIAL = [
    "done-one",
    "done",
    "tiny",
    "",
    "\x00",
    "\ud7ff",
    "half \ud800",
    "a" * 150,
    "' OR 1=1 --",
    "%",
    "_",
]


@pytest.fixture(params=["sqlite", "postgresql"])
def fuzzed(request, world, monkeypatch):
    """The schema of a server, and the token of an admin: nothing is refused before it is read."""
    if request.param == "postgresql":
        from evomerge.store import open_store

        world.store.close()
        world.url = request.getfixturevalue("postgres_url")
        world.store = open_store(world.url)
    token, _ = world.store.create_token("root", Scope.ADMIN)
    headers = {"Authorization": f"Bearer {token}"}
    app = world.app(allowed_hosts=("testserver",))
    return schemathesis.openapi.from_asgi("/api/v1/openapi.json", app, headers=headers), headers


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.name.lower())
def test_no_request_brings_a_fault_or_an_answer_that_the_schema_does_not_know(fuzzed, mode):
    schema, headers = fuzzed
    asked = 0
    for result in schema.get_all_operations():
        operation = result.ok()
        if operation.path != ENDLESS:
            asked += 1
            _try(operation, headers, mode)
    assert asked > 25


def _try(operation, headers, mode) -> None:
    try:
        strategy = operation.as_strategy(generation_mode=mode)
    except Exception as error:
        # An operation without any parameter has nothing that could be wrong.
        assert mode is GenerationMode.NEGATIVE, error
        return

    @EXAMPLES
    @given(case=strategy, there=st.booleans())
    def check(case, there) -> None:
        if there:  # what a made up name would never reach
            case.path_parameters = {
                **(case.path_parameters or {}),
                **{k: v for k, v in THERE.items() if k in (case.path_parameters or {})},
            }
        case.call_and_validate(headers=headers, checks=CHECKS)

    with suppress(Unsatisfiable) if mode is GenerationMode.NEGATIVE else nullcontext():
        check()


@pytest.mark.parametrize("name", SPECIAL)
def test_names_that_databases_stumble_over_are_not_found(fuzzed, world, name):
    from urllib.parse import quote

    from starlette.testclient import TestClient

    _, headers = fuzzed
    client = TestClient(
        world.app(), base_url="http://127.0.0.1", headers=headers, raise_server_exceptions=False
    )
    part = quote(name, safe="", errors="replace")
    for path in (
        f"/searches/{part}",
        f"/searches?owner={part}&text={part}",
        f"/best?base={part}",
        f"/best?task={part}",
        f"/best?search={part}",
        f"/tokens/{part}",
        f"/searches/done-one/candidates?text={part}&sort=task:{part}",
    ):
        answer = client.get(f"/api/v1{path}")
        assert answer.status_code < 500, (path, answer.text)
    body = json.dumps({"parameters": {"search": name}})  # which writes half a surrogate as \\ud800
    json_headers = {"Content-Type": "application/json"}
    answer = client.post("/api/v1/queries/progress", content=body, headers=json_headers)
    assert answer.status_code < 500, answer.text
