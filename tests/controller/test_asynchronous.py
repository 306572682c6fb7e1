"""Searches without a barrier: workers do not wait, and what was stored is continued as it was."""

from __future__ import annotations

import time

import pytest

from evomerge.controller.events import Scored
from evomerge.evaluation import make_evaluator
from evomerge.fitness import Split
from evomerge.service import check_search, pause_search, run_search, submit_search
from evomerge.store import open_store
from evomerge.store.types import EvaluationStatus, Origin, SearchStatus
from evomerge.testing.simulation import SimulatedCluster
from evomerge.worker import Worker
from tests.controller.simulated import simulate, store_file, uneven
from tests.support import fake_spec, history

WORKERS, CANDIDATES = 8, 64


def _spec(folder, **changes):
    strategy = {"name": "cma", "seed": 3, "population_size": 8, **changes.pop("strategy", {})}
    return fake_spec(
        folder,
        strategy=strategy,
        budget={"candidates": CANDIDATES},
        workers={"max": WORKERS},
        **changes,
    )


def _searched(store, search_id):
    return [c for c in store.candidates(search_id) if c.origin is Origin.SEARCH and not c.label]


def test_workers_of_uneven_length_never_wait_for_a_generation(tmp_path):
    shares = {}
    for asynchronous in (True, False):
        spec = _spec(tmp_path, strategy={"asynchronous": asynchronous})
        url = store_file(tmp_path, f"{asynchronous}")
        search, cluster = simulate(url, spec, WORKERS)
        before = sum(s.split is Split.SEARCH for s in cluster.stints) - CANDIDATES - 1
        shares[asynchronous] = cluster.busy_share(before, before + CANDIDATES)
        assert len(_searched(open_store(url), search)) == CANDIDATES
    assert shares[True] > 0.99
    assert shares[False] < 0.8


def test_results_are_told_as_they_come_and_asks_remember_how_many_were(tmp_path):
    url = store_file(tmp_path, "store")
    search, _ = simulate(url, _spec(tmp_path), WORKERS)
    candidates = _searched(open_store(url), search)
    told = [c.told for c in candidates]
    assert sorted(told) == list(range(CANDIDATES))
    assert told != sorted(told)  # shorter ones overtook longer ones
    asked_after = [c.asked_after for c in candidates]
    assert asked_after == [max(0, number + 1 - WORKERS) for number in range(CANDIDATES)]


class _Killed(Exception):
    """Raised by a listener to end a controller as if it had been killed."""


@pytest.mark.parametrize("asynchronous", [True, False])
def test_an_interrupted_search_repeats_its_own_history_and_goes_on(tmp_path, asynchronous):
    url = store_file(tmp_path, "store")
    store = open_store(url)
    spec = _spec(tmp_path, strategy={"asynchronous": asynchronous})
    search = submit_search(store, check_search(spec))

    def run(listener):
        worker = Worker(open_store(url), lambda: make_evaluator(search.spec))
        run_search(store, search.id, SimulatedCluster(worker, WORKERS, uneven), listener)

    seen = []
    for limit in (20, 41):

        def stop(event, limit=limit):
            fresh = isinstance(event, Scored) and event.candidate.origin is Origin.SEARCH
            seen.append(event)
            if fresh and event.candidate.number > limit:
                raise _Killed

        before = [row[:8] for row in history(store, search.id) if row[6] is not None]
        with pytest.raises(_Killed):
            run(stop)
        after = [row[:8] for row in history(store, search.id)]
        assert all(row in after for row in before)
    run(lambda event: None)
    told = [c.told for c in _searched(store, search.id)]
    assert sorted(told) == list(range(CANDIDATES))


def test_with_a_barrier_the_number_of_workers_changes_nothing(tmp_path):
    histories = []
    for workers in (1, 3, 8):
        url = store_file(tmp_path, f"workers-{workers}")
        spec = _spec(tmp_path, strategy={"asynchronous": False})
        search, _ = simulate(url, spec, workers)
        histories.append(history(open_store(url), search))
    assert histories[0] == histories[1] == histories[2]


def test_a_replay_that_asks_for_other_recipes_is_refused(tmp_path):
    """The interleaving is part of the history: another one leads elsewhere, and is noticed."""
    from sqlalchemy import text

    from evomerge.errors import SpecError

    url = store_file(tmp_path, "store")
    search, _ = simulate(url, _spec(tmp_path), WORKERS)
    store = open_store(url)
    with store._engine.connect() as plain:
        db = plain.execution_options(writes=True)
        with db.begin():
            db.execute(text("UPDATE asks SET tells = 0"))
            db.execute(text("UPDATE searches SET status = 'failed'"))
    worker = Worker(open_store(url), lambda: make_evaluator(store.search(search).spec))
    with pytest.raises(SpecError, match="history cannot be continued"):
        run_search(store, search, SimulatedCluster(worker, WORKERS, uneven))


def test_a_pause_that_was_heard_asks_for_nothing_more(tmp_path):
    url = store_file(tmp_path, "store")
    store = open_store(url)
    search = submit_search(store, check_search(_spec(tmp_path)))
    worker = Worker(open_store(url), lambda: make_evaluator(search.spec))

    def pause(event):
        if isinstance(event, Scored) and event.candidate.number == 12:
            assert pause_search(store, search.id) is SearchStatus.PAUSING
            time.sleep(1.2)  # until the controller looks again

    cluster = SimulatedCluster(worker, WORKERS, uneven)
    assert run_search(store, search.id, cluster, pause) is SearchStatus.PAUSED
    statuses = [e.status for e in store.evaluations(search.id)]
    assert statuses.count(EvaluationStatus.PENDING) <= 1  # asked for just before it was heard
    assert len(_searched(store, search.id)) < CANDIDATES
