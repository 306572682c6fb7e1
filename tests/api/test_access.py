"""Nobody gets in without a token that is good for what it asks, by whatever route or method."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing

import pytest
from fastapi.routing import APIRoute

from evomerge.api.context import COOKIE, principal
from evomerge.api.settings import RateLimits
from evomerge.store.access import Scope
from tests.api.conftest import API

OPEN = {"/healthz", "/readyz", "/login", "/static/{name}"}
"""What needs no token: yes or no to load balancers, the page that takes a token, and its looks."""
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "XX")
FOREIGN = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}


def routes(app):
    """Every route of an application, however deep it was included."""
    found = []
    waiting = list(app.routes)
    while waiting:
        route = waiting.pop()
        inner = getattr(route, "routes", None) or getattr(
            getattr(route, "original_router", None), "routes", None
        )
        if inner:
            waiting += inner
        if hasattr(route, "path") and (isinstance(route, APIRoute) or not inner):
            found.append(route)
    return found


def filled(path):
    """A route's pattern as a path: numbers and names that are there."""
    numbers = {"candidate": "1", "number": "1", "export": "1", "after": "1", "id": "1"}
    return re.sub(r"{(\w+)(:\w+)?}", lambda m: numbers.get(m[1], "done-one"), path)


def dependencies(dependant):
    for inner in dependant.dependencies:
        yield inner.call
        yield from dependencies(inner)


def test_the_walk_sees_all_routes(world):
    paths = {route.path for route in routes(world.app())}
    assert {f"{API}/searches", f"{API}/tokens", "/metrics", "/", *OPEN} <= paths
    documented = world.app().openapi()["paths"]
    assert set(documented) <= paths


def test_every_route_and_method_refuses_who_has_no_token(world):
    world.token("ada read")  # with a token in the store there is no local user any more
    app = world.app()
    with world.client(None) as client:
        for route in routes(app):
            if route.path in OPEN:
                continue
            for method in METHODS:
                answer = client.request(method, filled(route.path), follow_redirects=False)
                to_login = answer.status_code == 303 and answer.headers["location"] == "/login"
                refused = answer.status_code in (401, 405) or to_login
                assert refused, (method, route.path, answer.status_code)
                if method in (route.methods or ()):
                    assert answer.status_code != 405, (method, route.path)


def test_every_route_names_who_may_use_it(world):
    for route in routes(world.app()):
        if route.path not in OPEN:
            calls = list(dependencies(route.dependant))
            assert principal in calls, route.path
            assert any(hasattr(call, "scope") for call in calls) or route.path == "/logout"


def needed(route):
    return max(
        (call.scope for call in dependencies(route.dependant) if hasattr(call, "scope")),
        key=list(Scope).index,
        default=None,
    )


def test_a_token_of_a_lesser_scope_is_refused_wherever_more_is_needed(world):
    app = world.app()
    weaker = {Scope.SUBMIT: "ada read", Scope.ADMIN: "ada submit"}
    checked = 0
    for scope, who in weaker.items():
        with world.client(who) as client:
            for route in routes(app):
                if route.path in OPEN or needed(route) is not scope:
                    continue
                for method in route.methods - {"HEAD"}:
                    answer = client.request(method, filled(route.path), json={})
                    # Some are told first that their request is wrong; none gets through.
                    assert answer.status_code in (403, 422), (method, route.path)
                    checked += answer.status_code == 403
    assert checked >= 8


def test_what_changes_something_asks_for_more_than_reading(world):
    """But for questions, which are read-only whatever their method."""
    for route in routes(world.app()):
        if route.path in OPEN or route.path in (f"{API}/queries/{{name}}", "/logout"):
            continue
        if route.methods - {"GET", "HEAD"}:
            assert needed(route) in (Scope.SUBMIT, Scope.ADMIN), route.path


@pytest.mark.parametrize(
    "header",
    [
        "Bearer nonsense",
        "Bearer evm_000000000000_" + "A" * 43,
        "Bearer ",
        "Basic YWRtaW46YWRtaW4=",
        "Bearer evm_' OR 1=1 --_" + "A" * 43,
        "Bearer \u00e9\u00e8",
    ],
)
def test_what_is_no_token_is_refused(world, header):
    world.token("ada read")
    with world.client(None) as client:
        raw = {"Authorization": header.encode("latin-1")}
        answer = client.get(f"{API}/me", headers=raw)
    assert answer.status_code == 401
    assert answer.json()["error"]["remedy"]


def test_a_token_of_another_secret_with_the_same_id_is_refused(world):
    token = world.token("ada read")
    forged = token[:-1] + ("A" if token[-1] != "A" else "B")
    with world.client(None) as client:
        assert client.get(f"{API}/me", headers=bearer(forged)).status_code == 401
        assert client.get(f"{API}/me", headers=bearer(token)).json()["owner"] == "ada"


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


def test_the_store_has_no_token_and_nothing_that_gives_one(world):
    token = world.token("ada admin")
    secret = token.split("_", 2)[2]
    world.store.close()
    for file in world.folder.glob("store.db*"):
        assert secret.encode() not in file.read_bytes()


def let_pass(world, seconds):
    """As if so much time had gone by for all tokens."""
    with closing(sqlite3.connect(world.folder / "store.db")) as db, db:
        for column in ("expires_at", "revoked_at"):
            db.execute(f"UPDATE tokens SET {column} = {column} - ?", (seconds,))


def test_tokens_expire_are_rotated_and_revoked(world):
    short, _ = world.store.create_token("bob", Scope.READ, seconds=3600)
    old, record = world.store.create_token("bob", Scope.SUBMIT)
    with world.client(None) as client:

        def status(token):
            return client.get(f"{API}/me", headers=bearer(token)).status_code

        assert (status(short), status(old)) == (200, 200)
        new, made = world.store.rotate_token(record.id, seconds=None, grace=3600)
        assert (status(old), status(new)) == (200, 200)
        let_pass(world, 3601)
        assert (status(short), status(old), status(new)) == (401, 401, 200)
        assert made.scope is Scope.SUBMIT
        world.store.revoke_token(made.id)
        assert status(new) == 401


def test_an_admin_makes_tokens_over_http_and_they_are_shown_once(world):
    with world.client("root admin") as client:
        body = {"owner": "eve", "scope": "submit", "hours": 24, "note": "laptop"}
        made = client.post(f"{API}/tokens", json=body).json()
        assert made["token"].startswith("evm_")
        assert made["token"] not in client.get(f"{API}/tokens").text
        assert client.get(f"{API}/me", headers=bearer(made["token"])).json()["owner"] == "eve"
        again = client.post(f"{API}/tokens/{made['id']}/rotate", json={}).json()
        assert client.get(f"{API}/me", headers=bearer(made["token"])).status_code == 401
        client.delete(f"{API}/tokens/{again['id']}")
        assert client.get(f"{API}/me", headers=bearer(again["token"])).status_code == 401


# --- the local user ---


def test_without_any_token_in_the_store_the_local_user_is_admin_and_with_one_nobody_is(world):
    with world.client(None) as client:
        assert client.get(f"{API}/me").json() == {
            "owner": "local", "scope": "admin", "kind": "local",
        }  # fmt: skip
        world.token("ada read")
        assert client.get(f"{API}/me").status_code == 401


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 421),
        ({"Host": "127.0.0.1.evil.example:8321"}, 421),
        ({"Host": "localhost.evil.example"}, 421),
        ({"Host": ""}, 421),
        ({"X-Forwarded-For": "10.0.0.9"}, 401),
        ({"Forwarded": "for=10.0.0.9"}, 401),
        ({"Via": "1.1 proxy"}, 401),
        ({"Host": "localhost:8321"}, 200),
        ({"Host": "[::1]:8321"}, 200),
    ],
)
def test_the_local_user_comes_by_a_loopback_name_and_through_no_proxy(world, headers, status):
    with world.client(None) as client:
        assert client.get(f"{API}/me", headers=headers).status_code == status


def test_who_comes_from_another_address_is_no_local_user(world):
    from starlette.testclient import TestClient

    client = TestClient(world.app(), base_url="http://127.0.0.1:8321", client=("10.0.0.9", 1))
    assert client.get(f"{API}/me").status_code == 401


@pytest.mark.parametrize("changes", [{"host": "0.0.0.0"}, {"proxied": True}])
def test_a_server_that_others_reach_has_no_local_user(world, changes):
    with world.client(None, **changes) as client:
        assert client.get(f"{API}/me").status_code == 401


def test_another_websites_page_cannot_use_the_local_user(world):
    """Browsers send such requests with Origin, or Sec-Fetch-Site, or both."""
    with world.client(None) as client:
        for headers in (FOREIGN, {"Origin": "null"}, {"Sec-Fetch-Site": "same-site"}):
            answer = client.post(f"{API}/searches/done-one/cancel", headers=headers)
            assert answer.status_code == 403, headers
        same = {"Origin": "http://127.0.0.1:8321"}
        assert client.post(f"{API}/searches/done-one/cancel", headers=same).status_code == 403


# --- browsers ---


def sign_in(client, token):
    return client.post("/login", data={"token": token}, follow_redirects=False)


def test_signing_in_gives_a_cookie_that_scripts_and_other_sites_cannot_use(world):
    with world.client(None) as client:
        answer = sign_in(client, world.token("ada submit"))
        cookie = answer.headers["set-cookie"]
        assert answer.status_code == 303
        assert "HttpOnly" in cookie and "SameSite=strict" in cookie and "Path=/" in cookie
        assert world.token("ada submit") not in cookie
        assert client.get(f"{API}/me").json()["kind"] == "session"
    with world.client(None, https=True) as client:
        assert "Secure" in sign_in(client, world.token("ada submit")).headers["set-cookie"]


def test_a_wrong_token_gives_no_session(world):
    with world.client(None) as client:
        answer = sign_in(client, "evm_000000000000_" + "A" * 43)
        assert answer.status_code == 401
        assert "set-cookie" not in answer.headers
        assert 'role="alert"' in answer.text


def test_a_session_changes_nothing_without_its_csrf_token(world):
    from evomerge.api.context import _session

    cancel = f"{API}/searches/done-one/cancel"
    with world.client(None) as client:
        sign_in(client, world.token("ada submit"))
        assert client.post(cancel).status_code == 403
        assert client.post(cancel, headers={"X-CSRF-Token": "f" * 64}).status_code == 403
        cookie = client.cookies[COOKIE]
        record = world.store.find_token(cookie)
        good = {"X-CSRF-Token": _session(cookie, record).csrf}
        assert client.post(cancel, headers={**good, **FOREIGN}).status_code == 403
        assert client.post(cancel, headers=good).status_code == 422  # it is finished already


def test_a_session_ends_with_signing_out_and_with_its_token(world):
    from evomerge.api.context import _session

    token, record = world.store.create_token("ada", Scope.SUBMIT)
    with world.client(None) as client:
        sign_in(client, token)
        cookie = client.cookies[COOKIE]
        csrf = _session(cookie, world.store.find_token(cookie)).csrf
        client.post("/logout", data={"csrf_token": csrf}, follow_redirects=False)
        assert client.get(f"{API}/me", headers={"Cookie": f"{COOKIE}={cookie}"}).status_code == 401
        sign_in(client, token)
        assert client.get(f"{API}/me").status_code == 200
        world.store.revoke_token(record.id)
        assert client.get(f"{API}/me").status_code == 401


def test_a_sessions_cookie_is_no_token_for_a_header(world):
    with world.client(None) as client:
        sign_in(client, world.token("ada submit"))
        cookie = client.cookies[COOKIE]
        client.cookies.clear()
        assert client.get(f"{API}/me", headers=bearer(cookie)).status_code == 401


def test_signing_in_from_another_site_is_refused(world):
    with world.client(None) as client:
        data = {"token": world.token("ada read")}
        assert client.post("/login", data=data, headers=FOREIGN).status_code == 403


def test_people_without_a_session_are_sent_to_sign_in(world):
    world.token("ada read")
    with world.client(None) as client:
        answer = client.get("/", headers={"Accept": "text/html"}, follow_redirects=False)
        assert (answer.status_code, answer.headers["location"]) == (303, "/login")


# --- what comes in, and what goes out ---


def test_every_answer_carries_the_headers_that_browsers_need(world):
    with world.client() as client:
        for path in ("/healthz", "/login", f"{API}/me", "/nowhere", f"{API}/nowhere"):
            headers = client.get(path).headers
            policy = headers["content-security-policy"]
            assert "default-src 'self'" in policy and "unsafe" not in policy
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["x-frame-options"] == "DENY"
            assert headers["referrer-policy"] == "same-origin"
        with world.client(https=True) as secure:
            assert "max-age" in secure.get("/healthz").headers["strict-transport-security"]


def test_a_body_that_is_too_long_is_refused_said_or_unsaid(world):
    with world.client(max_body=10_000) as client:
        body = b"{" + b" " * 20_000 + b"}"
        json = {"Content-Type": "application/json"}
        said = client.post(f"{API}/searches", content=body, headers=json)
        assert said.status_code == 413

        def chunks():
            for _ in range(20):
                yield b" " * 1000

        unsaid = client.post(f"{API}/searches", content=chunks(), headers=json)
        assert unsaid.status_code == 413


def test_lines_in_names_break_no_header(world):
    with world.client() as client:
        answer = client.get(f"{API}/searches/x%0d%0aSet-Cookie:%20a=b")
        assert answer.status_code == 404
        assert "set-cookie" not in answer.headers


def test_too_many_requests_are_told_when_to_come_again(world):
    rates = RateLimits(rate=0.01, burst=5, failures=100)
    with world.client(rates=rates) as client:
        answers = [client.get(f"{API}/me") for _ in range(8)]
        assert [a.status_code for a in answers] == [200] * 5 + [429] * 3
        assert int(answers[-1].headers["retry-after"]) >= 1
        other = client.get(f"{API}/me", headers=bearer(world.token("bob read")))
        assert other.status_code == 200


def test_guessing_tokens_is_slowed_down_for_the_whole_address(world):
    world.token("ada read")
    with world.client(None, rates=RateLimits(rate=1000, burst=1000, failures=3)) as client:
        guess = bearer("evm_000000000000_" + "A" * 43)
        answers = [client.get(f"{API}/me", headers=guess).status_code for _ in range(6)]
        assert answers == [401, 401, 401, 429, 429, 429]


def test_errors_say_what_where_and_what_to_do_and_show_no_traceback(world):
    with world.client() as client:
        error = client.get(f"{API}/searches/nothing").json()["error"]
        assert error["message"] and error["remedy"]
        wrong = client.get(f"{API}/best?limit=0").json()["error"]
        assert "limit" in wrong["where"]
        assert "Traceback" not in client.get(f"{API}/searches/%00").text


def test_sessions_that_ended_long_ago_are_forgotten_and_tokens_are_not(world):
    token = world.token("ada submit")
    with world.client(None) as client:
        sign_in(client, token)
        assert len(world.store.tokens(sessions=True)) == 2
        let_pass(world, 3 * 86_400)
        sign_in(client, token)
        assert len(world.store.tokens(sessions=True)) == 2
        assert len(world.store.tokens()) == 1
