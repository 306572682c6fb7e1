"""The server itself: its version, its API as OpenAPI, and who it takes the caller for."""

from typing import Annotated, Any

from fastapi import Request

from evomerge import __version__
from evomerge.api.context import Principal
from evomerge.api.openapi import READ, make_router
from evomerge.wire import Me, Version

router = make_router("system")


@router.get("/version")
def version(who: Annotated[Principal, READ]) -> Version:
    """Which version of evomerge answers."""
    return Version(evomerge=__version__)


@router.get("/me")
def me(who: Annotated[Principal, READ]) -> Me:
    """Who is asking, and what the token is good for."""
    return Me(owner=who.owner, scope=who.scope.value, kind=who.kind)


@router.get("/openapi.json")
def openapi(request: Request, who: Annotated[Principal, READ]) -> dict[str, Any]:
    """This API in OpenAPI's form."""
    schema: dict[str, Any] = request.app.openapi()
    return schema
