"""Prometheus metrics of a store and of the HTTP service before it.

What searches do is read from the store, whichever process did it: controllers and workers come and go,
and a metric that lived in them would go with them. What ended is added up in windows of time; a window
closes a minute after its end, because a transaction may commit later than the moment that it writes.
Counters start with all that the store has, so they go on where they stopped when a server is replaced.

Histograms have no search as a label: their number would grow for ever. Per search there is the API.
"""

import threading
import time
from collections.abc import Iterable, Iterator
from typing import Any

from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from evomerge.errors import EvomergeError
from evomerge.store import SQLStore
from evomerge.store.activity import STAGES, Spent, Standing

SETTLED_AFTER = 60.0
"""Seconds after which nothing more is expected to be written with a given time."""
STAGE_LIMITS = (0.01, 0.05, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0)
REQUEST_LIMITS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
CONTENT_TYPE = CONTENT_TYPE_LATEST


class Totals:
    """What attempts cost since the store's beginning, in sums that only grow."""

    def __init__(self) -> None:
        self.until = 0.0
        self.attempts: dict[str, int] = {}
        self.sums = dict.fromkeys(STAGES, 0.0)
        self.buckets = {stage: [0] * len(STAGE_LIMITS) for stage in STAGES}
        self.count = self.tokens = self.documents = 0

    def add(self, spent: Spent, until: float) -> None:
        """Add one window that ends at `until`."""
        self.until = until
        for status, count in spent.attempts.items():
            self.attempts[status] = self.attempts.get(status, 0) + count
        for stage in STAGES:
            self.sums[stage] += spent.sums[stage]
            pairs = zip(self.buckets[stage], spent.buckets[stage], strict=True)
            self.buckets[stage] = [old + new for old, new in pairs]
        self.count += spent.count
        self.tokens += spent.tokens
        self.documents += spent.documents


class StoreCollector(Collector):
    """Reads a store when Prometheus asks. A store that does not answer is a metric, not an error."""

    def __init__(self, store: SQLStore) -> None:
        self._store, self._totals, self._lock = store, Totals(), threading.Lock()

    def collect(self) -> Iterable[Any]:
        begin = time.perf_counter()
        try:
            with self._lock:
                standing = self._store.standing()
                self._add_window()
                families = [*_gauges(standing), *_counters(self._totals)]
        except EvomergeError:
            families = []
        yield _gauge("evomerge_store_up", "1 if the store answered", float(bool(families)))
        yield from families
        took = time.perf_counter() - begin
        yield _gauge("evomerge_scrape_seconds", "how long the store was asked", took)

    def _add_window(self) -> None:
        until = self._store.clock() - SETTLED_AFTER
        if until > self._totals.until:
            spent = self._store.spent(self._totals.until, until, STAGE_LIMITS)
            self._totals.add(spent, until)


class Metrics:
    """The registry of one server: the store's metrics and its own requests.

    Make one for each process that answers `/metrics`, and no more: counters are read from the store.
    """

    def __init__(self, store: SQLStore) -> None:
        self.registry = CollectorRegistry()
        self.registry.register(StoreCollector(store))
        self._requests = Histogram(
            "evomerge_http_request_seconds",
            "Time to answer an HTTP request",
            ("method", "route", "status"),
            buckets=REQUEST_LIMITS,
            registry=self.registry,
        )

    def note_request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one answered request.

        Args:
            route: the pattern (`/searches/{id}`), never the path itself, which has no end of values.
        """
        self._requests.labels(method, route, f"{status // 100}xx").observe(seconds)

    def render(self) -> bytes:
        """Everything in Prometheus' text format; its type is `CONTENT_TYPE`."""
        return generate_latest(self.registry)


def _gauges(standing: Standing) -> Iterator[Any]:
    searches = GaugeMetricFamily("evomerge_searches", "Searches by status", labels=["status"])
    for status, count in standing.searches.items():
        searches.add_metric([status], count)
    evaluations = GaugeMetricFamily(
        "evomerge_evaluations", "Candidates by split and status", labels=["split", "status"]
    )
    for (split, status), count in standing.evaluations.items():
        evaluations.add_metric([split, status], count)
    leases = GaugeMetricFamily("evomerge_leases", "Leases of searches", labels=["state"])
    for state, count in standing.leases.items():
        leases.add_metric([state], count)
    queued = standing.searches.get("pending", 0)
    yield from (searches, evaluations, leases)
    yield _gauge("evomerge_queue_length", "Searches that wait to be started", queued)
    yield _gauge("evomerge_workers_busy", "Workers that have a candidate", standing.busy)


def _counters(totals: Totals) -> Iterator[Any]:
    attempts = CounterMetricFamily(
        "evomerge_attempts", "Attempts that ended, by how", labels=["status"]
    )
    for status, count in totals.attempts.items():
        attempts.add_metric([status], count)
    yield attempts
    yield CounterMetricFamily("evomerge_documents", "Documents answered", value=totals.documents)
    yield CounterMetricFamily("evomerge_tokens", "Tokens read and generated", value=totals.tokens)
    stages = HistogramMetricFamily(
        "evomerge_stage_seconds", "Seconds of a candidate's stages", labels=["stage"]
    )
    for stage in STAGES:
        pairs = zip(STAGE_LIMITS, totals.buckets[stage], strict=True)
        buckets = [(str(limit), float(count)) for limit, count in pairs]
        stages.add_metric([stage], [*buckets, ("+Inf", float(totals.count))], totals.sums[stage])
    yield stages


def _gauge(name: str, text: str, value: float) -> Any:
    return GaugeMetricFamily(name, text, value=value)
