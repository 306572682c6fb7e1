"""Searches of the fake engine on a simulated cluster."""

from __future__ import annotations

import hashlib
from pathlib import Path

from evomerge.evaluation import make_evaluator
from evomerge.service import check_search, run_search, submit_search
from evomerge.spec import SearchSpec
from evomerge.store import open_store
from evomerge.testing.simulation import SimulatedCluster
from evomerge.worker import Task, Worker


def uneven(task: Task) -> float:
    """1 to 10 seconds, fixed by the recipe."""
    share = int.from_bytes(hashlib.sha256(task.recipe.recipe_id.encode()).digest()[:4]) / 2**32
    return float(10**share)


def simulate(url: str, spec: SearchSpec, workers: int, listener=lambda event: None):
    """Run a search to its end; returns its id and the cluster."""
    store = open_store(url)
    search = submit_search(store, check_search(spec))
    worker = Worker(open_store(url), lambda: make_evaluator(search.spec))
    cluster = SimulatedCluster(worker, workers, uneven)
    run_search(store, search.id, cluster, listener)
    return search.id, cluster


def store_file(folder: Path, name: str) -> str:
    """The URL of a store of its own."""
    return str(folder / f"{name}.db")
