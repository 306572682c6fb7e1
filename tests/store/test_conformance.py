"""The conformance suite on both databases."""

from __future__ import annotations

import pytest

from evomerge.testing.store_conformance import StoreConformance


class TestSQLite(StoreConformance):
    @pytest.fixture
    def store_url(self, sqlite_url):
        return sqlite_url


class TestPostgreSQL(StoreConformance):
    @pytest.fixture
    def store_url(self, postgres_url):
        return postgres_url
