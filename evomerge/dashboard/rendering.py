"""Lays pages out: the templates, their filters, and answers that are not sent twice."""

import hashlib
from functools import cache
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse, Response
from jinja2 import Environment, PackageLoader, StrictUndefined

from evomerge import __version__
from evomerge.api.context import Principal
from evomerge.dashboard.assets import asset_url
from evomerge.dashboard.words import FILTERS

_SAID = {
    "paused": "The search pauses: what is under way ends, nothing more is started.",
    "resumed": "The search goes on as soon as it has its turn.",
    "cancelled": "The search is cancelled. Everything scored so far is kept.",
    "priority": "The priority is changed.",
    "budget": "The limits are changed.",
}


@cache
def environment() -> Environment:
    """The templates; nothing reaches a page unescaped that does not say so."""
    made = Environment(
        loader=PackageLoader("evomerge.dashboard"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(FILTERS)
    made.globals.update(asset_url=asset_url, version=__version__)
    return made


def render(template: str, **content: Any) -> str:
    """A template with its content."""
    return environment().get_template(f"{template}.html.j2").render(**content)


def page(request: Request, who: Principal, template: str, **content: Any) -> HTMLResponse:
    """A whole page, with a word on what was just done where the address carries one."""
    said = _SAID.get(request.query_params.get("done", ""))
    return HTMLResponse(
        render(template, who=who, said=said, path=request.url.path, **content),
    )


def fragment(request: Request, template: str, *, stop: bool, **content: Any) -> Response:
    """A part of a page that is asked for again and again: 304 where it is what it was.

    stop: nothing will change any more, so the page need not ask again.
    """
    html = render(template, **content)
    tag = f'"{hashlib.sha256(html.encode()).hexdigest()[:32]}"'
    headers = {"ETag": tag, "Cache-Control": "no-cache"}
    if stop:
        headers["X-Live"] = "ended"
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return HTMLResponse(html, headers=headers)
