"""Many threads and processes at once."""

import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from evomerge.errors import StoreError
from evomerge.store import Store, open_store
from evomerge.store.types import EvaluationStatus
from evomerge.testing.store_conformance.samples import hold, make_candidate, make_result

THREADS, PROCESSES = 12, 3


def start_child(*arguments: str) -> "subprocess.Popen[str]":
    """A process of its own, as `child` says."""
    command = [sys.executable, "-m", "evomerge.testing.store_conformance.child", *arguments]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def race(*commands: tuple[str, ...]) -> list[list[str]]:
    """Start children, let them go together once all are ready, and give the words that each says."""
    children = [start_child(*command) for command in commands]
    for child in children:
        assert child.stdout is not None and child.stdout.readline() == "ready\n"
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    lines = [child.stdout.readline().split() for child in children if child.stdout is not None]
    for child in children:
        child.communicate(timeout=120)  # only now: whoever exits sooner frees its leases
    assert [child.returncode for child in children] == [0] * len(children)
    return lines


class ConcurrencyTests:
    """Whoever comes first wins, and nobody else notices."""

    def test_of_processes_that_race_for_a_lease_exactly_one_gets_it(
        self, store: Store, store_url: str
    ) -> None:
        ids = [f"search-{n}" for n in range(15)]
        for name in ids:
            held = hold(store, search_id=name)
            store.release_lease(held.id, held.owner)
        got = race(*[("lease", store_url, *ids)] * PROCESSES)
        assert sorted(name for names in got for name in names) == sorted(ids)

    def test_of_threads_that_attempt_the_same_evaluation_exactly_one_decides(
        self, store: Store
    ) -> None:
        held = hold(store)
        held.add(make_candidate(0))
        (evaluation,) = held.evaluations()

        def attempt(number: int) -> bool:
            try:
                begun = store.begin_attempt(evaluation.id, f"thread {number}")
            except StoreError:
                return False
            return store.finish_attempt(evaluation.id, begun, make_result(number / 100))

        with ThreadPoolExecutor(THREADS) as pool:
            assert sum(pool.map(attempt, range(2 * THREADS))) == 1
        (found,) = held.evaluations()
        assert found.status is EvaluationStatus.SCORED
        statuses = Counter(a.status for a in store.attempts(evaluation.id))
        assert statuses["scored"] == 1 and set(statuses) <= {"scored", "late", "lost"}

    def test_processes_that_score_at_once_lose_nothing(self, store: Store, store_url: str) -> None:
        held = hold(store)
        held.add(*(make_candidate(n) for n in range(45)))
        ids = [str(evaluation.id) for evaluation in held.evaluations()]
        shares = [ids[place::PROCESSES] for place in range(PROCESSES)]
        race(*[("score", store_url, *share) for share in shares])
        for evaluation in held.evaluations():
            assert (evaluation.status, evaluation.attempts) == (EvaluationStatus.SCORED, 1)
            assert len(evaluation.scores) == 3
            assert len(store.outcomes(evaluation.id)) == 2

    def test_threads_that_open_an_empty_database_make_its_schema_once(self, store_url: str) -> None:
        def open_and_write(number: int) -> str:
            opened = open_store(store_url)
            try:
                return hold(opened, search_id=f"search-{number}").id
            finally:
                opened.close()

        with ThreadPoolExecutor(6) as pool:
            made = sorted(pool.map(open_and_write, range(6)))
        store = open_store(store_url)
        assert sorted(search.id for search in store.searches()) == made
        store.close()
