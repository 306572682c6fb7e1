"""Searches on a real engine of two ranks, which are processes of their own and can be killed alone."""

import tempfile
from pathlib import Path

from evomerge.service import check_search, submit_search
from evomerge.spec import SearchSpec
from evomerge.store import open_store
from evomerge.store.types import SearchStatus
from tests.evaluation import tiny
from tests.evaluation.conftest import make_spec
from tests.faults import chaos
from tests.faults.killing import Victim
from tests.support import history

_CANDIDATES = 40


def search_on_two_ranks(folder: Path, seed: int) -> SearchSpec:
    """A search on tiny checkpoints, with vLLM and tensor parallelism."""
    models = tiny.write_models(folder / "models")
    tasks = tiny.write_tasks(folder / "tasks")
    spec = make_spec(models, tasks, ["letters"], engine={"tensor_parallel_size": 2})
    strategy = spec.strategy.model_copy(update={"seed": seed, "asynchronous": False})
    budget = spec.budget.model_copy(update={"candidates": _CANDIDATES})
    return spec.model_copy(update={"strategy": strategy, "budget": budget})


def undisturbed(folder: Path, spec: SearchSpec) -> chaos.History:
    """Its history in a process of its own that nothing strikes."""
    store = open_store(str(folder / "calm.db"))
    search = submit_search(store, check_search(spec))
    victim = Victim(store.url, search.id, "inline", folder / "calm.log")
    with chaos.ending(victim):
        victim.start()
        assert victim.driver is not None and victim.driver.wait(900) == 0
    assert store.search(search.id).status is SearchStatus.FINISHED
    found = history(store, search.id)
    store.close()
    return found


def endure_engine(times: int, folder: Path) -> chaos.Report:
    """Kill ranks `times` times while searches run on them; nothing of theirs that has a name stays."""
    before = _names()
    report = chaos.endure(
        "kill a rank of two, SQLite",
        chaos.kill_engine,
        times,
        folder=folder,
        url=lambda place: str(place / "store.db"),
        make=search_on_two_ranks,
        calmly=undisturbed,
    )
    assert _names() <= before, f"engines left {_names() - before}"
    return report


def _names() -> set[Path]:
    """Folders and shared memory of engines of several ranks, everybody's on this machine."""
    folders = Path(tempfile.gettempdir()).glob("*evomerge-engine-*")
    return {*folders, *Path("/dev/shm").glob("vllm_dist_*")}
