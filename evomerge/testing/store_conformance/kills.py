"""`kill -9` at any moment leaves every write whole or undone, and the search goes on."""

import random
import time
from typing import Any

from evomerge.store import Store
from evomerge.store.types import EvaluationStatus
from evomerge.testing.store_conformance.child import BATCH, BATCHES
from evomerge.testing.store_conformance.concurrency import race, start_child
from evomerge.testing.store_conformance.samples import hold

KILLS = 8


def _new_search(store: Store, scope: str) -> str:
    held = hold(store, scope=scope)
    store.release_lease(held.id, held.owner)
    return held.id


def _kill_after(seconds: float, *arguments: str) -> None:
    child = start_child(*arguments)
    assert child.stdout is not None and child.stdin is not None
    assert child.stdout.readline() == "ready\n"
    child.stdin.write("go\n")
    child.stdin.flush()
    time.sleep(seconds)
    child.kill()
    child.communicate()


def _check_whole(store: Store, search_id: str) -> None:
    """No write is there by half."""
    candidates, evaluations = store.candidates(search_id), store.evaluations(search_id)
    assert len(candidates) % BATCH == 0
    assert [e.candidate_id for e in evaluations] == [c.id for c in candidates]
    told = sorted(c.told for c in candidates if c.told is not None)
    assert told == list(range(len(told))) and len(told) % BATCH == 0
    for evaluation in evaluations:
        scored = evaluation.status is EvaluationStatus.SCORED
        ended = [a for a in store.attempts(evaluation.id) if a.status == "scored"]
        assert len(evaluation.scores) == 3 * scored
        assert len(store.outcomes(evaluation.id)) == 2 * scored
        assert len(ended) == scored


def _history(store: Store, search_id: str) -> list[Any]:
    evaluations = {e.candidate_id: e for e in store.evaluations(search_id)}
    return [
        (c.number, c.recipe_id, c.genome, c.told, c.loss, e.status, e.scores, e.fitness, e.failures)
        for c in store.candidates(search_id)
        for e in [evaluations[c.id]]
    ]


class KillTests:
    """A real process, really killed."""

    def test_a_search_killed_again_and_again_ends_with_the_history_of_an_undisturbed_one(
        self, store: Store, store_url: str
    ) -> None:
        undisturbed, killed = _new_search(store, "one"), _new_search(store, "two")
        started = time.monotonic()
        race(("search", store_url, undisturbed))
        whole_run = time.monotonic() - started
        moments = random.Random(5)
        for _ in range(KILLS):
            pause = moments.uniform(0, 0.3 * whole_run)
            _kill_after(pause, "search", store_url, killed)
            _check_whole(store, killed)
        race(("search", store_url, killed))
        assert len(_history(store, killed)) == BATCHES * BATCH
        assert _history(store, killed) == _history(store, undisturbed)
