"""A Ray cluster of several nodes on one machine: each node is a `ray start` of its own.

Nodes have loopback addresses of their own and may have environments of their own, so that each has its
own folder for models. A node is killed as a spot node goes: all its processes at once, SIGKILL.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

_PATIENCE = 120.0
ROOT = Path(__file__).parents[2]
SOON = {
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 300,
    "health_check_timeout_ms": 1000,
    "health_check_failure_threshold": 3,
}
"""A node that vanished is noticed within seconds."""


class Node:
    """One `ray start --block` and everything that came of it; `inside`: a command that runs it elsewhere."""

    def __init__(
        self,
        address: str,
        arguments: list[str],
        environment: Mapping[str, str],
        inside: Sequence[str] = (),
    ) -> None:
        self.address = address
        self.process = subprocess.Popen(
            [*inside, sys.executable, "-m", "ray.scripts.scripts", "start", "--block", *arguments],
            env={**os.environ, "PYTHONPATH": str(ROOT), "RAY_AUTH_MODE": "disabled", **environment},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )

    def kill(self) -> None:
        """End it without a word to anybody."""
        with suppress(psutil.NoSuchProcess):
            parent = psutil.Process(self.process.pid)
            family = [parent, *parent.children(recursive=True)]
            for process in family:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            psutil.wait_procs(family, timeout=10)
        self.process.wait(timeout=10)


class Nodes:
    """A head without CPUs, and nodes that come and go.

    Args:
        subnet: the first three numbers of their addresses.
    """

    def __init__(
        self,
        *arguments: str,
        environment: Mapping[str, str] | None = None,
        port: int | None = None,
        subnet: str = "127.0.0",
    ) -> None:
        self._subnet = subnet
        # Ray's sockets lie in it, and their paths may have 107 characters.
        self.folder = Path(tempfile.mkdtemp(prefix="evo-"))
        self.port = port or free_port()
        self.address = f"{subnet}.1:{self.port}"
        self._nodes: list[Node] = []
        self._count = 1
        self._start(
            *("--head", f"--port={self.port}", "--num-cpus=0", "--include-dashboard=false"),
            f"--temp-dir={self.folder}",
            f"--system-config={json.dumps(SOON)}",
            *arguments,
            environment=environment,
        )
        self.wait_for(1)

    def add(
        self,
        cpus: int,
        models: Path | None = None,
        inside: Sequence[str] = (),
        **resources: float,
    ) -> Node:
        """One more node, with a folder of its own for models; returns once it has joined."""
        self._count += 1
        environment = {} if models is None else {"EVOMERGE_MODELS": str(models)}
        before = self.alive()
        node = self._start(
            *(f"--address={self.address}", f"--num-cpus={cpus}"),
            f"--resources={json.dumps(resources)}",
            environment=environment,
            inside=inside,
        )
        self.wait_for(before + 1)
        return node

    def workers(self) -> list[Node]:
        """The nodes that are not the head."""
        return self._nodes[1:]

    def remove(self, node: Node) -> None:
        """Kill a node, and wait until the cluster has noticed."""
        before = self.alive()
        node.kill()
        self._nodes.remove(node)
        self.wait_for(before - 1)

    def alive(self) -> int:
        """How many nodes the cluster counts."""
        from ray._raylet import GcsClient

        with suppress(Exception):
            client = GcsClient(address=self.address)
            return sum(info.state == 0 for info in client.get_all_node_info().values())
        return 0

    def wait_for(self, count: int) -> None:
        deadline = time.monotonic() + _PATIENCE
        while self.alive() != count:
            assert time.monotonic() < deadline, f"{self.alive()} nodes, not {count}"
            time.sleep(0.3)

    def close(self) -> None:
        for node in reversed(self._nodes):
            node.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _start(
        self,
        *arguments: str,
        environment: Mapping[str, str] | None = None,
        inside: Sequence[str] = (),
    ) -> Node:
        address = f"{self._subnet}.{self._count}"
        common = ("--object-store-memory=80000000", "--disable-usage-stats")
        node = Node(
            address,
            [*arguments, f"--node-ip-address={address}", *common],
            environment or {},
            inside,
        )
        self._nodes.append(node)
        return node


def free_port() -> int:
    """A port on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for_port(port: int) -> None:
    """Return once something listens there."""
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        with suppress(OSError):
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        time.sleep(0.3)
    raise AssertionError(f"nothing listens on {port}")
