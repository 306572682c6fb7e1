"""What Prometheus reads from a store, on both databases."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from evomerge.observe import metrics as module
from evomerge.observe.metrics import Metrics
from evomerge.service import check_search, make_dispatcher, run_search, submit_search
from evomerge.store import open_store
from tests.support import fake_spec


@pytest.fixture(autouse=True)
def _settled_at_once(monkeypatch):
    monkeypatch.setattr(module, "SETTLED_AFTER", 0.0)


def read(metrics: Metrics) -> dict[tuple[str, frozenset], float]:
    families = text_string_to_metric_families(metrics.render().decode())
    return {(s.name, frozenset(s.labels.items())): s.value for f in families for s in f.samples}


def run(store, folder, **changes):
    search = submit_search(store, check_search(fake_spec(folder, **changes)))
    dispatcher = make_dispatcher(search.spec, store.url, inline=True)
    run_search(store, search.id, dispatcher)
    return search


def value(found, name, **labels):
    return found[name, frozenset(labels.items())]


def test_counters_and_histograms_are_what_the_attempts_cost(any_url, tmp_path):
    store = open_store(any_url)
    metrics = Metrics(store)
    assert value(read(metrics), "evomerge_store_up") == 1
    search = run(store, tmp_path)
    found = read(metrics)
    costs = [e.costs for e in store.evaluations(search.id) if e.costs and e.copied_from is None]
    assert value(found, "evomerge_attempts_total", status="scored") == len(costs)
    assert value(found, "evomerge_tokens_total") == sum(one.tokens for one in costs)
    assert value(found, "evomerge_documents_total") == sum(one.tokens for one in costs)
    count = value(found, "evomerge_stage_seconds_count", stage="forward")
    assert count == len(costs)
    assert value(found, "evomerge_searches", status="finished") == 1
    assert value(found, "evomerge_leases", state="held") == 0
    store.close()


def test_a_second_look_adds_only_what_is_new_and_a_new_server_counts_the_same(any_url, tmp_path):
    store = open_store(any_url)
    metrics = Metrics(store)
    run(store, tmp_path)
    first = value(read(metrics), "evomerge_attempts_total", status="scored")
    assert value(read(metrics), "evomerge_attempts_total", status="scored") == first
    run(store, tmp_path, strategy={"name": "random", "seed": 8, "asynchronous": False})
    second = value(read(metrics), "evomerge_attempts_total", status="scored")
    assert second > first
    assert value(read(Metrics(store)), "evomerge_attempts_total", status="scored") == second
    store.close()


def test_a_store_that_is_gone_is_a_metric_and_no_error(sqlite_url, tmp_path):
    store = open_store(sqlite_url, patience=0.1)
    metrics = Metrics(store)
    store.close()
    for file in tmp_path.glob("store.db*"):
        file.unlink()
    (tmp_path / "store.db").write_text("not a database", encoding="utf-8")
    assert value(read(metrics), "evomerge_store_up") == 0


def test_requests_are_counted_by_route_and_never_by_path(sqlite_url):
    store = open_store(sqlite_url)
    metrics = Metrics(store)
    metrics.note_request("GET", "/api/v1/searches/{id}", 404, 0.02)
    found = read(metrics)
    labels = {"method": "GET", "route": "/api/v1/searches/{id}", "status": "4xx"}
    assert value(found, "evomerge_http_request_seconds_count", **labels) == 1
    store.close()
