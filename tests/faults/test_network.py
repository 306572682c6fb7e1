"""A network that is cut: what notices, and what goes on. Needs root, for network namespaces."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from tests.dispatch.nodes import Nodes
from tests.faults import chaos, network
from tests.faults.killing import ROOT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces, which needs root"),
]

_ASKING = """
import sys, time
from evomerge.errors import StoreError
from evomerge.store import open_store

store = open_store(sys.argv[1])
while True:
    try:
        store.clock()
        print("answered", flush=True)
    except StoreError as error:
        print("error", flush=True)
    time.sleep(0.5)
"""


@pytest.mark.timeout(300)
def test_a_store_beyond_a_cut_network_is_an_error_within_a_minute_and_answers_afterwards(tmp_path):
    with network.laid() as cable:
        database = chaos.Database(tmp_path / "postgresql", host=f"{network.SUBNET}.1")
        try:
            process = subprocess.Popen(
                [*cable.inside, sys.executable, "-c", _ASKING, database.url],
                cwd=ROOT,
                stdout=subprocess.PIPE,
                text=True,
            )
            assert process.stdout is not None
            assert process.stdout.readline() == "answered\n"
            cable.cut()
            began = time.monotonic()
            while "error" not in (line := process.stdout.readline()):
                assert line == "answered\n"
            assert time.monotonic() - began < 90
            cable.join()
            while "answered" not in process.stdout.readline():
                assert time.monotonic() - began < 150
        finally:
            process.kill()
            database.close()


@pytest.mark.timeout(1200)
def test_a_network_cut_between_nodes_loses_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    with network.laid() as cable:
        database = chaos.Database(tmp_path / "postgresql", host=f"{network.SUBNET}.1")
        nodes = Nodes(subnet=network.SUBNET)
        try:
            strike = network.CutNetwork(cable, nodes)
            report = chaos.endure(
                "network", strike, 3, folder=tmp_path, url=database.schema, mode=nodes.address
            )
            assert report.strikes == 3
        finally:
            nodes.close()
            database.close()
