"""What every request passes before a route sees it, and what every answer carries.

Plain ASGI, outermost: the Host header against the list, the size of the body, the rate of the address;
then the headers that keep browsers from doing harm.
"""

import asyncio
import time
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from evomerge.api.context import Context, client_address
from evomerge.api.errors import ApiError, answer, content_of
from evomerge.api.settings import LOOPBACK_NAMES

CSP = (
    "default-src 'self'; base-uri 'none'; object-src 'none'; frame-ancestors 'none'; "
    "form-action 'self'"
)
_BODY_SECONDS = 30.0
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_HEADERS = {
    "Content-Security-Policy": CSP,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
}


class Shield:
    """The middleware."""

    def __init__(self, app: ASGIApp, here: Context) -> None:
        self._app, self._here = app, here

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, statuses = time.perf_counter(), [500]
        try:
            await self._pass(scope, receive, self._with_headers(send, statuses))
        finally:
            # The pattern of the route, not the path: paths have no end, and strangers choose them.
            pattern = getattr(scope.get("route"), "path", "none")
            seconds = time.perf_counter() - began
            method = scope["method"] if scope["method"] in _METHODS else "OTHER"
            self._here.metrics.note_request(method, pattern, statuses[-1], seconds)

    async def _pass(self, scope: Scope, receive: Receive, sending: Send) -> None:
        request = Request(scope, receive)
        try:
            self._check(request)
            whole = await _read_body(receive, self._here.settings.max_body)
        except ApiError as error:
            refusal = answer(request, error.status, content_of(error), error.headers)
            await refusal(scope, receive, sending)
            return
        await self._app(scope, whole, sending)

    def _check(self, request: Request) -> None:
        _check_host(request.headers, self._here)
        _check_length(request.headers, self._here.settings.max_body)
        self._here.limiter.spend_address(client_address(request))

    def _with_headers(self, send: Send, statuses: list[int]) -> Send:
        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                if self._here.settings.https:
                    headers.setdefault("Strict-Transport-Security", "max-age=31536000")
            await send(message)

        return sending


async def _read_body(receive: Receive, most: int) -> Receive:
    """The whole body, read before anything else happens, so that none is longer or slower than allowed.

    Gives a `receive` that hands it on.
    """
    body = b""
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            while (message := await receive())["type"] == "http.request":
                body += message.get("body", b"")
                if len(body) > most:
                    raise _too_long(most)
                if not message.get("more_body", False):
                    break
    except TimeoutError as error:
        raise ApiError(408, "the body takes too long", remedy="send it again") from error
    whole: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_again() -> Message:
        return whole.pop() if whole else await receive()

    return receive_again


def _check_host(headers: Headers, here: Context) -> None:
    """A web page can make any name point to this address; browsers then send that name."""
    host = _name(headers.get("host", ""))
    if host not in allowed_hosts(here):
        raise ApiError(
            421,
            f"this server is not known as {host[:100]!r}",
            where="Host",
            remedy="add the name: evomerge serve --allow-host NAME",
        )


def allowed_hosts(here: Context) -> set[str]:
    """The names that the server answers to."""
    settings = here.settings
    own = {settings.host} if settings.host not in ("0.0.0.0", "::") else set()
    return {name.lower() for name in (*settings.allowed_hosts, *own, *LOOPBACK_NAMES)}


def _name(host: str) -> str:
    """The host of a Host header, without port and brackets."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower()


def _check_length(headers: Headers, most: int) -> None:
    said: Any = headers.get("content-length", "0")
    if not said.isdigit():
        raise ApiError(400, "no length", where="Content-Length", remedy="send a number")
    if int(said) > most:
        raise _too_long(most)


def _too_long(most: int) -> ApiError:
    return ApiError(413, f"longer than {most} bytes", where="body", remedy="send less")
