"""The tests that every store must pass, whatever database it stands on.

A backend subclasses `StoreConformance` and gives it a fixture `store_url`, the address of an empty
database of its own for each test; `open_store` must open it, from other processes too.

    class TestMyStore(StoreConformance):
        @pytest.fixture
        def store_url(self, tmp_path): ...
"""

from collections.abc import Iterator

import pytest

from evomerge.store import SQLStore, open_store
from evomerge.testing.store_conformance.attempts import AttemptTests
from evomerge.testing.store_conformance.candidates import CandidateTests
from evomerge.testing.store_conformance.concurrency import ConcurrencyTests
from evomerge.testing.store_conformance.following import FollowingTests
from evomerge.testing.store_conformance.kills import KillTests
from evomerge.testing.store_conformance.questions import QuestionTests
from evomerge.testing.store_conformance.races import RaceTests
from evomerge.testing.store_conformance.searches import LeaseTests, SearchTests


class StoreConformance(
    SearchTests,
    LeaseTests,
    CandidateTests,
    FollowingTests,
    AttemptTests,
    QuestionTests,
    RaceTests,
    ConcurrencyTests,
    KillTests,
):
    """All of them."""

    @pytest.fixture
    def store_url(self) -> str:
        """The address of an empty database."""
        raise NotImplementedError("give the subclass a fixture `store_url`")

    @pytest.fixture
    def store(self, store_url: str) -> Iterator[SQLStore]:
        """The store under test, empty."""
        opened = open_store(store_url)
        yield opened
        opened.close()
