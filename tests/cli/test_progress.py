"""Progress: counting, speed, the best so far, and events read from a store."""

import io

import pytest
from rich.console import Console

from evomerge.cli.following import EventFeed
from evomerge.cli.meter import Meter, duration
from evomerge.cli.progress import SearchProgress
from evomerge.controller.events import Note, PhaseStarted, Scored
from evomerge.fitness import Split
from evomerge.recipe import Recipe
from evomerge.store import open_store, parts
from evomerge.store.types import CandidateRecord, EvaluationRecord, EvaluationStatus, Origin
from evomerge.testing.store_conformance.samples import hold, make_candidate


def scored(number, fitness, *, replayed=False, violation=0.0, status=EvaluationStatus.SCORED):
    candidate = CandidateRecord(
        number,
        "s",
        number,
        Origin.SEARCH,
        Recipe(merge_method="linear", models=()),
        "r",
        0,
        None,
        None,
        None,
        None,
    )
    evaluation = EvaluationRecord(
        number, number, Split.SEARCH, status, 1, fitness=fitness, violation=violation
    )
    return Scored(candidate, evaluation, replayed)


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def test_speed_and_time_left_come_from_fresh_results_alone():
    clock = Clock()
    meter = Meter(clock)
    meter.feed(PhaseStarted("search", 100))
    for number in range(40):
        meter.feed(scored(number, 0.1, replayed=True))
    for number in range(40, 50):
        clock.now += 6
        meter.feed(scored(number, 0.1))
    assert meter.done == 50
    assert meter.per_minute == pytest.approx(10)
    assert meter.seconds_left == pytest.approx(300)


def test_the_best_is_feasible_before_it_is_high():
    meter = Meter(Clock())
    meter.feed(PhaseStarted("search", 3))
    for event in (scored(0, 0.9, violation=0.1), scored(1, 0.5), scored(2, 0.4)):
        meter.feed(event)
    assert meter.best_text == "best 0.5000 (candidate 1)"


def test_failures_are_counted_and_said():
    meter = Meter(Clock())
    meter.feed(PhaseStarted("search", 2))
    meter.feed(scored(0, None, status=EvaluationStatus.FAILED))
    assert "1 failed" in meter.line


@pytest.mark.parametrize(
    ("seconds", "text"), [(5, "5 s"), (89, "89 s"), (150, "2 min"), (7260, "2 h 01 min")]
)
def test_durations_read_as_people_say_them(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_shows_phases_and_notes_with_and_without_a_terminal(terminal, finished):
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=120, highlight=False)
    store = open_store(finished.store)
    with SearchProgress(store, finished.id, console) as progress:
        for event in EventFeed(store, store.search(finished.id)).poll():
            progress(event)
        progress(Note("something [odd]"))
    store.close()
    assert "something [odd]" in out.getvalue()
    for phase in ("baselines", "search", "validation", "test"):
        assert phase in out.getvalue()
    assert ("\x1b" in out.getvalue()) is terminal


def test_the_feed_tells_every_result_once_and_in_the_order_of_the_phases(finished):
    store = open_store(finished.store)
    feed = EventFeed(store, store.search(finished.id))
    events = list(feed.poll())
    assert [e.name for e in events if isinstance(e, PhaseStarted)] == [
        *("baselines", "search", "validation", "test"),
    ]
    assert sum(isinstance(e, Scored) for e in events) == 32
    assert list(feed.poll()) == []
    store.close()


def test_the_feed_looks_only_at_what_was_not_final_and_forgets_the_rest(tmp_path, monkeypatch):
    monkeypatch.setattr(parts, "AT_ONCE", 2)
    store = open_store(str(tmp_path / "store.db"))
    held = hold(store)
    held.add(*(make_candidate(number) for number in range(5)))
    ids = [evaluation.id for evaluation in held.evaluations()]
    feed = EventFeed(store, store.search(held.id))

    def news():
        return [e.candidate.number for e in feed.poll() if isinstance(e, Scored)]

    assert news() == []
    for number in (0, 1, 3):
        held.score(ids[number], 0.5)
    assert news() == [0, 1, 3]
    assert (feed._open, feed._seen) == (2, {ids[3]})
    held.score(ids[2], 0.5)
    assert news() == [2]
    first = store.candidates(held.id)[0].id
    (validated,) = store.request_evaluations(held.id, held.owner, [first], Split.VALIDATION)
    held.score(validated.id, 0.5)
    assert news() == [0]
    assert news() == []
    store.close()
