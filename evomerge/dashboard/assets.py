"""The style sheet, the script and the icon: read once, and named by their content.

A page names them with `?v=HASH`, so that a browser keeps them for good and never has an old one.
"""

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from evomerge.report.charts import styles

_TYPES = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
_NAMES = ("style.css", "live.js", "icon.svg")


@dataclass(frozen=True)
class Asset:
    """A static file."""

    content: bytes
    media_type: str
    version: str


@cache
def assets() -> dict[str, Asset]:
    """All static files by name."""
    return {name: _asset(name) for name in _NAMES}


def _asset(name: str) -> Asset:
    text = files("evomerge.dashboard").joinpath("static", name).read_text(encoding="utf-8")
    if name == "style.css":
        text = styles() + text
    content = text.encode()
    version = hashlib.sha256(content).hexdigest()[:12]
    return Asset(content, f"{_TYPES[name.rpartition('.')[2]]}; charset=utf-8", version)


def asset_url(name: str) -> str:
    """The address of a static file."""
    return f"/static/{name}?v={assets()[name].version}"
