"""What all routes of the API have in common."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query

from evomerge.api.context import require
from evomerge.store.access import Scope
from evomerge.wire import Failure

PREFIX = "/api/v1"
READ, SUBMIT, ADMIN = require(Scope.READ), require(Scope.SUBMIT), require(Scope.ADMIN)
ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": Failure, "description": text}
    for status, text in {
        400: "The request cannot be read",
        401: "No token, or one that is not good here",
        403: "The token is not good for this",
        404: "Nothing of that name",
        409: "Not in the present state",
        413: "The request is too long",
        422: "The request is wrong: what, where, and what to do",
        429: "Too many requests: Retry-After says when",
        503: "The store does not answer",
    }.items()
}
SearchName = Annotated[
    str, Path(max_length=200, description="Id of the search, its beginning, or its name.")
]
Limit = Annotated[int, Query(ge=1, le=500, description="At most so many.")]
Offset = Annotated[int, Query(ge=0, le=10**9, description="How many to leave out first.")]
Key = Annotated[int, Path(ge=0, lt=2**63)]


def make_router(tag: str) -> APIRouter:
    """A router of the API; what it may answer besides success is the same everywhere."""
    return APIRouter(prefix=PREFIX, tags=[tag], responses=ERRORS)
