"""Settings for every test: generated examples are the same in every run and never timed."""

import os
import tempfile
from collections.abc import Iterator

import pytest
from hypothesis import settings

settings.register_profile("evomerge", deadline=None, derandomize=True)
settings.load_profile("evomerge")

pytest_plugins = ["tests.databases"]


@pytest.fixture(autouse=True, scope="session")
def calibration_of_its_own() -> Iterator[None]:
    """Statistics that tests measure lie in a folder that vanishes with them."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["EVOMERGE_CALIBRATION"] = folder
        yield
        del os.environ["EVOMERGE_CALIBRATION"]
