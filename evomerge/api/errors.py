"""Errors over HTTP: what is wrong, where, and what to do, as JSON or as a small page."""

import logging
from collections.abc import Mapping
from html import escape
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.exceptions import HTTPException

from evomerge.errors import (
    EvomergeError,
    LeaseLostError,
    LimitError,
    NotFoundError,
    Problems,
    ResourceError,
    StoreError,
    UsageError,
)

LOGGER = logging.getLogger("evomerge.api")
API = "/api/"
_STATUS: dict[type[EvomergeError], int] = {
    NotFoundError: 404,
    StoreError: 503,
    LeaseLostError: 409,
    ResourceError: 409,
    LimitError: 409,
    UsageError: 422,
}


class ApiError(EvomergeError):
    """An error with an HTTP status of its own."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        where: str | None = None,
        remedy: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message, where=where, remedy=remedy)
        self.status, self.headers = status, dict(headers or {})


class Unauthorised(ApiError):
    """Nobody can tell who asks."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(401, message, remedy=remedy, headers={"WWW-Authenticate": "Bearer"})


class Forbidden(ApiError):
    """It is known who asks, and that one may not."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(403, message, remedy=remedy)


def install(app: FastAPI) -> None:
    """Have every error answered in one form."""
    app.add_exception_handler(EvomergeError, _ours)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _fault)


def content_of(error: EvomergeError) -> dict[str, Any]:
    """An error as JSON has it; `problems` where it is several."""
    content: dict[str, Any] = {
        "type": "Error" if isinstance(error, ApiError) else type(error).__name__,
        "message": error.message,
        "where": error.where,
        "remedy": error.remedy,
    }
    if isinstance(error, Problems):
        content["message"] = f"{len(error.problems)} problems"
        content["problems"] = [content_of(problem) for problem in error.problems]
    return content


def status_of(error: EvomergeError) -> int:
    """The HTTP status of an error."""
    if isinstance(error, ApiError):
        return error.status
    found = next((status for kind, status in _STATUS.items() if isinstance(error, kind)), 500)
    return found


async def _ours(request: Request, error: Exception) -> Response:
    assert isinstance(error, EvomergeError)
    headers = error.headers if isinstance(error, ApiError) else {}
    return answer(request, status_of(error), content_of(error), headers)


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    problems = [
        {
            "type": "SpecError",
            "message": str(detail["msg"]),
            "where": ".".join(map(str, detail["loc"])),
            "remedy": "see /api/v1/openapi.json",
        }
        for detail in error.errors()
    ]
    first = problems[0]
    return answer(request, 422, {**first, "problems": problems} if len(problems) > 1 else first)


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    content = {
        "type": "Error",
        "message": str(error.detail),
        "where": request.url.path,
        "remedy": "see /api/v1/openapi.json",
    }
    return answer(request, error.status_code, content, error.headers)


async def _fault(request: Request, error: Exception) -> Response:
    LOGGER.exception("a fault in evomerge", exc_info=error)
    content = {
        "type": type(error).__name__,
        "message": "a fault in evomerge",
        "where": request.url.path,
        "remedy": "please report it with the traceback in the server's log",
    }
    return answer(request, 500, content)


def answer(
    request: Request,
    status: int,
    content: Mapping[str, Any],
    headers: Mapping[str, str] | None = None,
) -> Response:
    """JSON for programs, a page for people; people without a session are sent to sign in."""
    if request.url.path.startswith(API) or "text/html" not in request.headers.get("accept", ""):
        return JSONResponse({"error": content}, status, headers=dict(headers or {}))
    if status == 401 and request.method == "GET":
        return RedirectResponse("/login", 303)
    return HTMLResponse(_page(status, content), status, headers=dict(headers or {}))


def _page(status: int, content: Mapping[str, Any]) -> str:
    lines = [content.get("where"), content.get("remedy")]
    paragraphs = "".join(f"<p>{escape(str(line))}</p>" for line in lines if line)
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        '<link rel="stylesheet" href="/static/style.css">'
        f"<title>{status} · evomerge</title><main><h1>{escape(str(content['message']))}</h1>"
        f'{paragraphs}<p><a href="/">All searches</a></p></main></html>'
    )
