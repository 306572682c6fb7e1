"""Pictures of every page, on a desk and on a phone, light and dark; or those of docs/dashboard.md.

python -m tests.dashboard.pictures FOLDER
python -m tests.dashboard.pictures --docs docs/pictures
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from evomerge.store import SQLStore, open_store
from tests.dashboard.browser import Browser, find_chromium
from tests.dashboard.serving import served
from tests.dashboard.worlds import build

LOOKS = [(1280, False), (1280, True), (360, False), (360, True)]


def pages(store: SQLStore, ids: dict[str, str]) -> Iterator[tuple[str, str]]:
    """The name and the path of every page."""
    finished, running = ids["finished"], ids["running"]
    best = store.progress(finished).best
    assert best is not None
    candidates = f"/searches/{finished}/candidates"
    yield from [("searches", "/"), ("workers", "/workers"), ("errors", "/errors")]
    yield from [(name, f"/searches/{key}") for name, key in ids.items()]
    yield "candidates", f"/searches/{running}/candidates"
    yield "search_errors", f"/searches/{running}/errors"
    yield "search_file", f"/searches/{finished}/file"
    yield "candidate", f"{candidates}/{best.number}"
    yield "baseline", f"{candidates}/0"
    yield "compare", f"/compare?pick={finished}:{best.number}&pick={finished}:5"
    yield "nothing", "/?q=no+such+name"


def of_docs(store: SQLStore, ids: dict[str, str]) -> Iterator[tuple[str, str, int, int, bool]]:
    """Name, path, width, height and darkness of each picture in the documentation."""
    everything = dict(pages(store, ids))
    yield "search", everything["running"], 1080, 760, False
    yield "compare", everything["compare"], 1080, 860, False
    yield "phone", everything["running"], 360, 740, True


def take(out: Path, *, docs: bool = False) -> None:
    """All of them into a folder."""
    program = find_chromium()
    if program is None:
        raise SystemExit("there is no Chromium on this machine: apt install chromium")
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        store = open_store(folder / "s.db")
        ids = build(store, folder / "models")
        with served(store.url) as address, Browser(program, folder / "profile") as browser:
            for name, path, width, height, dark in (
                of_docs(store, ids) if docs else _all(store, ids)
            ):
                browser.look(width=width, dark=dark)
                browser.open(address + path)
                browser.picture(out / f"{name}.png", height=height or None)
            for line in browser.complaints():
                print(line)
        store.close()


def _all(store: SQLStore, ids: dict[str, str]) -> Iterator[tuple[str, str, int, int, bool]]:
    for name, path in pages(store, ids):
        for width, dark in LOOKS:
            yield f"{name}_{width}{'_dark' if dark else ''}", path, width, 0, dark


if __name__ == "__main__":
    take(Path(sys.argv[-1]), docs="--docs" in sys.argv)
