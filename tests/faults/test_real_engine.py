"""SIGKILL while a real engine works: the history stays the one that an undisturbed run has."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from evomerge.service import check_search, make_dispatcher, run_search, submit_search
from evomerge.spec import SearchSpec, load_spec
from evomerge.store import open_store
from tests.faults.chaos import scored_twice
from tests.faults.killing import ENGINE, Victim, shared_memory
from tests.faults.test_kills import kill_until_finished
from tests.support import history


def _spec() -> SearchSpec:
    from evomerge.zoo import build_zoo

    spec = load_spec(build_zoo().search_file)
    objective = spec.objective.model_copy(update={"limit": 40})
    budget = spec.budget.model_copy(update={"candidates": 28})
    return spec.model_copy(update={"objective": objective, "budget": budget})


@pytest.mark.slow
@pytest.mark.engine
@pytest.mark.timeout(2400)
def test_three_kills_of_a_live_engine_leave_the_undisturbed_history(tmp_path: Path) -> None:
    before = shared_memory()
    spec = _spec()
    calm = open_store(str(tmp_path / "calm.db"))
    undisturbed = submit_search(calm, check_search(spec))
    dispatcher = make_dispatcher(spec, calm.url)
    run_search(calm, undisturbed.id, dispatcher)
    dispatcher.close()
    rough = open_store(str(tmp_path / "rough.db"))
    search = submit_search(rough, check_search(spec))
    victim = Victim(rough.url, search.id, log=tmp_path / "log")
    killed = kill_until_finished(
        victim, rough, 3, random.Random(5), longest=6.0, roles=("_WorkerActor", "controller")
    )
    print(f"killed: {dict(killed)}")
    assert sum(killed.values()) == 3
    assert history(rough, search.id) == history(calm, undisturbed.id)
    assert scored_twice(rough, search.id) == []
    assert shared_memory() <= before


@pytest.mark.slow
@pytest.mark.engine
@pytest.mark.timeout(3000)
def test_an_engine_that_is_killed_under_its_worker_is_started_again_and_changes_no_history(
    tmp_path: Path,
) -> None:
    """With two ranks vLLM is processes of its own: one of them is killed, the worker lives on."""
    spec = _spec()
    engine = spec.engine.model_copy(update={"tensor_parallel_size": 2})
    budget = spec.budget.model_copy(update={"candidates": 8})
    objective = spec.objective.model_copy(update={"limit": 20})
    spec = spec.model_copy(update={"engine": engine, "budget": budget, "objective": objective})
    histories = {}
    for name, kills in (("rough", 2), ("calm", 0)):
        store = open_store(str(tmp_path / f"{name}.db"))
        search = submit_search(store, check_search(spec))
        victim = Victim(store.url, search.id, mode="inline", log=tmp_path / f"{name}.log")
        killed = kill_until_finished(
            victim, store, kills, random.Random(3), longest=20.0, roles=ENGINE
        )
        print(f"{name}, killed: {dict(killed)}")
        assert sum(killed.values()) == kills
        assert scored_twice(store, search.id) == []
        histories[name] = history(store, search.id)
    assert histories["rough"] == histories["calm"]
