"""Whose search starts next, and who gets how many workers: decided by pure functions, simulated here."""

from __future__ import annotations

import dataclasses
import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evomerge.queue.fair import HALF_LIFE, choose, decide, share_out, use
from evomerge.queue.settings import QueueSettings
from evomerge.store.access import OwnerLimits, OwnerRecord, QueueEntry, QueueState
from evomerge.store.types import SearchStatus

PENDING, RUNNING, PAUSED = SearchStatus.PENDING, SearchStatus.RUNNING, SearchStatus.PAUSED


def entry(search_id: str, owner: str = "ada", **changes) -> QueueEntry:
    values = {"priority": 0, "wanted": True, "status": PENDING, "submitted_at": 0.0, "asked": 1}
    return QueueEntry(search_id, owner, **{**values, **changes})


def running(search_id: str, owner: str = "ada", **changes) -> QueueEntry:
    return entry(search_id, owner, **{"status": RUNNING, "claimed": True, "workers": 1, **changes})


def state(*entries: QueueEntry, now: float = 1000.0, **owners: OwnerRecord) -> QueueState:
    names = {e.owner for e in entries}
    known = {name: OwnerRecord(name, used_at=now) for name in names}
    return QueueState(now, tuple(entries), {**known, **owners})


def chosen(found: QueueState, **settings) -> tuple[str, ...]:
    return decide(found, QueueSettings(**settings)).claims


def test_the_owner_who_used_least_for_the_weight_goes_first():
    waiting = (entry("a", "ada"), entry("b", "bob"))
    ada, bob = (
        OwnerRecord("ada", used=500, used_at=1000),
        OwnerRecord("bob", used=400, used_at=1000),
    )
    assert chosen(state(*waiting, ada=ada, bob=bob), running=1) == ("b",)
    heavy = dataclasses.replace(ada, weight=2.0)
    assert chosen(state(*waiting, ada=heavy, bob=bob), running=1) == ("a",)


def test_one_who_comes_with_ten_searches_does_not_get_all_places_before_anything_was_used():
    many = [entry(f"a{n}", "ada", submitted_at=n) for n in range(10)]
    few = [entry(f"b{n}", "bob", submitted_at=100 + n) for n in range(2)]
    assert Counter(name[0] for name in chosen(state(*many, *few), running=4)) == {"a": 2, "b": 2}


def test_among_an_owners_searches_priority_decides_and_then_who_came_first():
    waiting = [
        entry("late", submitted_at=9, priority=0),
        entry("early", submitted_at=1, priority=0),
        entry("urgent", submitted_at=10, priority=5),
        entry("idle", submitted_at=0, priority=-5),
    ]
    assert chosen(state(*waiting), running=4) == ("urgent", "early", "late", "idle")


def test_a_search_that_ran_before_goes_before_one_that_did_not():
    waiting = [entry("new", submitted_at=1), entry("orphan", submitted_at=5, status=RUNNING)]
    assert chosen(state(*waiting), running=1) == ("orphan",)


@pytest.mark.parametrize(
    "obstacle",
    [{"wanted": False}, {"status": PAUSED}, {"claimed": True}, {"led": True}, {"retry_at": 2000.0}],
    ids=lambda obstacle: next(iter(obstacle)),
)
def test_what_is_not_wanted_or_not_its_turn_is_left_alone(obstacle):
    assert chosen(state(entry("a", **obstacle))) == ()


def test_limits_of_an_owner_leave_places_to_others():
    many = [entry(f"a{n}", "ada") for n in range(5)] + [entry("b", "bob")]
    limited = OwnerRecord("ada", limits=OwnerLimits(running=1), used_at=1000)
    assert sorted(chosen(state(*many, ada=limited), running=4)) == ["a0", "b"]
    spent = OwnerRecord("ada", limits=OwnerLimits(hours=1), used=3601, used_at=1000)
    assert chosen(state(*many, ada=spent), running=4) == ("b",)
    none = OwnerRecord("ada", limits=OwnerLimits(running=0), used_at=1000)
    assert chosen(state(*many, ada=none), running=4) == ("b",)


def test_places_are_never_more_than_workers():
    assert len(chosen(state(*(entry(f"a{n}") for n in range(9))), running=8, workers=3)) == 3


def test_use_decays_by_half_in_a_half_life_and_grows_with_the_workers_that_are_busy():
    ada = OwnerRecord("ada", used=100.0, used_at=0.0)
    assert use(ada, QueueState(HALF_LIFE, (), {"ada": ada})) == pytest.approx(50.0)
    busy = QueueState(10.0, (running("a", workers=4), running("b", "bob", workers=9)), {"ada": ada})
    assert use(ada, busy) == pytest.approx(100 + 40, rel=1e-3)


def test_a_silence_of_all_servers_is_not_charged_as_work():
    ada = OwnerRecord("ada", used=0.0, used_at=0.0)
    assert use(ada, QueueState(1e6, (running("a", workers=2),), {"ada": ada})) == 120.0


def test_workers_are_shared_by_owner_first_and_then_by_search():
    active = [running(f"a{n}", "ada", asked=8) for n in range(3)] + [running("b", "bob", asked=8)]
    shares = share_out(active, state(*active).owners, 12)
    assert shares == {"a0": 2, "a1": 2, "a2": 2, "b": 6}


def test_what_one_does_not_ask_for_goes_to_the_others():
    active = [running("a", "ada", asked=2), running("b", "bob", asked=50)]
    assert share_out(active, state(*active).owners, 12) == {"a": 2, "b": 10}


def test_weights_hold_for_workers_too():
    active = [running("a", "ada", asked=50), running("b", "bob", asked=50)]
    owners = {"ada": OwnerRecord("ada", weight=3.0), "bob": OwnerRecord("bob")}
    assert share_out(active, owners, 12) == {"a": 9, "b": 3}


def test_without_a_number_of_workers_each_gets_what_it_asks_for_within_its_owners_limit():
    active = [running("a", "ada", asked=7), running("b", "bob", asked=9)]
    owners = {"ada": OwnerRecord("ada"), "bob": OwnerRecord("bob", limits=OwnerLimits(workers=4))}
    assert share_out(active, owners, None) == {"a": 7, "b": 4}


def test_wishes_that_nobody_is_left_to_grant_become_facts():
    left = [entry("p", status=SearchStatus.PAUSING), entry("c", status=SearchStatus.CANCELLING)]
    led = entry("l", status=SearchStatus.PAUSING, led=True)
    settled = decide(state(*left, led), QueueSettings()).settled
    assert settled == {"p": SearchStatus.PAUSED, "c": SearchStatus.CANCELLED}


def test_what_stopped_leaves_the_queue():
    stopped = [entry("p", status=PAUSED), entry("f", status=SearchStatus.FAILED)]
    assert decide(state(*stopped, entry("a")), QueueSettings()).dismissed == ("p", "f")


entries = st.lists(
    st.builds(
        entry,
        st.uuids().map(str),
        st.sampled_from(["ada", "bob", "eve"]),
        priority=st.integers(-3, 3),
        wanted=st.booleans(),
        status=st.sampled_from([PENDING, RUNNING, PAUSED]),
        submitted_at=st.floats(0, 1000),
        claimed=st.booleans(),
        asked=st.integers(1, 9),
    ),
    max_size=20,
    unique_by=lambda e: e.search_id,
)


@given(entries, st.integers(1, 6), st.none() | st.integers(1, 12))
def test_no_decision_breaks_its_own_rules(found, places, workers):
    settings = QueueSettings(running=places, workers=workers)
    now = state(*found)
    decision = decide(now, settings)
    assert decision == decide(now, settings)
    active = [e for e in found if e.active]
    assert len(decision.claims) <= max(0, min(places, workers or places) - len(active))
    assert all(e.wanted and not e.active for e in found if e.search_id in decision.claims)
    working = [e for e in found if e.active or e.search_id in decision.claims]
    shares = share_out(working, now.owners, workers)
    assert set(shares) == {e.search_id for e in working}
    assert all(1 <= shares[e.search_id] <= e.asked for e in working)
    if workers is not None and len(working) <= workers:
        assert sum(shares.values()) == min(workers, sum(e.asked for e in working))


def test_over_a_day_owners_get_worker_time_in_proportion_to_their_weights():
    """Searches of random lengths, always more than there is room for; three owners, weights 1, 1, 2."""
    chooser = random.Random(5)
    settings = QueueSettings(running=4, workers=16)
    owners = {
        name: OwnerRecord(name, weight=weight)
        for name, weight in {"ada": 1.0, "bob": 1.0, "eve": 2.0}.items()
    }
    waiting = [
        entry(f"{name}{n}", name, submitted_at=n, asked=16) for name in owners for n in range(400)
    ]
    active: dict[str, tuple[QueueEntry, float]] = {}
    worked: Counter[str] = Counter()
    step = 60.0
    for tick in range(24 * 60):
        now = tick * step
        active = {key: pair for key, pair in active.items() if pair[1] > now}
        current = tuple(pair[0] for pair in active.values())
        decision = decide(QueueState(now, (*current, *waiting), owners), settings)
        owners = {
            name: dataclasses.replace(owner, used=decision.used[name], used_at=now)
            for name, owner in owners.items()
        }
        for e in [e for e in waiting if e.search_id in decision.claims]:
            waiting.remove(e)
            claimed = dataclasses.replace(e, claimed=True, status=RUNNING)
            active[e.search_id] = (claimed, now + chooser.uniform(600, 7200))
        for key, (e, end) in active.items():
            share = decision.workers.get(key, e.workers or 1)
            active[key] = (dataclasses.replace(e, workers=share), end)
            worked[e.owner] += share
    total = sum(worked.values())
    assert total == pytest.approx(16 * 24 * 60, rel=0.01)
    assert worked["eve"] / total == pytest.approx(0.5, abs=0.06)
    assert worked["ada"] / total == pytest.approx(0.25, abs=0.06)


def test_choosing_changes_nothing_that_it_was_given():
    found = state(entry("a"), entry("b", "bob"))
    before = dataclasses.asdict(found)
    choose(found, {"ada": 0.0, "bob": 0.0}, QueueSettings())
    assert dataclasses.asdict(found) == before
