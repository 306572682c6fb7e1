"""Ray's own autoscaler, whose nodes are raylets on this machine: it brings what a search asks for, and
takes away what nobody uses."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from evomerge.service import check_search, submit_search
from evomerge.store import open_store
from evomerge.store.types import SearchStatus
from tests.dispatch.nodes import Nodes, free_port
from tests.faults.chaos import ending, undisturbed
from tests.faults.killing import Victim
from tests.support import fake_spec, history

_HEAD = "fffffffffffffffffffffffffffffffffffffffffffffffffff00000"
"""The name by which Ray's provider of local nodes knows the head."""
_NODES = 2
_NO_COMMANDS = (
    "cluster_synced_files",
    "initialization_commands",
    "setup_commands",
    "head_setup_commands",
    "worker_setup_commands",
    "head_start_ray_commands",
    "worker_start_ray_commands",
)
"""What a cluster's file has to have, and a node on this machine has no use for."""


def _config(address: str) -> dict[str, object]:
    """A cluster without CPUs that may have two nodes with one each, for three idle seconds."""
    grown = {"resources": {"CPU": 1}, "node_config": {}, "min_workers": 0, "max_workers": _NODES}
    return {
        "cluster_name": "grows",
        "max_workers": _NODES,
        "idle_timeout_minutes": 0.05,
        "provider": {
            "type": "fake_multinode",
            "gcs_address": address,
            "head_node_id": _HEAD,
            "launch_multiple": True,
            "use_node_id_as_ip": True,  # all nodes have one address
        },
        "available_node_types": {
            "ray.head.default": {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
            "grown": grown,
        },
        "head_node_type": "ray.head.default",
        "upscaling_speed": 1.0,
        **{key: {} for key in ("auth", "docker", "file_mounts")},
        **{key: [] for key in _NO_COMMANDS},
        "file_mounts_sync_continuously": False,
    }


@pytest.fixture
def growing(tmp_path: Path) -> Iterator[Nodes]:
    port = free_port()
    file = tmp_path / "autoscaler.json"
    file.write_text(json.dumps(_config(f"127.0.0.1:{port}")), encoding="utf-8")
    made = Nodes(
        f"--autoscaling-config={file}",
        port=port,
        environment={
            "RAY_FAKE_CLUSTER": "1",
            "AUTOSCALER_UPDATE_INTERVAL_S": "1",
            "RAY_CLOUD_INSTANCE_ID": _HEAD,
            "RAY_OVERRIDE_NODE_ID_FOR_TESTING": _HEAD,
        },
    )
    try:
        yield made
    finally:
        made.close()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_cluster_grows_for_a_search_and_shrinks_after_it(growing: Nodes, tmp_path: Path) -> None:
    spec = fake_spec(
        tmp_path,
        engine={"name": "fake", "fake_seconds": 0.5},
        workers={"max": _NODES, "autoscale": True},
        strategy={"name": "cma", "seed": 0, "asynchronous": False},
    )
    store = open_store(str(tmp_path / "store.db"))
    search = submit_search(store, check_search(spec, here=False))
    victim = Victim(store.url, search.id, growing.address, tmp_path / "log")
    most = growing.alive()
    assert most == 1
    with ending(victim):
        victim.start()
        assert victim.driver is not None
        while victim.driver.poll() is None:
            most = max(most, growing.alive())
            time.sleep(0.3)
    assert victim.driver.returncode == 0, (tmp_path / "log").read_text()
    assert store.search(search.id).status is SearchStatus.FINISHED
    assert 1 < most <= 1 + _NODES
    assert history(store, search.id) == undisturbed(tmp_path, spec)
    growing.wait_for(1)
