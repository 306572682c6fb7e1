"""A store with searches of every kind, for tests of the pages and for the pictures in the docs.

All of them are scored by the fake engine: one that is finished and has a constraint, one for two
objectives, one that runs with workers under way and failures behind it, and some that wait or failed.

    python -m tests.dashboard.worlds FILE
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from benchmarks.many_candidates import fill
from evomerge.errors import EvomergeError
from evomerge.service import (
    check_search,
    make_dispatcher,
    pause_search,
    run_search,
    submit_search,
)
from evomerge.store import SQLStore, open_store
from evomerge.store.types import SearchStatus
from tests.support import fake_spec, write_checkpoint

EXPERTS = ("support", "code", "german")
TIES = {
    "method": "ties",
    "weight": {"range": [0, 1.5], "per": ["model", "layer_group", "kind"]},
    "density": {"range": [0.1, 1], "per": ["model"]},
    "layer_groups": 4,
}


def build(store: SQLStore, folder: Path, *, running: int = 420) -> dict[str, str]:
    """Fill the store; the ids of its searches by what they are."""
    models = [str(write_checkpoint(folder / f"{name}-7b", n)) for n, name in enumerate(EXPERTS)]
    base = str(write_checkpoint(folder / "base-7b", 9))
    common = {"base_model": base, "models": models, "space": TIES}
    ids = {
        "waiting": _submit(store, folder, **common, name="weekend-long-run"),
        "failed": _failed(store, folder, common),
        "paused": _paused(store, folder, common),
        "finished": _finished(store, folder, common),
        "front": _front(store, folder, common),
    }
    ids["running"] = fill(
        store.url, folder, running, name="support-bot", models=models, base_model=base, budget=600
    )
    store.log(ids["running"], "controller started on node-a")
    store.log(ids["running"], "worker-03 was lost; its candidate is tried again", "warning")
    return ids


def waiting_search(store: SQLStore, folder: Path) -> str:
    """A search that nobody has begun."""
    return _submit(store, folder)


def _submit(store: SQLStore, folder: Path, **changes: Any) -> str:
    spec = fake_spec(folder, **changes)
    record, _ = store.enqueue(spec, owner="ada", **_checked(spec, store))
    return record.id


def _checked(spec: Any, store: SQLStore) -> dict[str, Any]:
    checked = check_search(spec, store.url)
    return {"scope": checked.scope, "versions": dict(checked.versions)}


def _run(store: SQLStore, folder: Path, **changes: Any) -> str:
    spec = fake_spec(folder, **changes)
    search = submit_search(store, check_search(spec, store.url))
    dispatcher = make_dispatcher(spec, store.url, inline=True)
    run_search(store, search.id, dispatcher)
    return search.id


def _finished(store: SQLStore, folder: Path, common: dict[str, Any]) -> str:
    tasks = [{"task": "helpful"}, {"task": "python_exams"}, {"task": "german", "at_least": "base"}]
    return _run(
        store,
        folder,
        **common,
        name="support-bot-small",
        objective={"tasks": tasks},
        budget={"candidates": 90},
        strategy={"name": "cma", "seed": 3, "asynchronous": False},
    )


def _front(store: SQLStore, folder: Path, common: dict[str, Any]) -> str:
    return _run(
        store,
        folder,
        **common,
        name="code-against-german",
        objective={"goal": "pareto", "tasks": [{"task": "python_exams"}, {"task": "german"}]},
        budget={"candidates": 72},
        strategy={"name": "nsga2", "seed": 3},
    )


def _paused(store: SQLStore, folder: Path, common: dict[str, Any]) -> str:
    search = _submit(store, folder, **common, name="night-shift")
    pause_search(store, search)
    store.set_wanted(search, False)
    return search


def _failed(store: SQLStore, folder: Path, common: dict[str, Any]) -> str:
    search = _submit(store, folder, **common, name="broken-template")
    error = EvomergeError("the chat template cannot be read", remedy="mend tokenizer_config.json")
    store.set_status(search, SearchStatus.FAILED, message=str(error))
    store.set_wanted(search, False)
    return search


if __name__ == "__main__":
    out = Path(sys.argv[1])
    opened = open_store(out)
    print(build(opened, out.parent / "models"))
    opened.close()
