"""A network between nodes that is cut and comes back: network namespaces, a bridge, Ray on both sides.

Head, controller and PostgreSQL live on this machine's side of a bridge, the workers' node in a namespace of
its own. A cut takes the node's cable out of the bridge: packets vanish, nobody is told, as with a switch that
dies. Shorter cuts Ray does not notice; after longer ones it gives the node up, and whoever runs nodes
(Kubernetes, a cloud) starts it again. Needs root.
"""

from __future__ import annotations

import os
import random
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tests.dispatch.nodes import Nodes
from tests.faults.killing import Victim

SUBNET = "10.77.0"
_LONGEST_CUT = 20.0
_REJOIN = 12.0


class Cable:
    """The one way between this side and the node's."""

    def __init__(self) -> None:
        mark = os.getpid() % 100_000
        self._bridge, self._end, self._other = f"evb{mark}", f"eve{mark}", f"evo{mark}"
        self._space = f"evo{mark}"

    @property
    def inside(self) -> tuple[str, ...]:
        """What runs a command on the node's side."""
        return ("ip", "netns", "exec", self._space)

    def lay(self) -> None:
        """Make both sides, joined."""
        end, other, space = self._end, self._other, self._space
        _ip("link", "add", self._bridge, "type", "bridge")
        _ip("addr", "add", f"{SUBNET}.1/24", "dev", self._bridge)
        _ip("link", "set", self._bridge, "up")
        _ip("netns", "add", space)
        _ip("link", "add", end, "type", "veth", "peer", "name", other, "netns", space)
        _ip("link", "set", end, "master", self._bridge, "up")
        for number in range(2, 250):  # nodes that come later have addresses of their own
            _ip("-n", space, "addr", "add", f"{SUBNET}.{number}/24", "dev", other)
        _ip("-n", space, "link", "set", other, "up")
        _ip("-n", space, "link", "set", "lo", "up")

    def cut(self) -> None:
        """From now on packets vanish."""
        _ip("link", "set", self._end, "nomaster")

    def join(self) -> None:
        """They arrive again."""
        _ip("link", "set", self._end, "master", self._bridge)

    def remove(self) -> None:
        """Leave the machine as it was."""
        for what in (("netns", "del", self._space), ("link", "del", self._bridge)):
            subprocess.run(["ip", *what], check=False, capture_output=True)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


@contextmanager
def laid() -> Iterator[Cable]:
    """A cable for a while."""
    cable = Cable()
    try:
        cable.lay()
        yield cable
    finally:
        cable.remove()


class CutNetwork:
    """A strike: the network is away for 1 to 20 seconds; a node that Ray has given up is started again."""

    def __init__(self, cable: Cable, nodes: Nodes) -> None:
        self._cable, self._nodes = cable, nodes
        self._node = nodes.add(1, inside=cable.inside)
        self.given_up = 0
        """How many of the cuts Ray did not bear."""

    def __call__(self, victim: Victim, chooser: random.Random) -> None:
        self._cable.cut()
        time.sleep(chooser.uniform(1.0, _LONGEST_CUT))
        self._cable.join()
        deadline = time.monotonic() + _REJOIN
        time.sleep(1.0)
        while self._nodes.alive() == 2 and self._node.process.poll() is None:
            if time.monotonic() > deadline:
                return
            time.sleep(0.5)
        self.given_up += 1
        self._node.kill()
        self._nodes.wait_for(1)
        for last in (False, False, True):  # a node that does not come up is started once more
            try:
                self._node = self._nodes.add(1, inside=self._cable.inside)
                return
            except AssertionError:
                if last:
                    raise
                self._nodes.workers()[-1].kill()
                self._nodes.wait_for(1)
