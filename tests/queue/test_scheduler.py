"""Servers run what waits: each search once, whatever dies, whoever else looks at the same store."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import psutil
import pytest

from evomerge.dispatch import InlineDispatcher
from evomerge.errors import LimitError, UsageError
from evomerge.evaluation import make_evaluator
from evomerge.queue import scheduler
from evomerge.queue.service import cancel_queued, pause_queued, resume_queued
from evomerge.service import cancel_search, run_search, submit_search
from evomerge.spec import Budget, EngineSpec
from evomerge.store.access import OwnerLimits
from evomerge.store.types import SearchStatus
from evomerge.worker import Worker
from tests.queue.conftest import wait_until
from tests.support import history

SLOW = {"engine": EngineSpec(name="fake", fake_seconds=0.15)}
FINISHED, RUNNING = SearchStatus.FINISHED, SearchStatus.RUNNING


def controllers(search_id: str) -> list[psutil.Process]:
    """The processes that run a search, whoever started them."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.cmdline()[-3:-1] == ["evomerge.queue.child", search_id] or (
                "evomerge.queue.child" in process.cmdline() and search_id in process.cmdline()
            ):
                found.append(process)
        except (psutil.Error, IndexError):
            continue
    return [p for p in found if p.status() != psutil.STATUS_ZOMBIE]


def undisturbed(place):
    """The history that the same search has in one process, from start to end."""
    checked = place.checked
    search = submit_search(place.store, checked, search_id="undisturbed")
    worker = Worker(place.store, lambda: make_evaluator(checked.spec))
    run_search(place.store, search.id, InlineDispatcher(worker))
    return history(place.store, search.id)


def same(found, wanted) -> bool:
    """Equal but for what was taken over from the other search of the same scope."""
    return [row[:-1] for row in found] == [row[:-1] for row in wanted]


def test_what_waits_is_run_to_its_end_and_logged(place):
    first, second = place.submit("ada"), place.submit("bob")
    place.server(running=1).start()
    wait_until(lambda: place.status(first) is place.status(second) is FINISHED)
    wait_until(lambda: not place.store.place(first).wanted)
    messages = [line.message for line in place.store.log_lines(first)]
    assert "search began" in messages
    assert messages[-1] == "it is finished"
    assert place.store.owner("ada").used > 0


def test_two_servers_on_one_store_start_every_search_once(place):
    searches = [place.submit(owner) for owner in ("ada", "bob", "ada", "bob")]
    for _ in range(2):
        place.server(running=2).start()
    wait_until(lambda: all(place.status(one) is FINISHED for one in searches))
    assert [place.started(one) for one in searches] == [1, 1, 1, 1]


def test_a_killed_controller_is_started_again_and_the_history_is_the_undisturbed_one(place):
    search = place.submit(changes=SLOW)
    place.server().start()
    for kills in range(1, 4):
        wait_until(lambda: place.status(search) is RUNNING and bool(controllers(search)))
        before = place.store.progress(search).told
        wait_until(
            lambda before=before: (
                place.store.progress(search).told > before or place.status(search) is FINISHED
            )
        )
        for process in controllers(search):
            process.kill()
        if place.status(search) is FINISHED:
            break
        wait_until(lambda kills=kills: place.started(search) > kills)
    wait_until(lambda: place.status(search) is FINISHED)
    assert place.started(search) >= 2
    assert any("died" in line.message for line in place.store.log_lines(search))
    assert same(history(place.store, search), undisturbed(place))


def test_a_controller_that_always_dies_is_given_up_with_a_reason(local_place, monkeypatch):
    monkeypatch.setattr(scheduler, "_CHILD", "tests.queue.dying")
    monkeypatch.setattr(scheduler, "back_off", lambda failures: 0.0)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    search = local_place.submit()
    local_place.server(attempts=3).start()
    wait_until(lambda: local_place.status(search) is SearchStatus.FAILED)
    assert local_place.started(search) == 3
    assert "3 times in a row" in (local_place.store.search(search).message or "")
    assert not local_place.store.place(search).wanted


def test_the_pauses_between_tries_grow_and_end_at_five_minutes():
    assert [scheduler.back_off(n) for n in (1, 2, 3, 20)] == [2.0, 4.0, 8.0, 300.0]


def test_a_mistake_that_another_try_would_not_mend_is_told_and_ends_it(local_place):
    search = local_place.submit()
    (Path(local_place.checked.spec.base_model) / "config.json").unlink()
    local_place.server().start()
    wait_until(lambda: local_place.status(search) is SearchStatus.FAILED)
    wait_until(lambda: not local_place.store.place(search).wanted)
    assert local_place.started(search) == 1
    assert "→" in (local_place.store.search(search).message or "")


def test_a_search_that_waits_can_be_paused_resumed_and_cancelled(local_place):
    search = local_place.submit()
    pause_queued(local_place.store, search, "ada")
    server = local_place.server()
    server.tick()
    assert (local_place.status(search), local_place.started(search)) == (SearchStatus.PAUSED, 0)
    resume_queued(local_place.store, search, "ada")
    server.start()
    wait_until(lambda: local_place.status(search) is FINISHED)
    other = local_place.submit()
    cancel_queued(local_place.store, other, "ada")
    server_wants = [e.search_id for e in local_place.store.queue_state().entries if e.wanted]
    assert server_wants == []


def test_a_running_search_pauses_and_goes_on(local_place):
    search = local_place.submit(changes={**SLOW, "budget": Budget(candidates=20)})
    local_place.server().start()
    wait_until(lambda: local_place.store.progress(search).candidates > 0)
    pause_queued(local_place.store, search, "ada")
    wait_until(lambda: local_place.status(search) is SearchStatus.PAUSED)
    wait_until(lambda: not controllers(search))
    assert local_place.status(search) is SearchStatus.PAUSED
    resume_queued(local_place.store, search, "ada")
    wait_until(lambda: local_place.status(search) is FINISHED)


def test_a_stopped_server_ends_its_controllers_and_the_next_one_goes_on_at_once(local_place):
    search = local_place.submit(changes=SLOW)
    first = local_place.server()
    first.start()
    wait_until(lambda: local_place.store.progress(search).candidates > 0)
    first.stop()
    assert controllers(search) == []
    assert local_place.status(search) is RUNNING
    local_place.server().start()
    wait_until(lambda: local_place.status(search) is FINISHED)
    assert same(history(local_place.store, search), undisturbed(local_place))


def test_controllers_of_a_killed_server_go_on_and_nobody_starts_a_second_one(place):
    search = place.submit(changes=SLOW)
    first = place.server()
    first.start()
    wait_until(lambda: place.store.progress(search).candidates > 0)
    place.vanish(first, search)

    second = place.server()
    second.start()
    wait_until(lambda: place.status(search) is FINISHED)
    assert place.started(search) == 1


def test_when_server_and_controller_are_both_killed_the_next_server_resumes(place):
    search = place.submit(changes=SLOW)
    first = place.server()
    first.start()
    wait_until(lambda: place.store.progress(search).candidates > 0)
    place.vanish(first, search)
    for process in controllers(search):
        os.kill(process.pid, signal.SIGKILL)
    place.server().start()
    wait_until(lambda: place.status(search) is FINISHED)
    assert place.started(search) == 2


def test_a_request_sent_twice_with_one_key_makes_one_search(place):
    spec, given = place.checked.spec, {"scope": place.checked.scope, "versions": {}}
    first, new = place.store.enqueue(spec, **given, owner="ada", key="k", fingerprint="f")
    again, newer = place.store.enqueue(spec, **given, owner="ada", key="k", fingerprint="f")
    assert (first.id, new, newer) == (again.id, True, False)
    _, others = place.store.enqueue(spec, **given, owner="bob", key="k", fingerprint="f")
    assert others
    with pytest.raises(UsageError, match="another request"):
        place.store.enqueue(spec, **given, owner="ada", key="k", fingerprint="other")


def test_an_owner_has_no_more_searches_and_candidates_than_allowed(place):
    place.store.ensure_owner("ada")
    place.store.set_owner("ada", weight=1.0, limits=OwnerLimits(queued=2, candidates=15))
    first = place.submit()
    place.submit()
    with pytest.raises(LimitError, match="2 searches"):
        place.submit()
    cancel_search(place.store, first)
    place.submit()
    place.store.set_owner("ada", weight=1.0, limits=OwnerLimits(candidates=15))
    with pytest.raises(LimitError, match="18 candidates"):
        place.submit()
    place.submit("bob")


def test_workers_are_shared_out_and_a_users_own_limit_stays(place):
    from evomerge.service import edit_search
    from evomerge.spec import WorkersSpec

    wide = {"workers": WorkersSpec(max=8)}
    first, second = place.submit("ada", changes=wide), place.submit("bob", changes=wide)
    edit_search(place.store, second, {}, 2)
    from evomerge.queue.fair import decide
    from evomerge.queue.settings import QueueSettings

    settings = QueueSettings(running=2, workers=6)
    place.store.schedule("host:1:1:m:n", 60.0, lambda state: decide(state, settings))
    assert place.store.wanted(first).share == 4
    assert place.store.wanted(second).share == 2
    assert place.store.limits(second).workers == 2
    assert place.store.limits(first).workers is None
