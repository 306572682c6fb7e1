"""Owners and tokens: for admins; everybody may give up the own token."""

from typing import Annotated

from fastapi import Path

from evomerge.api.context import Here, Principal
from evomerge.api.openapi import ADMIN, READ, make_router
from evomerge.api.views import owner_item, token_item
from evomerge.store.access import OwnerLimits, Scope
from evomerge.wire import NewToken, OwnerEdit, OwnerItem, Rotation, TokenItem, TokenRequest

router = make_router("people")
_Token = Annotated[str, Path(max_length=40)]
_Owner = Annotated[str, Path(max_length=100)]


@router.get("/owners")
def owners(here: Here, who: Annotated[Principal, READ]) -> list[OwnerItem]:
    """Who shares this server: weights, limits, recent use."""
    apart = here.readable_owner(who)
    return [owner_item(one) for one in here.store.owners() if apart in (None, one.name)]


@router.put("/owners/{name}")
def edit_owner(
    name: _Owner, body: OwnerEdit, here: Here, who: Annotated[Principal, ADMIN]
) -> OwnerItem:
    """Set an owner's weight and limits."""
    limits = OwnerLimits(**body.limits.model_dump())
    return owner_item(here.store.set_owner(name, weight=body.weight, limits=limits))


@router.get("/tokens")
def tokens(here: Here, who: Annotated[Principal, ADMIN]) -> list[TokenItem]:
    """All tokens, newest first, without what makes them one."""
    return [token_item(one) for one in here.store.tokens()]


@router.post("/tokens", status_code=201)
def create(body: TokenRequest, here: Here, who: Annotated[Principal, ADMIN]) -> NewToken:
    """Make a token. It is shown in this answer and never again."""
    seconds = None if body.hours is None else body.hours * 3600
    text, record = here.store.create_token(
        body.owner, Scope(body.scope), seconds=seconds, note=body.note
    )
    return NewToken(**token_item(record).model_dump(), token=text)


@router.post("/tokens/{token}/rotate", status_code=201)
def rotate(token: _Token, body: Rotation, here: Here, who: Annotated[Principal, ADMIN]) -> NewToken:
    """A new token in place of another one."""
    seconds = None if body.hours is None else body.hours * 3600
    text, record = here.store.rotate_token(token, seconds=seconds, grace=body.grace * 3600)
    return NewToken(**token_item(record).model_dump(), token=text)


@router.delete("/tokens/{token}")
def revoke(token: _Token, here: Here, who: Annotated[Principal, ADMIN]) -> TokenItem:
    """End a token and the sessions that were opened with it, at once."""
    return token_item(here.store.revoke_token(token))
