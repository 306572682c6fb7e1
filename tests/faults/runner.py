"""The process that the kill tests kill: runs or resumes one search and exits 0 when it has ended.

    python -m tests.faults.runner URL SEARCH inline|ray|ADDRESS [LEASE_SECONDS]

A short lease makes tests of lost leases short.
"""

from __future__ import annotations

import sys
from contextlib import closing

from evomerge.controller import lease
from evomerge.errors import EvomergeError
from evomerge.service import had_workers, make_dispatcher, run_search
from evomerge.store import open_store
from evomerge.store.types import SearchStatus


def main(url: str, search_id: str, mode: str, lease_seconds: str | None = None) -> int:
    if lease_seconds is not None:
        lease.LEASE_SECONDS = float(lease_seconds)
        lease._RENEW_SECONDS = float(lease_seconds) / 6
    try:
        store = open_store(url)
        spec = store.search(search_id).spec
        address = mode if ":" in mode else None
        resumed = had_workers(store, search_id)
        made = make_dispatcher(spec, store.url, address, inline=mode == "inline", resumed=resumed)
        with closing(made) as dispatcher:
            status = run_search(store, search_id, dispatcher)
    except EvomergeError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0 if status is SearchStatus.FINISHED else 3


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
