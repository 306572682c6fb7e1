"""Work that is one piece ahead: nothing is left running, and the first error is the one that is told."""

import threading

import pytest

from evomerge.merging.threads import OneAhead, start_all


def test_a_piece_is_waited_for_after_the_next_one_has_begun():
    told = []
    with OneAhead() as begun:
        for name in "abc":
            told.append(f"begin {name}")
            begun.then(lambda name=name: told.append(f"end {name}"))
    assert told == ["begin a", "begin b", "end a", "begin c", "end b", "end c"]


def test_what_was_begun_after_a_piece_that_fails_is_waited_for():
    told = []

    def fail() -> None:
        raise ValueError("the first")

    with pytest.raises(ValueError, match="the first"), OneAhead() as begun:
        begun.then(fail)
        begun.then(lambda: told.append("the second has ended"))
    assert told == ["the second has ended"]


def test_what_runs_is_waited_for_when_the_next_piece_cannot_begin():
    told = []
    with pytest.raises(KeyError), OneAhead() as begun:
        begun.then(lambda: told.append("it has ended"))
        raise KeyError("the next")
    assert told == ["it has ended"]


def test_the_error_that_came_first_is_told_where_a_second_follows():
    def fail(text: str) -> None:
        raise ValueError(text)

    with pytest.raises(ValueError, match="the first"), OneAhead() as begun:
        begun.then(lambda: fail("the first"))
        begun.then(lambda: fail("the second"))


def test_spans_that_were_begun_all_end_before_one_s_error_is_raised():
    gate, ended = threading.Event(), []

    def work(number: int) -> None:
        if number == 0:
            gate.set()
            raise ValueError("a span")
        gate.wait(10)
        ended.append(number)

    finish = start_all(work, [0, 1, 2])
    with pytest.raises(ValueError, match="a span"):
        finish()
    assert sorted(ended) == [1, 2]
