"""SIGKILL while a real engine works: the history stays the one that an undisturbed run has."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from evomerge.service import check_search, make_dispatcher, run_search, submit_search
from evomerge.spec import SearchSpec, load_spec
from evomerge.store import open_store
from tests.faults.chaos import scored_twice
from tests.faults.killing import Victim, shared_memory
from tests.faults.ranks import endure_engine
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
@pytest.mark.timeout(2400)
def test_a_rank_that_is_killed_alone_is_replaced_with_its_engine_and_none_is_left(
    tmp_path: Path,
) -> None:
    report = endure_engine(3, tmp_path)
    assert report.strikes == 3
