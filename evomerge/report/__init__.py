"""A search as one HTML file: no network, no script needed to read it, light and dark, any width.

`data` gathers what is shown, `charts` and `heatmap` draw it, `page.html.j2` lays it out.
"""

import os
from pathlib import Path

from evomerge.errors import ResourceError
from evomerge.store.api import Store

GENERATOR = '<meta name="generator" content="evomerge'


def write_report(store: Store, search_id: str, out: Path) -> Path:
    """Write the report of a search to `out`; an older report there is replaced, nothing else is.

    Raises NotFoundError for an unknown search, ResourceError where `out` cannot be written.
    """
    from evomerge.report.data import gather
    from evomerge.report.page import render

    _check_target(out)
    html = render(gather(store, store.search(search_id)))
    temporary = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        temporary.write_text(html, encoding="utf-8")
        temporary.replace(out)
    except OSError as error:
        raise ResourceError(
            f"cannot be written ({error.strerror})", where=str(out), remedy="choose another file"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)
    return out


def _check_target(out: Path) -> None:
    if out.is_dir():
        raise ResourceError("is a folder", where=str(out), remedy="name a file in it")
    if not out.parent.is_dir():
        raise ResourceError(
            f"the folder {out.parent} does not exist", where=str(out), remedy="make it first"
        )
    if out.exists() and GENERATOR not in out.read_text(encoding="utf-8", errors="replace")[:2000]:
        raise ResourceError(
            "exists already and is no report", where=str(out), remedy="choose another file"
        )


__all__ = ["write_report"]
