"""Readiness says what does not answer, and what to do."""

from __future__ import annotations

import socket

import pytest

from evomerge.errors import ResourceError
from evomerge.observe.health import ray_answers, readiness
from evomerge.store import open_store


def test_a_store_that_answers_in_this_schema_is_ready(any_url):
    store = open_store(any_url)
    checks = readiness(store)
    assert [(check.name, check.ok) for check in checks] == [("store", True), ("schema", True)]
    store.close()


def test_a_store_of_another_schema_is_not_ready_and_says_how_to_mend_it(any_url):
    from sqlalchemy import text

    store = open_store(any_url)
    with store._engine.begin() as db:
        db.execute(text("UPDATE evomerge_version SET version_num = '0001'"))
    (schema,) = [check for check in readiness(store) if check.name == "schema"]
    assert (schema.ok, "evomerge db upgrade" in schema.remedy) == (False, True)
    store.close()


def test_a_cluster_that_does_not_answer_is_not_ready(sqlite_url):
    store = open_store(sqlite_url)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        (ray,) = [
            c for c in readiness(store, f"127.0.0.1:{unused.getsockname()[1]}") if c.name == "ray"
        ]
    assert not ray.ok
    assert ray.remedy
    store.close()


def test_a_cluster_that_listens_answers():
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        assert address in ray_answers(address)


def test_an_address_that_is_none_is_a_mistake_with_a_remedy():
    with pytest.raises(ResourceError, match="no Ray cluster answers"):
        ray_answers("nonsense")
