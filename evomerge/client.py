"""`Client`: everything that a server offers, as methods with typed results.

    with evomerge.Client("http://127.0.0.1:8321") as client:
        search = client.submit(Path("search.yml"))
        for state in client.watch(search.search):
            print(state.status, state.done, state.best_fitness)

What can be repeated without harm is repeated when the network or the server fails: reading always,
submitting by a key that the server knows again. Errors are those that the same call would raise on the
server, with what is wrong, where, and what to do.
"""

import os
import random
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import httpx
from pydantic import TypeAdapter, ValidationError

from evomerge import errors
from evomerge.errors import EvomergeError, Problems, ResourceError, UsageError
from evomerge.wire import (
    BestItem,
    CandidateList,
    CandidateState,
    ErrorItem,
    ExportItem,
    Limits,
    LogItem,
    Me,
    NewToken,
    OwnerEdit,
    OwnerItem,
    Problem,
    QueryItem,
    Rows,
    SearchList,
    SearchState,
    TokenItem,
    WorkerItem,
)

SERVER_VARIABLE, TOKEN_VARIABLE = "EVOMERGE_SERVER", "EVOMERGE_TOKEN"
DEFAULT_URL = "http://127.0.0.1:8321"
CHECK_SECONDS = 1800.0
"""How long a server may take to check a search: it reads every model once."""
STOPPED = ("paused", "cancelled", "finished", "failed")
_BUSY = (429, 502, 503, 504)
_T = TypeVar("_T")


class Client:
    """Speaks to one server. May be shared by threads.

    Args:
        url: of the server; None: the environment's EVOMERGE_SERVER, else this machine's.
        token: None: the environment's EVOMERGE_TOKEN; without one, only this machine's own server
            answers, and only until it has tokens.
        timeout: seconds for one answer. retries: further tries where a repetition does no harm.
        transport: of httpx, for tests.
    """

    def __init__(
        self,
        url: str | None = None,
        token: str | None = None,
        *,
        timeout: float = 60.0,
        retries: int = 4,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.url = (url or os.environ.get(SERVER_VARIABLE) or DEFAULT_URL).rstrip("/")
        given = token or os.environ.get(TOKEN_VARIABLE)
        self._retries = retries
        try:
            self._http = httpx.Client(
                base_url=f"{self.url}/api/v1",
                headers={"Authorization": f"Bearer {given}"} if given else {},
                timeout=timeout,
                transport=transport,
            )
        except (httpx.InvalidURL, UnicodeError, ValueError) as error:
            raise UsageError(
                str(error), where="--server", remedy="write http://HOST:PORT"
            ) from error

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the connections back."""
        self._http.close()

    # --- searches ---
    def submit(
        self, file: Path | str | Mapping[str, Any], *, priority: int = 0, key: str | None = None
    ) -> SearchState:
        """Have a search checked and queued.

        Args:
            file: a search file's path, its text, or its content. Relative paths in it are those of the
                server's model folder.
            priority: among the searches of the same owner, bigger first.
            key: two calls with one key make one search; made up where there is none.
        """
        body = {"file": _text(file), "priority": priority}
        headers = {"Idempotency-Key": key or secrets.token_hex(16)}
        answer = self._send(
            "POST", "/searches", again=True, json=body, headers=headers, timeout=CHECK_SECONDS
        )
        return SearchState.model_validate(answer.json())

    def searches(
        self,
        *,
        owner: str | None = None,
        status: str | None = None,
        text: str = "",
        limit: int = 50,
        offset: int = 0,
    ) -> SearchList:
        """Searches, newest first."""
        given = {"owner": owner, "status": status, "text": text, "limit": limit, "offset": offset}
        return self._get(SearchList, "/searches", given)

    def search(self, search: str) -> SearchState:
        """How far a search is; by id, by the beginning of one, or by name."""
        return self._get(SearchState, f"/searches/{_part(search)}")

    def watch(self, search: str) -> Iterator[SearchState]:
        """The state of a search each time it changed, until it stops. Outlives lost connections."""
        failures = 0
        while True:
            try:
                for state in self._follow(search):
                    failures = 0
                    yield state
                    if state.status in STOPPED:
                        return
            except ResourceError:
                failures += 1
                if failures > self._retries:
                    raise
                time.sleep(_pause(failures))

    def pause(self, search: str) -> SearchState:
        """Let what is under way finish, and start nothing more."""
        return self._steer(search, "pause")

    def resume(self, search: str) -> SearchState:
        """Go on as soon as there is room."""
        return self._steer(search, "resume")

    def cancel(self, search: str) -> SearchState:
        """Stop at once and for good; what was scored is kept."""
        return self._steer(search, "cancel")

    def edit(self, search: str, **limits: float | None) -> Limits:
        """Change `candidates`, `tokens`, `hours`, `gpu_hours`, `patience`, `workers`."""
        body = {name: value for name, value in limits.items() if value is not None}
        answer = self._send("PATCH", f"/searches/{_part(search)}/limits", again=True, json=body)
        return Limits.model_validate(answer.json())

    def prioritise(self, search: str, priority: int) -> SearchState:
        """Move a search before or behind others of its owner."""
        body = {"priority": priority}
        answer = self._send("PUT", f"/searches/{_part(search)}/priority", again=True, json=body)
        return SearchState.model_validate(answer.json())

    # --- answers ---
    def best(
        self,
        *,
        search: str | None = None,
        base: str | None = None,
        task: str | None = None,
        split: str | None = None,
        limit: int = 10,
    ) -> list[BestItem]:
        """The best candidates, best first."""
        given = {"search": search, "base": base, "task": task, "split": split, "limit": limit}
        return self._get(list[BestItem], "/best", given)

    def candidates(
        self,
        search: str,
        *,
        sort: str = "fitness",
        descending: bool = True,
        show: str = "all",
        text: str = "",
        limit: int = 50,
        offset: int = 0,
    ) -> CandidateList:
        """The candidates of a search; sort: `fitness`, `number` or `task:NAME`."""
        given = {"sort": sort, "descending": descending, "show": show, "text": text}
        page = {"limit": limit, "offset": offset}
        return self._get(CandidateList, f"/searches/{_part(search)}/candidates", {**given, **page})

    def candidate(self, candidate: int) -> CandidateState:
        """All about one candidate; `.yaml` is its recipe."""
        return self._get(CandidateState, f"/candidates/{candidate}")

    def queries(self) -> list[QueryItem]:
        """The questions that may be asked by name."""
        return self._get(list[QueryItem], "/queries")

    def query(self, name: str, parameters: Mapping[str, Any] | None = None) -> Rows:
        """Ask one of them."""
        body = {"parameters": dict(parameters or {})}
        answer = self._send("POST", f"/queries/{_part(name)}", again=True, json=body)
        return Rows.model_validate(answer.json())

    def report(self, search: str) -> dict[str, Any]:
        """The data of the report."""
        return self._get(dict[str, Any], f"/searches/{_part(search)}/report")

    def report_html(self, search: str) -> str:
        """The report as one page."""
        return self._send("GET", f"/searches/{_part(search)}/report.html", again=True).text

    # --- work ---
    def logs(self, search: str, *, after: int = 0, limit: int = 200) -> list[LogItem]:
        """Lines of a search's log."""
        given = {"after": after, "limit": limit}
        return self._get(list[LogItem], f"/searches/{_part(search)}/logs", given)

    def errors(self, search: str, *, limit: int = 50, offset: int = 0) -> list[ErrorItem]:
        """What went wrong while candidates were scored."""
        given = {"limit": limit, "offset": offset}
        return self._get(list[ErrorItem], f"/searches/{_part(search)}/errors", given)

    def workers(self) -> list[WorkerItem]:
        """What workers are doing now."""
        return self._get(list[WorkerItem], "/workers")

    def export(self, candidate: str | int, folder: str) -> ExportItem:
        """Have a candidate merged into a new folder on the server; `exported` says when it is done."""
        body = {"candidate": str(candidate), "folder": folder}
        return ExportItem.model_validate(self._send("POST", "/exports", json=body).json())

    def exported(self, export: int, *, wait: bool = False, interval: float = 1.0) -> ExportItem:
        """How far an export is; with `wait`, once it is done or failed."""
        while True:
            found = self._get(ExportItem, f"/exports/{export}")
            if not wait or found.status in ("done", "failed"):
                return found
            time.sleep(interval)

    def exports(self, *, search: str | None = None) -> list[ExportItem]:
        """Exports, newest first."""
        return self._get(list[ExportItem], "/exports", {"search": search})

    # --- people ---
    def me(self) -> Me:
        """Who the server takes this client for."""
        return self._get(Me, "/me")

    def owners(self) -> list[OwnerItem]:
        """Who shares the server."""
        return self._get(list[OwnerItem], "/owners")

    def edit_owner(self, name: str, weight: float, **limits: float | None) -> OwnerItem:
        """Set an owner's weight and limits (`running`, `queued`, `candidates`, `workers`, `hours`)."""
        body = OwnerEdit.model_validate({"weight": weight, "limits": limits}).model_dump()
        answer = self._send("PUT", f"/owners/{_part(name)}", again=True, json=body)
        return OwnerItem.model_validate(answer.json())

    def tokens(self) -> list[TokenItem]:
        """All tokens, without what makes them one."""
        return self._get(list[TokenItem], "/tokens")

    def create_token(
        self, owner: str, scope: str = "read", hours: float | None = None, note: str | None = None
    ) -> NewToken:
        """Make a token; `.token` is shown this once."""
        body = {"owner": owner, "scope": scope, "hours": hours, "note": note}
        return NewToken.model_validate(self._send("POST", "/tokens", json=body).json())

    def rotate_token(self, token: str, hours: float | None = None, grace: float = 0.0) -> NewToken:
        """A new token in place of another, which stays good for `grace` hours."""
        body = {"hours": hours, "grace": grace}
        answer = self._send("POST", f"/tokens/{_part(token)}/rotate", json=body)
        return NewToken.model_validate(answer.json())

    def revoke_token(self, token: str) -> TokenItem:
        """End a token, by its id."""
        answer = self._send("DELETE", f"/tokens/{_part(token)}", again=True)
        return TokenItem.model_validate(answer.json())

    # --- how it is sent ---
    def _steer(self, search: str, verb: str) -> SearchState:
        answer = self._send("POST", f"/searches/{_part(search)}/{verb}")
        return SearchState.model_validate(answer.json())

    def _get(self, kind: type[_T], path: str, given: Mapping[str, Any] | None = None) -> _T:
        parameters = {name: value for name, value in (given or {}).items() if value is not None}
        answer = self._send("GET", path, again=True, params=parameters)
        try:
            return TypeAdapter(kind).validate_python(answer.json())
        except (ValidationError, ValueError) as error:
            raise ResourceError(
                "the answer is not one of evomerge's", where=self.url, remedy="check the URL"
            ) from error

    def _send(self, method: str, path: str, *, again: bool = False, **given: Any) -> httpx.Response:
        """One request, repeated where that does no harm; `again`: also if it may have arrived."""
        for attempt in range(self._retries + 1):
            last = attempt == self._retries
            try:
                answer = self._http.request(method, path, **given)
            except httpx.TransportError as error:
                if last or not (again or isinstance(error, httpx.ConnectError)):
                    raise self._unreachable(error) from error
                time.sleep(_pause(attempt))
                continue
            if answer.status_code not in _BUSY or last or not (again or answer.status_code == 429):
                return self._checked(answer)
            time.sleep(_asked_pause(answer, attempt))
        raise AssertionError("the last attempt returns or raises")

    def _follow(self, search: str) -> Iterator[SearchState]:
        path = f"/searches/{_part(search)}/events"
        with self._reading(), self._http.stream("GET", path, timeout=90.0) as answer:
            if answer.status_code != 200:
                answer.read()
                self._checked(answer)
            event = ""
            for line in answer.iter_lines():
                name, _, value = line.partition(": ")
                event = value if name == "event" else event
                if name == "data" and event == "state":
                    yield SearchState.model_validate_json(value)

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except httpx.TransportError as error:
            raise self._unreachable(error) from error

    def _unreachable(self, error: Exception) -> ResourceError:
        reason = str(error).strip() or type(error).__name__
        if "CERTIFICATE_VERIFY_FAILED" in reason:
            return ResourceError(
                f"nobody vouches for the server's certificate ({reason})",
                where=self.url,
                remedy="name the certificate of whoever signed it: SSL_CERT_FILE=ca.pem",
            )
        return ResourceError(
            f"no server answers ({reason})",
            where=self.url,
            remedy="start one with `evomerge serve`, or name it: --server URL, EVOMERGE_SERVER",
        )

    def _checked(self, answer: httpx.Response) -> httpx.Response:
        if answer.is_success:
            return answer
        try:
            problem = Problem.model_validate(answer.json()["error"])
        except (ValueError, KeyError, TypeError) as error:
            raise ResourceError(
                f"an answer that is not evomerge's (HTTP {answer.status_code})",
                where=self.url,
                remedy="check the URL",
            ) from error
        raise _error(problem, self.url)


def _error(problem: Problem, url: str) -> EvomergeError:
    """The error that the server met, of its own class where that is one of the user's."""
    if problem.problems:
        return Problems([_usage_error(one, url) for one in problem.problems])
    return _usage_error(problem, url)


def _usage_error(problem: Problem, url: str) -> UsageError:
    kind = getattr(errors, problem.type, UsageError)
    usual = isinstance(kind, type) and issubclass(kind, UsageError) and kind is not Problems
    chosen: type[UsageError] = kind if usual else UsageError
    return chosen(problem.message, where=problem.where or url, remedy=problem.remedy)


def _text(file: Path | str | Mapping[str, Any]) -> str:
    if isinstance(file, Mapping):
        import json

        return json.dumps(file)
    if isinstance(file, str):
        return file
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot be read: {error}", where=str(file), remedy="check it") from error


def _part(text: str) -> str:
    """A part of a path, whatever letters it has."""
    from urllib.parse import quote

    return quote(text, safe="")


def _pause(attempt: int) -> float:
    """Seconds before the next try: about 0.25, 0.5, 1, 2 …, never all clients at once."""
    return float(0.25 * 2**attempt * random.SystemRandom().uniform(0.5, 1.5))


def _asked_pause(answer: httpx.Response, attempt: int) -> float:
    asked = answer.headers.get("retry-after", "")
    return min(60.0, float(asked)) if asked.isdigit() else _pause(attempt)
