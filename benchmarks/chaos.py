"""Does a search survive everything? Faults that strike it again and again, and how soon it goes on.

    python -m benchmarks.chaos --times 100 --faults controller worker database ...

The real controller, worker, Ray and databases; the fake engine, whose evaluations take 0.3 seconds (`engine`:
vLLM with two ranks). After
each search its history is compared with that of an undisturbed one: a difference, a result that is scored
twice or a process that is left over ends the benchmark with an error. A full disk needs root, who may
mount a small one.
"""

import argparse
import logging
import os
import random
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.dispatch.nodes import Nodes
from tests.faults import chaos, network, ranks, serving
from tests.faults.killing import Victim

HEAD = "| fault | strikes | searches | median seconds to the next result | longest |\n|---|---|---|---|---|"


def _file(place: Path) -> str:
    return str(place / "store.db")


@contextmanager
def _postgresql(folder: Path) -> Iterator[chaos.Database]:
    database = chaos.Database(folder / "postgresql")
    try:
        yield database
    finally:
        database.close()


def _on_sqlite(fault: str, strike: chaos.Strike, mode: str, times: int, folder: Path) -> str:
    return str(chaos.endure(fault, strike, times, folder=folder, url=_file, mode=mode))


def _on_postgresql(
    fault: str, strike: chaos.Strike | None, mode: str, times: int, folder: Path
) -> str:
    """Without a strike of its own, the database is what is struck."""
    with _postgresql(folder) as database:
        blow = database if strike is None else strike
        return str(chaos.endure(fault, blow, times, folder=folder, url=database.schema, mode=mode))


def _full_disk_sqlite(times: int, folder: Path) -> str:
    with chaos.FullDisk.mounted(folder / "small") as mount:
        return str(
            chaos.endure(
                "full disk, SQLite",
                chaos.FullDisk(mount),
                times,
                folder=folder,
                url=lambda place: str(mount / f"{place.name}.db"),
            )
        )


def _full_disk_postgresql(times: int, folder: Path) -> str:
    with chaos.FullDisk.mounted(folder / "small", "256m") as mount, _postgresql(mount) as database:
        fill = chaos.FullDisk(mount)

        def strike(victim: Victim, chooser: random.Random) -> None:
            fill(victim, chooser)
            database.revive()  # without room for its log PostgreSQL ends; somebody starts it again

        return str(
            chaos.endure("full disk, PostgreSQL", strike, times, folder=folder, url=database.schema)
        )


def _clock(name: str, url: Callable[[Path], str], times: int, folder: Path) -> str:
    clock = chaos.JumpingClock(folder)
    changes = clock.environment
    return str(chaos.endure(name, clock, times, folder=folder, url=url, environment=changes))


def _clock_postgresql(times: int, folder: Path) -> str:
    with _postgresql(folder) as database:
        return _clock("jumping clock, PostgreSQL", database.schema, times, folder)


def _server_sqlite(times: int, folder: Path) -> str:
    url = str(folder / "store.db")
    return str(serving.endure_serving("kill server, SQLite", times, folder=folder, url=url))


def _server_postgresql(times: int, folder: Path) -> str:
    with _postgresql(folder) as database:
        url = database.schema(folder)
        return str(serving.endure_serving("kill server, PostgreSQL", times, folder=folder, url=url))


def _network(times: int, folder: Path) -> str:
    """Ray and PostgreSQL across a cable that is cut."""
    os.environ["RAY_AUTH_MODE"] = "disabled"
    with network.laid() as cable:
        database = chaos.Database(folder / "postgresql", host=f"{network.SUBNET}.1")
        nodes = Nodes(subnet=network.SUBNET)
        try:
            strike = network.CutNetwork(cable, nodes)
            name, mode = "cut network, PostgreSQL", nodes.address
            report = chaos.endure(
                name, strike, times, folder=folder, url=database.schema, mode=mode
            )
            return f"{report} {strike.given_up} of them cost the node"
        finally:
            nodes.close()
            database.close()


def _plain(strike: chaos.Strike, mode: str = "inline") -> dict[str, Callable[[int, Path], str]]:
    """The same fault on both databases."""
    name = strike.__name__.replace("_", " ")
    return {
        "sqlite": lambda times, folder: _on_sqlite(f"{name}, SQLite", strike, mode, times, folder),
        "postgresql": lambda times, folder: _on_postgresql(
            f"{name}, PostgreSQL", strike, mode, times, folder
        ),
    }


FAULTS: dict[str, Callable[[int, Path], str]] = {
    **{f"controller-{k}": v for k, v in _plain(chaos.kill_controller).items()},
    **{f"worker-{k}": v for k, v in _plain(chaos.kill_worker, "ray").items()},
    **{f"pause-{k}": v for k, v in _plain(chaos.outlive_lease).items()},
    "server-sqlite": _server_sqlite,
    "server-postgresql": _server_postgresql,
    **{f"two-controllers-{k}": v for k, v in _plain(chaos.start_another).items()},
    "database": lambda times, folder: _on_postgresql(
        "kill database, PostgreSQL", None, "inline", times, folder
    ),
    "full-disk-sqlite": _full_disk_sqlite,
    "full-disk-postgresql": _full_disk_postgresql,
    "clock-sqlite": lambda times, folder: _clock("jumping clock, SQLite", _file, times, folder),
    "clock-postgresql": _clock_postgresql,
    "network": _network,
    "engine": lambda times, folder: str(ranks.endure_engine(times, folder)),
}


def main() -> None:
    """Strike, and print a line for each fault."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--faults", nargs="+", choices=list(FAULTS), default=list(FAULTS))
    parser.add_argument("--times", type=int, default=100)
    parser.add_argument("--minutes", type=float, help="for a fault, at most; by default a day")
    options = parser.parse_args()
    chaos.MINUTES = options.minutes or chaos.MINUTES
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.WARNING)
    logging.getLogger("evomerge.chaos").setLevel(logging.INFO)
    os.environ.setdefault("RAY_DISABLE_IMPORT_WARNING", "1")
    print(HEAD, flush=True)
    for fault in options.faults:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            print(FAULTS[fault](options.times, Path(folder)), flush=True)


if __name__ == "__main__":
    main()
