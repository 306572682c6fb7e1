"""SIGKILL at random moments: the history of a killed and resumed search is the undisturbed one."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable

import pytest

from evomerge.service import check_search, submit_search
from evomerge.store import SQLStore, open_store
from evomerge.store.types import SearchStatus
from tests.faults.chaos import scored_twice, undisturbed
from tests.faults.killing import GUARDIAN, Victim, shared_memory
from tests.support import fake_spec, history


def kill_until_finished(
    victim: Victim,
    store: SQLStore,
    kills: int,
    chooser: random.Random,
    longest: float,
    roles: tuple[str, ...] = (),
    look: Callable[[], None] = lambda: None,
) -> Counter[str]:
    """Kill `kills` processes at random moments, resuming whenever the driver is gone.

    `roles` limits what is killed; by default anything is. `look` is called again and again.
    """
    killed: Counter[str] = Counter()
    victim.start()
    assert victim.driver is not None
    while store.search(victim.search_id).status is not SearchStatus.FINISHED:
        if sum(killed.values()) < kills:
            _wait_for_a_moment(victim, chooser, longest)
            if victim.driver.poll() is None:
                killed.update(victim.kill(chooser, roles))
        if victim.driver.poll() is not None:
            assert victim.wait_until_gone(30) == [], "processes outlived their driver"
            if store.search(victim.search_id).status is not SearchStatus.FINISHED:
                victim.start()
        look()
        time.sleep(0.05)
    look()
    victim.driver.wait(60)
    assert victim.wait_until_gone(30) == []
    return killed


def _wait_for_a_moment(victim: Victim, chooser: random.Random, longest: float) -> None:
    """Any moment, or, two times in three, one at which a worker is there to be killed."""
    deadline = time.monotonic() + 60
    if victim.mode == "ray" and chooser.random() < 2 / 3:
        while victim.driver.poll() is None and time.monotonic() < deadline:
            if "_WorkerActor" in map(victim.role, victim.processes()):
                break
            time.sleep(0.2)
    time.sleep(chooser.uniform(0.0, longest))


@pytest.mark.slow
def test_a_controller_killed_ten_times_leaves_the_undisturbed_history(tmp_path):
    spec = fake_spec(tmp_path, engine={"name": "fake", "fake_seconds": 0.25})
    calm = undisturbed(tmp_path, spec)
    store = open_store(str(tmp_path / "rough.db"))
    search = submit_search(store, check_search(spec))
    victim = Victim(store.url, search.id, mode="inline", log=tmp_path / "log")
    killed = kill_until_finished(victim, store, 10, random.Random(1), longest=3.0)
    assert sum(killed.values()) >= 5, killed
    assert history(store, search.id) == calm
    assert scored_twice(store, search.id) == []


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_thirty_kills_of_any_process_leave_the_undisturbed_history(tmp_path):
    before = shared_memory()
    killed: Counter[str] = Counter()
    chooser = random.Random(2)
    round_number = 0
    while sum(killed.values()) < 30:
        folder = tmp_path / str(round_number)
        spec = fake_spec(
            folder,
            engine={"name": "fake", "fake_seconds": 0.4},
            budget={"candidates": 60},
            workers={"max": 2},
            strategy={"sigma0": 0.25, "population_size": 6, "seed": round_number},
        )
        calm = undisturbed(folder, spec)
        store = open_store(str(folder / "rough.db"))
        search = submit_search(store, check_search(spec))
        victim = Victim(store.url, search.id, log=folder / "log")
        killed += kill_until_finished(victim, store, 15, chooser, longest=6.0)
        assert history(store, search.id) == calm
        assert scored_twice(store, search.id) == []
        round_number += 1
    print(f"killed: {dict(killed)} in {round_number} searches")
    assert killed.keys() >= {"controller", "_WorkerActor"}
    assert shared_memory() <= before


class _Tells:
    """Remembers what a search had told at each moment that it was looked at."""

    def __init__(self, store: SQLStore, search_id: str) -> None:
        self._store, self._search_id = store, search_id
        self.longest: list[tuple[object, ...]] = []

    def look(self) -> None:
        """What was told before stands as it was: tells are added at the end, and never changed."""
        told = [c for c in self._store.candidates(self._search_id) if c.told is not None]
        rows = [(c.told, c.number, c.genome, c.loss) for c in sorted(told, key=lambda c: c.told)]
        assert rows[: len(self.longest)] == self.longest
        self.longest = rows


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_an_asynchronous_search_killed_fifteen_times_goes_on_from_what_it_had_told(tmp_path):
    spec = fake_spec(
        tmp_path,
        engine={"name": "fake", "fake_seconds": 0.4},
        budget={"candidates": 60},
        workers={"max": 2},
        strategy={"name": "cma", "asynchronous": True, "seed": 4},
    )
    store = open_store(str(tmp_path / "rough.db"))
    search = submit_search(store, check_search(spec))
    victim = Victim(store.url, search.id, log=tmp_path / "log")
    tells = _Tells(store, search.id)
    chooser = random.Random(6)
    killed = kill_until_finished(victim, store, 15, chooser, longest=6.0, look=tells.look)
    print(f"killed: {dict(killed)}")
    assert killed.keys() >= {"controller", "_WorkerActor"}
    assert len(tells.longest) == 60
    assert [row[0] for row in tells.longest] == list(range(60))
    assert scored_twice(store, search.id) == []


def _wait_for(condition, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.2)


@pytest.mark.slow
def test_the_next_start_sweeps_what_a_killed_driver_and_guardian_left(tmp_path):
    spec = fake_spec(tmp_path, engine={"name": "fake", "fake_seconds": 0.3})
    store = open_store(str(tmp_path / "rough.db"))
    search = submit_search(store, check_search(spec))
    victim = Victim(store.url, search.id, log=tmp_path / "log")
    victim.start()
    assert victim.driver is not None
    _wait_for(lambda: "_WorkerActor" in map(victim.role, victim.processes()), 90)
    for role in (GUARDIAN, "controller"):
        for process in victim.processes():
            if victim.role(process) == role:
                process.kill()
    victim.driver.wait(10)
    victim.start()
    assert victim.driver.wait(120) == 0
    assert victim.wait_until_gone(30) == []
