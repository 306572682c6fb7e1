"""Searches here are longer than what the controller reads of its store at once."""

import pytest

from evomerge.controller import ledger


@pytest.fixture(autouse=True)
def few_at_once(monkeypatch):
    monkeypatch.setattr(ledger, "_AT_ONCE", 7)
