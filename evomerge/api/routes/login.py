"""Signing in with a browser: a page takes a token and gives a session, which is a token of its own.

The session's cookie is HttpOnly and SameSite=Strict. It ends by itself, with its token, or here.
"""

from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from evomerge.api.context import (
    COOKIE,
    Here,
    Principal,
    client_address,
    principal,
    same_origin,
)
from evomerge.api.errors import Forbidden
from evomerge.api.settings import ServerSettings

router = APIRouter(include_in_schema=False)
_WRONG = "This token is not known here, was revoked, or has expired."


@router.get("/login")
def show_login() -> HTMLResponse:
    """The form."""
    return HTMLResponse(_page(""))


@router.post("/login")
def login(request: Request, here: Here, token: Annotated[str, Form(max_length=200)]) -> Response:
    """Open a session and go to the dashboard; the form again where the token is wrong."""
    if not same_origin(request):
        raise Forbidden("the request comes from another site", "use the server's own page")
    found = here.store.find_token(token.strip())
    if found is None or found.parent is not None:
        here.limiter.note_failure(client_address(request))
        return HTMLResponse(_page(_WRONG), 401)
    seconds = here.settings.session_hours * 3600
    text, _ = here.store.create_token(
        found.owner, found.scope, seconds=seconds, note="browser", parent=found.id
    )
    answer = RedirectResponse("/", 303)
    _set_cookie(answer, text, here.settings)
    return answer


@router.post("/logout")
def logout(here: Here, who: Annotated[Principal, Depends(principal)]) -> Response:
    """End the session."""
    if who.kind == "session" and who.token_id is not None:
        here.store.revoke_token(who.token_id)
    answer = RedirectResponse("/login", 303)
    answer.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")
    return answer


def _set_cookie(answer: Response, text: str, settings: ServerSettings) -> None:
    answer.set_cookie(
        COOKIE,
        text,
        max_age=int(settings.session_hours * 3600),
        path="/",
        httponly=True,
        samesite="strict",
        secure=settings.https,
    )


def _page(message: str) -> str:
    alert = f'<p role="alert">{message}</p>' if message else ""
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width"><title>Sign in · evomerge</title>'
        '<link rel="stylesheet" href="/static/style.css">'
        f"<main><h1>Sign in</h1>{alert}"
        '<form method="post" action="/login"><p><label for="token">Token</label> '
        '<input id="token" name="token" type="password" autocomplete="current-password" required '
        'autofocus></p><p><button type="submit">Sign in</button></p></form>'
        "<p>An admin makes one: <code>evomerge token create</code></p></main></html>"
    )
