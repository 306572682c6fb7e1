"""`evomerge.Client`: the same verbs over HTTP, errors of the same classes, retries that do no harm."""

from __future__ import annotations

import subprocess
import sys

import httpx
import pytest

import evomerge
from evomerge import client as module
from evomerge.client import Client
from evomerge.errors import NotFoundError, Problems, ResourceError, SpecError, UsageError
from tests.api.conftest import serving

STATE = {
    "search": "a-b", "name": "n", "status": "pending", "message": None, "phase": None, "done": {},
    "budget": {}, "workers": 1, "best_fitness": None, "best_candidate": None, "dropped": 0,
    "failed": 0, "reused": 0, "base_model": "b", "models": ["x"], "tasks": ["t"], "seed": 0,
    "created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z", "versions": {},
}  # fmt: skip


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(module.time, "sleep", lambda seconds: None)
    monkeypatch.delenv("EVOMERGE_TOKEN", raising=False)
    monkeypatch.delenv("EVOMERGE_SERVER", raising=False)


def answering(*answers):
    """A client whose server gives these answers in turn, and the requests that it saw."""
    seen: list[httpx.Request] = []
    left = list(answers)

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        answer = left.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return Client("http://server", "secret", transport=httpx.MockTransport(handle)), seen


def test_it_is_exported_and_loads_nothing_until_it_is_asked_for():
    assert evomerge.Client is Client
    code = "import sys, evomerge; print('httpx' in sys.modules, 'pydantic' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_a_submission_is_repeated_under_one_key_until_an_answer_comes():
    lost = httpx.ReadTimeout("lost")
    busy = httpx.Response(503, json={"error": {"type": "StoreError", "message": "busy"}})
    client, seen = answering(lost, busy, httpx.Response(201, json=STATE))
    assert client.submit("name: x").search == "a-b"
    assert len({request.headers["idempotency-key"] for request in seen}) == 1
    assert len(seen) == 3
    assert seen[0].headers["authorization"] == "Bearer secret"


def test_what_might_have_happened_already_is_not_repeated():
    client, seen = answering(httpx.ReadTimeout("lost"))
    with pytest.raises(ResourceError, match="no server answers"):
        client.export("a-b", "out")
    assert len(seen) == 1


def test_a_connection_that_never_came_about_is_tried_again_for_everything():
    refused = httpx.ConnectError("refused")
    client, seen = answering(refused, httpx.Response(200, json=STATE))
    assert client.pause("a-b").status == "pending"
    assert len(seen) == 2


def test_it_waits_as_long_as_a_busy_server_asks(monkeypatch):
    waited = []
    monkeypatch.setattr(module.time, "sleep", waited.append)
    busy = httpx.Response(
        429, headers={"Retry-After": "7"}, json={"error": {"type": "Error", "message": "slow"}}
    )
    client, _ = answering(busy, httpx.Response(200, json=STATE))
    client.search("a-b")
    assert waited == [7.0]


def test_errors_have_the_classes_that_they_have_here():
    one = {"type": "SpecError", "message": "bad", "where": "file:3", "remedy": "mend it"}
    client, _ = answering(httpx.Response(422, json={"error": one}))
    with pytest.raises(SpecError) as caught:
        client.submit("x")
    assert (caught.value.where, caught.value.remedy) == ("file:3", "mend it")
    several = {**one, "type": "Problems", "problems": [one, {**one, "type": "TaskError"}]}
    client, _ = answering(httpx.Response(422, json={"error": several}))
    with pytest.raises(Problems) as caught:
        client.submit("x")
    assert [type(p).__name__ for p in caught.value.problems] == ["SpecError", "TaskError"]
    odd = {**one, "type": "BaseException"}
    client, _ = answering(httpx.Response(422, json={"error": odd}))
    with pytest.raises(UsageError):
        client.submit("x")


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(200, text="<html>a login page of something else</html>"),
        httpx.Response(404, text="nginx"),
        httpx.Response(200, json={"something": "else"}),
        httpx.Response(500, json=["no"]),
    ],
)
def test_a_server_of_another_kind_is_told_as_such(answer):
    client, _ = answering(answer)
    with pytest.raises(ResourceError, match=r"not.*evomerge's"):
        client.search("a-b")


def test_names_stay_within_their_part_of_the_path():
    error = {"error": {"type": "NotFoundError", "message": "no"}}
    client, seen = answering(httpx.Response(404, json=error))
    with pytest.raises(NotFoundError):
        client.search("../tokens?x=/#")
    assert seen[0].url.raw_path == b"/api/v1/searches/..%2Ftokens%3Fx%3D%2F%23"


@pytest.mark.parametrize("url", ["http://[", "http://host:port", "ftp:///x"])
def test_an_address_that_is_none_is_told(url):
    with pytest.raises((UsageError, ResourceError)):
        Client(url, retries=0).me()


def test_every_verb_against_a_real_server(world):
    """Over a socket: what each method gives is what its class says."""
    with (
        serving(world.app(schedule=False)) as url,
        Client(url, world.token("ada submit")) as client,
    ):
        assert client.me().owner == "ada"
        made = client.submit(world.file)
        assert [s.id for s in client.searches(status="pending").items] == [made.search]
        assert client.pause(made.search).status == "paused"
        assert client.resume(made.search).status == "pending"
        assert client.edit(made.search, candidates=5).budget["candidates"] == 5
        queue = client.prioritise(made.search, 4).queue
        assert queue is not None and queue.priority == 4
        assert client.cancel(made.search).status == "cancelled"
        assert [state.status for state in client.watch(made.search)] == ["cancelled"]
        best = client.best(search=world.finished, limit=2)
        assert client.candidate(best[0].candidate).yaml == best[0].yaml
        assert client.candidates(world.finished, limit=3).total > 3
        assert client.query("progress", {"search": world.finished}).rows
        assert {q.name for q in client.queries()} >= {"progress"}
        assert client.report(world.finished)["search"]["id"] == world.finished
        assert "<html" in client.report_html(world.finished)
        assert client.logs(made.search)[0].message == "submitted by ada"
        assert client.errors(world.finished) == [] == client.workers()
        export = client.export(best[0].candidate, "one")
        assert client.exported(export.id).status == "pending"
        assert [x.id for x in client.exports(search=world.finished)] == [export.id]
        assert [o.name for o in client.owners()] == ["ada"]
        with pytest.raises(UsageError, match="scope"):
            client.tokens()
    with serving(world.app()) as url, Client(url, world.token("root admin")) as admin:
        new = admin.create_token("eve", "read", hours=1)
        newer = admin.rotate_token(new.id)
        assert Client(url, newer.token).me().owner == "eve"
        assert admin.revoke_token(newer.id).revoked_at is not None
        assert {t.owner for t in admin.tokens()} >= {"eve", "root"}
        assert admin.edit_owner("eve", 2.0, running=1).limits.running == 1
