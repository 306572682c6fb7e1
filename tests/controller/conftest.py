"""Searches here are longer than what the controller reads of its store at once."""

import pytest

from evomerge.store import parts


@pytest.fixture(autouse=True)
def few_at_once(monkeypatch):
    monkeypatch.setattr(parts, "AT_ONCE", 7)
