"""The pages of a server, made for people who look rather than read.

Server-rendered, with one small script that may be missing: every page works without it. `make_router`
gives the routes; a module a page reads what it shows (`searches`, `overview`, `candidates`, …) as plain
values, `rendering` lays them out. What a page reads costs the same however long a search is.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastapi import APIRouter


def make_router() -> "APIRouter":
    """The dashboard's routes, to be included at the root of an app with `evomerge.api.Context`."""
    from evomerge.dashboard.router import make_router as make

    return make()


__all__ = ["make_router"]
