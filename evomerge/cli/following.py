"""A search that runs elsewhere, followed until it stops."""

import time

from evomerge.cli.output import note
from evomerge.cli.polling import EventFeed
from evomerge.cli.progress import SearchProgress
from evomerge.store import SQLStore
from evomerge.store.types import SearchRecord, SearchStatus

STOPPED = (
    SearchStatus.PAUSED,
    SearchStatus.CANCELLED,
    SearchStatus.FINISHED,
    SearchStatus.FAILED,
)
_SILENCE = 120.0


def follow(store: SQLStore, search: SearchRecord, interval: float) -> SearchRecord:
    """Show progress until the search stops; returns it as it then is."""
    feed = EventFeed(store, search)
    news_at, warned = time.monotonic(), False
    with SearchProgress(store, search.id) as progress:
        while True:
            current = store.search(search.id)
            for event in feed.poll():
                progress(event)
                news_at, warned = time.monotonic(), False
            if current.status in STOPPED:
                return current
            if time.monotonic() - news_at > _SILENCE and not warned:
                warned = True
                note(
                    f"no news for {_SILENCE:.0f} s; if its controller died: evomerge resume {search.id}"
                )
            time.sleep(interval)
