"""A few strikes of each fault that `benchmarks.chaos` deals a hundred times."""

from __future__ import annotations

import os

import pytest

from tests.faults import chaos
from tests.faults.serving import endure_serving


def _file(place):
    return str(place / "store.db")


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("strike", [chaos.outlive_lease, chaos.start_another])
def test_one_controller_alone_works_on_a_search(tmp_path, strike):
    report = chaos.endure(strike.__name__, strike, 4, folder=tmp_path, url=_file)
    assert report.strikes == 4


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_clock_that_jumps_by_days_changes_nothing(tmp_path):
    clock = chaos.JumpingClock(tmp_path)
    chaos.endure("clock", clock, 8, folder=tmp_path, url=_file, environment=clock.environment)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_database_killed_while_it_writes_loses_nothing(tmp_path):
    database = chaos.Database(tmp_path / "postgresql")
    try:
        chaos.endure("database", database, 4, folder=tmp_path, url=database.schema)
    finally:
        database.close()


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small file system, which needs root")
def test_a_full_disk_loses_nothing_and_is_gone_on_from(tmp_path):
    with chaos.FullDisk.mounted(tmp_path / "small") as mount:
        strike = chaos.FullDisk(mount)
        chaos.endure(
            "full", strike, 4, folder=tmp_path, url=lambda place: str(mount / f"{place.name}.db")
        )


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_server_that_is_killed_keeps_every_word_that_it_gave(tmp_path, any_url):
    report = endure_serving("server", 5, folder=tmp_path / "served", url=any_url)
    assert report.strikes >= 5
