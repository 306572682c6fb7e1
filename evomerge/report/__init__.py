"""A search as one HTML file: no network, no script needed to read it, light and dark, any width.

`data` gathers what is shown, `charts` and `heatmap` draw it, `page.html.j2` lays it out. The same
content as JSON (`content`), and the charts as PNG (`figures`).
"""

import json
import os
from collections.abc import Callable
from pathlib import Path

from evomerge.errors import ResourceError
from evomerge.store.api import Store

GENERATOR = '<meta name="generator" content="evomerge'
_JSON_START = '{\n  "evomerge":'


def write_report(store: Store, search_id: str, out: Path) -> Path:
    """Write the report of a search to `out`; an older report there is replaced, nothing else is.

    Raises NotFoundError for an unknown search, ResourceError where `out` cannot be written.
    """
    from evomerge.report.data import gather
    from evomerge.report.page import render

    _check_target(out, GENERATOR)
    html = render(gather(store, store.search(search_id)))
    return _replace(out, lambda temporary: temporary.write_text(html, encoding="utf-8"))


def write_json(store: Store, search_id: str, out: Path) -> Path:
    """Write the content of the report as JSON; raises as `write_report`."""
    from evomerge.report.content import report_content
    from evomerge.report.data import gather

    _check_target(out, _JSON_START)
    content = report_content(gather(store, store.search(search_id)))
    written = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    return _replace(out, lambda temporary: temporary.write_text(written, encoding="utf-8"))


def write_figures(store: Store, search_id: str, folder: Path) -> list[Path]:
    """Write every chart of the report as a PNG file into `folder`, which is made where it is missing.

    Older figures of the same names are replaced. Raises NotFoundError for an unknown search,
    ResourceError where matplotlib is not installed or the folder cannot be written.
    """
    from evomerge.report.data import gather
    from evomerge.report.figures import draw

    data = gather(store, store.search(search_id))
    try:
        folder.mkdir(exist_ok=True)
        return draw(data, folder)
    except OSError as error:
        raise _unwritable(folder, error) from error


def _replace(out: Path, write: Callable[[Path], object]) -> Path:
    """`out` is the old file or the new one, and never half of it."""
    temporary = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        write(temporary)
        temporary.replace(out)
    except OSError as error:
        raise _unwritable(out, error) from error
    finally:
        temporary.unlink(missing_ok=True)
    return out


def _unwritable(out: Path, error: OSError) -> ResourceError:
    return ResourceError(
        f"cannot be written ({error.strerror})", where=str(out), remedy="choose another place"
    )


def _check_target(out: Path, mark: str) -> None:
    if out.is_dir():
        raise ResourceError("is a folder", where=str(out), remedy="name a file in it")
    if not out.parent.is_dir():
        raise ResourceError(
            f"the folder {out.parent} does not exist", where=str(out), remedy="make it first"
        )
    if out.exists() and mark not in out.read_text(encoding="utf-8", errors="replace")[:2000]:
        raise ResourceError(
            "exists already and is no report", where=str(out), remedy="choose another file"
        )


__all__ = ["write_figures", "write_json", "write_report"]
