"""What pages read of a store: cut out by the database, and the same as whoever reads everything finds."""

from __future__ import annotations

import math
from contextlib import ExitStack

import pytest

from benchmarks.many_candidates import fill
from evomerge.errors import NotFoundError
from evomerge.fitness import Split
from evomerge.store import open_store
from evomerge.store.pages import CandidateView, SearchView, Show
from evomerge.store.types import EvaluationStatus, Origin, SearchStatus
from evomerge.testing.store_conformance.samples import hold, make_candidate, make_result, make_spec
from tests.databases import fresh_schema

COUNT = 400


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def large(request, tmp_path_factory):
    """A store with a search between two others, so that ids and numbers differ; tests only read it."""
    folder = tmp_path_factory.mktemp("large")
    with ExitStack() as stack:
        url = str(folder / "s.db")
        if request.param == "postgresql":
            server = request.getfixturevalue("postgres_server")
            url = stack.enter_context(fresh_schema(server))
        fill(url, folder / "models", 30, name="before", seed=1)
        search = fill(url, folder / "models", COUNT, name="large", seed=2)
        fill(url, folder / "models", 30, name="after", seed=3)
        store = open_store(url)
        stack.callback(store.close)
        yield store, search


def everything(store, search):
    candidates = {c.id: c for c in store.candidates(search)}
    found = store.evaluations(search, Split.SEARCH)
    return [(candidates[e.candidate_id], e) for e in found]


def whole(store, search, view, size=37):
    """All pages of a list, one after the other."""
    rows, total = [], None
    while total is None or len(rows) < total:
        page = store.candidate_page(search, view, limit=size, offset=len(rows))
        assert page.rows or total in (None, 0)
        total = page.total
        rows += page.rows
        if not page.rows:
            break
    return rows


def numbers(rows):
    return [candidate.number for candidate, _ in rows]


@pytest.mark.parametrize("descending", [True, False])
def test_pages_by_number_and_by_fitness_hold_everyone_once_in_order(large, descending):
    store, search = large
    by_number = whole(store, search, CandidateView("number", descending))
    assert numbers(by_number) == sorted(range(COUNT), reverse=descending)
    sign = -1 if descending else 1

    def rank(pair):
        candidate, evaluation = pair
        if evaluation.status is not EvaluationStatus.SCORED:
            return (2, 0.0, 0.0, candidate.number)
        return (
            evaluation.violation > 0,
            evaluation.violation,
            sign * evaluation.fitness,
            candidate.number,
        )

    by_fitness = whole(store, search, CandidateView("fitness", descending))
    assert numbers(by_fitness) == numbers(sorted(everything(store, search), key=rank))


@pytest.mark.parametrize("descending", [True, False])
def test_pages_by_a_task_hold_those_that_answered_all_of_it(large, descending):
    store, search = large
    found = whole(store, search, CandidateView("task:beta", descending))
    values = [next(s.value for s in e.scores if s.task == "beta") for _, e in found]
    assert values == sorted(values, reverse=descending)
    scored = [e for _, e in everything(store, search) if e.status is EvaluationStatus.SCORED]
    assert {e.id for _, e in found} == {e.id for e in scored}


@pytest.mark.parametrize("show", [s for s in Show if s not in (Show.ALL, Show.BASELINES)])
@pytest.mark.parametrize("sort", ["number", "fitness"])
def test_a_filter_shows_what_has_that_status(large, show, sort):
    store, search = large
    found = whole(store, search, CandidateView(sort, show=show))
    wanted = {c.number for c, e in everything(store, search) if e.status.value == show.value}
    assert set(numbers(found)) == wanted
    assert len(found) == len(wanted)
    assert store.candidate_page(search, CandidateView(show=show), limit=1).total == len(wanted)


def test_baselines_a_number_and_a_recipe_are_found_by_their_names(large):
    store, search = large
    baselines = whole(store, search, CandidateView(show=Show.BASELINES))
    assert {c.origin for c, _ in baselines} == {Origin.BASELINE}
    wanted = [c.number for c in store.candidates(search) if c.origin is Origin.BASELINE]
    assert sorted(numbers(baselines)) == wanted
    assert numbers(whole(store, search, CandidateView(text="17"))) == [17]
    recipe = store.numbered(search, 99).recipe_id
    assert 99 in numbers(whole(store, search, CandidateView(text=recipe[:12])))
    assert [c.label for c, _ in whole(store, search, CandidateView(text="ties"))] == ["TIES"]
    for nothing in ("no such thing", "%", "_", "99999999", "'"):
        assert whole(store, search, CandidateView(text=nothing)) == []


@pytest.mark.parametrize("text", ["\x00", "\ud800", "\\", "%", "'; --", "😀" * 50, "7" * 40])
def test_whatever_is_typed_is_looked_for_and_breaks_nothing(large, text):
    store, search = large
    assert store.candidate_page(search, CandidateView(text=text), limit=3).total in (0, COUNT)
    assert store.candidate_page(search, CandidateView(f"task:{text}"), limit=3).rows == ()
    assert store.search_page(SearchView(text=text), limit=3).total in (0, 3)
    assert store.search_page(SearchView(owner=text), limit=3).total == 0


def test_a_candidate_is_found_by_its_number_and_has_its_neighbours(large):
    store, search = large
    found = store.numbered(search, 12)
    assert (found.number, found.search_id) == (12, search)
    assert store.neighbours(search, 12) == (11, 13)
    assert store.neighbours(search, 0) == (None, 1)
    assert store.neighbours(search, COUNT - 1) == (COUNT - 2, None)
    with pytest.raises(NotFoundError):
        store.numbered(search, COUNT)


def records_of(pairs):
    """The candidates that were the best so far, by reading all of them."""
    best, found = -math.inf, []
    for candidate, evaluation in pairs:
        kept = evaluation.status is EvaluationStatus.SCORED and evaluation.violation == 0
        if candidate.origin is Origin.SEARCH and kept and evaluation.fitness > best:
            best = evaluation.fitness
            found.append(candidate.number)
    return found


def test_the_course_of_a_short_search_is_exact(large):
    store, search = large
    pairs = everything(store, search)
    course = store.course(search, stretches=COUNT, dots=COUNT)
    assert [dot.number for dot in course.records] == records_of(pairs)
    shown = {c.number for c, e in pairs if c.origin is Origin.SEARCH and e.fitness is not None}
    assert {dot.number for dot in course.dots} == shown
    assert {dot.number for dot in course.dots if dot.dropped} == {
        c.number for c, e in pairs if e.status is EvaluationStatus.DROPPED
    }


def test_the_course_of_a_long_search_keeps_the_best_and_is_short(large):
    store, search = large
    pairs = everything(store, search)
    course = store.course(search, stretches=20, dots=30)
    baselines = sum(c.origin is Origin.BASELINE for c, _ in pairs)
    assert (course.first, course.candidates) == (baselines, COUNT - baselines)
    exact = records_of(pairs)
    assert {dot.number for dot in course.records} <= set(exact)
    assert course.records[-1].number == exact[-1]
    assert len(course.dots) <= 2 * 30 + len(course.records)
    fitness = [dot.fitness for dot in course.records]
    assert fitness == sorted(fitness)


def test_baselines_finalists_and_who_is_named_are_chosen(large):
    store, search = large
    named = store.numbered(search, 50)
    chosen = store.chosen(search, [named.id])
    baselines = [c.number for c in store.candidates(search) if c.origin is Origin.BASELINE]
    assert sorted({c.number for c, _ in chosen}) == [*baselines, 50]
    best = store.leading(search, 10)
    ranked = whole(store, search, CandidateView())[:10]
    assert [number for number, _ in best] == numbers(ranked)
    assert [e for _, e in best] == [e for _, e in ranked]


def test_what_is_under_way_and_what_went_wrong_are_found_over_all_searches(large):
    store, search = large
    jobs = store.jobs()
    running = {
        c.number for c, e in everything(store, search) if e.status is EvaluationStatus.RUNNING
    }
    assert {job.number for job in jobs if job.search_id == search} == running
    assert len(jobs) > len(running)
    assert all(0 < job.seconds < 3600 for job in jobs)
    failed = [c.number for c, e in everything(store, search) if e.status is EvaluationStatus.FAILED]
    assert failed
    mishaps = store.mishaps([search])
    assert sorted(m.number for m in mishaps) == failed
    assert [m.at for m in mishaps] == sorted((m.at for m in mishaps), reverse=True)
    assert store.mishap_counts([search]) == {("MergeError", "failed"): len(failed)}
    assert store.mishaps([]) == []
    assert store.mishaps([search], limit=1, offset=1) == mishaps[1:2]


def test_worker_time_is_that_of_the_latest_evaluations(large):
    store, search = large
    window = store.worker_times(search)
    assert (window.evaluations, window.whole) == (COUNT, True)
    evaluations = [e for _, e in everything(store, search)]
    forward = sum(e.costs.forward_seconds for e in evaluations if e.costs)
    assert sum(w.seconds["forward"] for w in window.workers) == pytest.approx(forward)
    assert sum(w.attempts for w in window.workers) == COUNT
    seconds, tokens = store.spent_seconds(search)
    assert seconds == pytest.approx(sum(e.costs.total_seconds for e in evaluations if e.costs))
    assert tokens == sum(e.costs.tokens for e in evaluations if e.costs)
    short = store.worker_times(search, latest=50)
    assert (short.evaluations, short.whole) == (50, False)
    assert sum(w.attempts for w in short.workers) == 50
    # 16 workers, 40 seconds each
    assert store.pace(search) == pytest.approx(16 / 40, rel=0.6)


def test_searches_are_filtered_by_status_owner_and_name(any_url):
    store = open_store(any_url)
    spec = make_spec(name="100% support_bot")
    mine, _ = store.enqueue(spec, scope="s", versions={}, owner="ada", priority=3)
    other = store.create_search(make_spec(name="other"), scope="s", versions={})
    store.set_status(other.id, SearchStatus.RUNNING)

    def names(view):
        page = store.search_page(view, limit=10)
        assert page.total == len(page.rows)
        return {row.search.name for row in page.rows}

    assert names(SearchView()) == {"100% support_bot", "other"}
    assert names(SearchView(status=SearchStatus.RUNNING)) == {"other"}
    assert names(SearchView(owner="ada")) == {"100% support_bot"}
    assert names(SearchView(text="SUPPORT")) == {"100% support_bot"}
    assert names(SearchView(text=other.id[:8])) == {"other"}
    assert names(SearchView(text="0%_")) == set()
    (row,) = store.search_page(SearchView(owner="ada"), limit=10).rows
    assert (row.owner, row.priority) == ("ada", 3)
    assert store.search_owners() == ["ada"]
    first = store.search_page(SearchView(), limit=1)
    second = store.search_page(SearchView(), limit=1, offset=1)
    assert {first.rows[0].search.id, second.rows[0].search.id} == {mine.id, other.id}
    store.close()


def test_a_result_that_was_taken_over_is_listed_with_its_scores(any_url):
    store = open_store(any_url)
    search = hold(store)
    search.add(make_candidate(0, weight=0.3), make_candidate(1, weight=0.3))
    original = search.evaluations()[0]
    search.score(original.id, 0.5)
    (row,) = store.candidate_page(search.id, CandidateView(show=Show.TAKEN_OVER), limit=9).rows
    candidate, evaluation = row
    assert candidate.number == 1
    assert (evaluation.copied_from, evaluation.scores) == (original.id, make_result(0.5).scores)
    assert store.candidate_page(search.id, CandidateView(), limit=9).total == 2
    store.close()


def test_a_search_without_candidates_has_empty_pages(any_url):
    store = open_store(any_url)
    search = store.create_search(make_spec(), scope="s", versions={}).id
    assert store.candidate_page(search, CandidateView(), limit=9).rows == ()
    assert store.course(search).dots == ()
    assert store.chosen(search) == []
    assert store.pace(search) is None
    assert store.worker_times(search).workers == ()
    store.close()
