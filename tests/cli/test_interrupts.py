"""Signals are heard at once and obeyed where they do no harm."""

import os
import signal

import pytest

from evomerge.cli import interrupts as module
from evomerge.cli.interrupts import Interruptible, Interrupts


class Workers:
    """A dispatcher that notes its calls, and gets a signal while it starts."""

    slots = 3

    def __init__(self, signal_at_start=False):
        self.calls = []
        self.signal_at_start = signal_at_start

    def start(self):
        if self.signal_at_start:
            os.kill(os.getpid(), signal.SIGINT)
        self.calls.append("started")
        return {}

    def submit(self, task):
        self.calls.append("submit")

    def wait(self, seconds):
        self.calls.append("wait")
        return []

    def close(self):
        self.calls.append("close")


@pytest.mark.parametrize("number", module.SIGNALS)
def test_a_signal_raises_nothing_until_the_next_dispatch(number, capsys):
    workers = Workers()
    with Interrupts("evomerge resume x").listening() as heard:
        wrapped = Interruptible(workers, heard)
        wrapped.wait(0)
        os.kill(os.getpid(), number)
        with pytest.raises(KeyboardInterrupt):
            wrapped.wait(0)
        with pytest.raises(KeyboardInterrupt):
            wrapped.submit(None)
    wrapped.close()
    assert workers.calls == ["wait", "close"]
    assert "pausing" in capsys.readouterr().err


def test_the_engines_start_is_broken_off_at_once():
    workers = Workers(signal_at_start=True)
    with Interrupts("again").listening() as heard, pytest.raises(KeyboardInterrupt):
        Interruptible(workers, heard).start()
    assert workers.calls == []


def test_a_handler_that_the_workers_start_puts_up_is_replaced():
    class Rude(Workers):
        def start(self):
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            return {}

    with Interrupts("again").listening() as heard:
        wrapped = Interruptible(Rude(), heard)
        wrapped.start()
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            wrapped.wait(0)


def test_the_second_signal_ends_the_process_and_says_how_to_go_on(monkeypatch, capsys):
    codes = []
    monkeypatch.setattr(module.os, "_exit", codes.append)
    with Interrupts("evomerge resume x").listening():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
    assert codes == [130]
    assert "evomerge resume x" in capsys.readouterr().err


def test_afterwards_signals_mean_what_they_meant_before():
    before = [signal.getsignal(number) for number in module.SIGNALS]
    with Interrupts("again").listening():
        pass
    assert [signal.getsignal(number) for number in module.SIGNALS] == before
