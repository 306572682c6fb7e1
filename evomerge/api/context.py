"""What routes need: the store, the settings, and who is asking.

    @router.get("/searches/{search}")
    def page(here: Here, who: Annotated[Principal, require(Scope.READ)]) -> ...:
        record = here.visible(who, search)

`require` identifies, checks the scope, and for browsers the CSRF token of everything that is no GET:
a route that has it cannot forget either. A form sends `who.csrf` back as its field `csrf_token`, a
script as the header `X-CSRF-Token`.
"""

import asyncio
import hashlib
import hmac
import secrets
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from fastapi import Depends, Request

from evomerge.api.errors import ApiError, Forbidden, Unauthorised
from evomerge.api.looks import Looks
from evomerge.api.rates import Limiter, Streams
from evomerge.api.settings import ServerSettings, is_loopback
from evomerge.errors import NotFoundError
from evomerge.observe.metrics import Metrics
from evomerge.store import SQLStore
from evomerge.store.access import Scope, TokenRecord
from evomerge.store.types import SearchRecord
from evomerge.wire import SearchState

COOKIE = "evomerge_session"
LOCAL_OWNER = "local"
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
_PROXY_HEADERS = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")


@dataclass(frozen=True)
class Principal:
    """Who asks. kind: a token in a header, a browser's session, or the local user without any.

    csrf: what a browser's forms send back; empty where no browser is behind it.
    """

    owner: str
    scope: Scope
    kind: Literal["token", "session", "local"]
    csrf: str = ""
    token_id: str | None = None


@dataclass
class Context:
    """One server's state; `secret` signs the CSRF tokens of the local user."""

    store: SQLStore
    settings: ServerSettings
    limiter: Limiter
    metrics: Metrics
    secret: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    streams: Streams = field(default_factory=Streams)
    looks: Looks[SearchState] | None = None

    def visible(self, who: Principal, search: str) -> SearchRecord:
        """The search, where `who` may read it; else as if there were none."""
        try:
            record = self.store.search(search)
            if self.may_read(who, record.id):
                return record
        except NotFoundError:  # its remedy lists names, which are not everybody's to know
            if self.readable_owner(who) is None:
                raise
        raise ApiError(404, f"no search {search!r}", remedy="see the list of your searches")

    def changeable(self, who: Principal, search: str) -> SearchRecord:
        """The search, where `who` may change it: its owner, and admins."""
        record = self.visible(who, search)
        if who.scope is not Scope.ADMIN and self.store.owner_of(record.id) != who.owner:
            raise Forbidden(f"search {record.id} is another owner's", "ask its owner or an admin")
        return record

    def may_read(self, who: Principal, search_id: str) -> bool:
        """Everyone who has a token, unless the server keeps owners apart."""
        if not self.settings.private or who.scope is Scope.ADMIN:
            return True
        return self.store.owner_of(search_id) == who.owner

    def readable_owner(self, who: Principal) -> str | None:
        """The owner that a list must be restricted to; None: no restriction."""
        apart = self.settings.private and who.scope is not Scope.ADMIN
        return who.owner if apart else None


def context(request: Request) -> Context:
    """The server's context."""
    found: Context = request.app.state.evomerge
    return found


Here = Annotated[Context, Depends(context)]


def require(scope: Scope) -> Any:
    """A dependency that gives the Principal, or refuses: 401, 403."""

    def check(who: Annotated[Principal, Depends(principal)]) -> Principal:
        if not who.scope.covers(scope):
            raise Forbidden(
                f"this needs scope {scope}, the token has {who.scope}",
                f"evomerge token create --owner {who.owner} --scope {scope}",
            )
        return who

    check.scope = scope  # type: ignore[attr-defined]  # read by the test that walks all routes
    return Depends(check)


async def principal(request: Request, here: Here) -> Principal:
    """Who asks; Unauthorised where nobody can tell."""
    found = await asyncio.to_thread(identify, request, here)
    if found.kind != "token" and request.method not in SAFE_METHODS:
        await _check_csrf(request, found)
    request.state.principal = found
    here.limiter.spend_owner(found.owner if found.token_id is None else found.token_id)
    return found


def identify(request: Request, here: Context) -> Principal:
    """By header, by cookie, or as the local user."""
    header = request.headers.get("authorization")
    if header is not None:
        return _by_header(header, request, here)
    if (cookie := request.cookies.get(COOKIE)) is not None:
        if (token := here.store.find_token(cookie)) is not None:
            return _session(cookie, token)
        here.limiter.note_failure(client_address(request))
    if is_local_user(request, here):
        return Principal(LOCAL_OWNER, Scope.ADMIN, "local", _sign(here.secret, LOCAL_OWNER))
    raise Unauthorised("no token", "send the header `Authorization: Bearer TOKEN`")


def _by_header(header: str, request: Request, here: Context) -> Principal:
    kind, _, value = header.partition(" ")
    token = here.store.find_token(value.strip()) if kind.lower() == "bearer" else None
    if token is None or token.parent is not None:
        here.limiter.note_failure(client_address(request))
        raise Unauthorised(
            "the token is not known here, was revoked, or has expired",
            "ask an admin for a new one: evomerge token create",
        )
    return Principal(token.owner, token.scope, "token", token_id=token.id)


def _session(cookie: str, token: TokenRecord) -> Principal:
    csrf = _sign(hashlib.sha256(cookie.encode()).digest(), "csrf")
    return Principal(token.owner, token.scope, "session", csrf, token.id)


def is_local_user(request: Request, here: Context) -> bool:
    """Whether a request without a token may pass as the local user's.

    Only as long as no token was ever made (the end of the last one must open no door), on a server
    bound to loopback, from loopback, by a loopback name (a web page whose name was made to point
    here sends its own), and through no proxy.
    """
    host = request.url.hostname or ""
    direct = not any(name in request.headers for name in _PROXY_HEADERS)
    near = is_loopback(client_address(request)) and is_loopback(host.strip("[]"))
    alone = here.settings.loopback and not here.settings.proxied
    return alone and near and direct and not here.store.has_tokens(ever=True)


def client_address(request: Request) -> str:
    """The address at the other end of the connection."""
    return request.client.host if request.client else "127.0.0.1"


async def _check_csrf(request: Request, who: Principal) -> None:
    """Browsers send along cookies, and reach loopback, for any page: the page must know our token.

    A program without Origin and Sec-Fetch-Site is no browser; the local user's needs no token.
    """
    browser = "origin" in request.headers or "sec-fetch-site" in request.headers
    if who.kind == "local" and not browser:
        return
    if not same_origin(request):
        raise Forbidden("the request comes from another site", "use the server's own pages")
    given = request.headers.get("x-csrf-token") or await _field(request, "csrf_token")
    if not hmac.compare_digest(given.encode(), who.csrf.encode()):
        raise Forbidden("the form is too old, or was sent by another page", "load the page again")


def same_origin(request: Request) -> bool:
    """Whether a browser's own word, where it gives any, is that one of our pages sent this."""
    origin, site = request.headers.get("origin"), request.headers.get("sec-fetch-site")
    if site not in (None, "same-origin", "none"):
        return False
    return origin is None or origin.partition("://")[2] == request.headers.get("host", "")


async def _field(request: Request, name: str) -> str:
    if not request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        return ""
    value = (await request.form()).get(name)
    return value if isinstance(value, str) else ""


def _sign(key: bytes, text: str) -> str:
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
