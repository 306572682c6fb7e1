"""What one can do with searches over HTTP, and whose they are."""

from __future__ import annotations

import json
import threading
import time

import pytest

from evomerge.store.access import OwnerLimits
from evomerge.store.types import SearchStatus
from tests.api.conftest import API, serving


def submit(client, world, key=None, **changes):
    headers = {} if key is None else {"Idempotency-Key": key}
    body = {"file": world.file.read_text(encoding="utf-8"), **changes}
    return client.post(f"{API}/searches", json=body, headers=headers)


def test_a_submitted_search_waits_with_its_owner_and_priority(world):
    with world.client("ada submit") as client:
        answer = submit(client, world, priority=3)
        assert answer.status_code == 201
        state = answer.json()
        assert (state["status"], state["queue"]["owner"]) == ("pending", "ada")
        assert state["queue"]["priority"] == 3
        found = client.get(f"{API}/searches", params={"owner": "ada", "status": "pending"}).json()
        assert [item["id"] for item in found["items"]] == [state["search"]]
        assert client.get(f"{API}/searches/{state['search']}/logs").json()[0]["message"] == (
            "submitted by ada"
        )


def test_json_is_as_good_as_yaml(world):
    from ruamel.yaml import YAML

    content = YAML(typ="safe").load(world.file)
    with world.client() as client:
        answer = client.post(f"{API}/searches", json={"file": json.dumps(content)})
    assert answer.status_code == 201


def test_a_repeated_request_makes_one_search_also_when_both_come_at_once(world):
    with world.client() as client:
        answers = []
        threads = [
            threading.Thread(target=lambda: answers.append(submit(client, world, key="same")))
            for _ in range(6)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(a.status_code for a in answers) == [200] * 5 + [201]
        assert len({a.json()["search"] for a in answers}) == 1
        other = submit(client, world, key="same", priority=9)
        assert other.status_code == 422
        assert "another request" in other.json()["error"]["message"]
        assert client.get(f"{API}/searches", params={"status": "pending"}).json()["total"] == 1


def test_all_that_is_wrong_with_a_file_is_told_with_line_and_remedy(world):
    text = world.file.read_text(encoding="utf-8").replace("budget:", "budgget:")
    with world.client() as client:
        answer = client.post(f"{API}/searches", json={"file": text})
    error = answer.json()["error"]
    assert answer.status_code == 422
    assert "budgget" in error["message"] and "search file:" in error["where"]
    assert "budget" in error["remedy"]


def test_limits_of_an_owner_refuse_and_say_why(world):
    world.store.ensure_owner("ada")
    world.store.set_owner("ada", weight=1.0, limits=OwnerLimits(queued=1))
    with world.client() as client:
        assert submit(client, world).status_code == 201
        refused = submit(client, world)
        assert refused.status_code == 409
        assert refused.json()["error"]["where"] == "limits.queued"


def test_only_its_owner_and_admins_change_a_search_and_all_may_read_it(world):
    with world.client("ada submit") as client:
        mine = submit(client, world).json()["search"]
    with world.client("bob submit") as client:
        assert client.get(f"{API}/searches/{mine}").status_code == 200
        for verb in ("pause", "resume", "cancel"):
            assert client.post(f"{API}/searches/{mine}/{verb}").status_code == 403
        limits = f"{API}/searches/{mine}/limits"
        assert client.patch(limits, json={"candidates": 5}).status_code == 403
        assert (
            client.put(f"{API}/searches/{mine}/priority", json={"priority": 1}).status_code == 403
        )
    with world.client("root admin") as client:
        assert client.post(f"{API}/searches/{mine}/pause").json()["status"] == "paused"


def test_a_private_server_shows_owners_their_own_searches_alone(world):
    with world.client("bob submit", private=True) as client:
        search = world.finished
        candidate = world.store.candidates(search)[0].id
        for path in (
            f"/searches/{search}",
            f"/searches/{search}/candidates",
            f"/searches/{search}/logs",
            f"/searches/{search}/errors",
            f"/searches/{search}/report",
            f"/searches/{search}/report.html",
            f"/searches/{search}/events",
            f"/candidates/{candidate}",
            f"/best?search={search}",
            f"/exports?search={search}",
        ):
            assert client.get(f"{API}{path}").status_code == 404, path
        assert client.get(f"{API}/searches").json()["total"] == 0
        assert client.get(f"{API}/best").status_code == 422
        query = {"parameters": {}}
        assert client.post(f"{API}/queries/progress", json=query).status_code == 422
        query = {"parameters": {"search": search}}
        assert client.post(f"{API}/queries/progress", json=query).status_code == 404
        export = {"candidate": str(candidate), "folder": "stolen"}
        assert client.post(f"{API}/exports", json=export).status_code == 404
        assert [o["name"] for o in client.get(f"{API}/owners").json()] in ([], ["bob"])
    with world.client("ada read", private=True) as client:
        assert client.get(f"{API}/searches/{search}").status_code == 200
    with world.client("root admin", private=True) as client:
        assert client.get(f"{API}/searches").json()["total"] == 1


def test_steering_says_what_then_stands(world):
    with world.client() as client:
        mine = submit(client, world).json()["search"]
        path = f"{API}/searches/{mine}"
        assert client.post(f"{path}/pause").json()["status"] == "paused"
        resumed = client.post(f"{path}/resume").json()
        assert (resumed["status"], resumed["queue"]["wanted"]) == ("pending", True)
        changed = client.patch(f"{path}/limits", json={"candidates": 5, "workers": 2}).json()
        assert (changed["budget"]["candidates"], changed["workers"]) == (5, 2)
        assert client.put(f"{path}/priority", json={"priority": 7}).json()["queue"]["priority"] == 7
        assert client.post(f"{path}/cancel").json()["status"] == "cancelled"
        again = client.post(f"{path}/resume")
        assert again.status_code == 422
        assert "cancelled already" in again.json()["error"]["message"]


def test_lists_are_cut_into_pages_and_sorted(world):
    with world.client("ada read") as client:
        path = f"{API}/searches/{world.finished}/candidates"
        total = client.get(path).json()["total"]
        pages = [
            client.get(path, params={"limit": 5, "offset": start, "sort": "number"}).json()["items"]
            for start in range(0, total, 5)
        ]
        numbers = [item["number"] for page in pages for item in page]
        assert numbers == list(range(total))[::-1]
        best = client.get(path, params={"limit": 3}).json()["items"]
        assert [b["fitness"] for b in best] == sorted((b["fitness"] for b in best), reverse=True)
        by_task = client.get(path, params={"sort": "task:alpha", "limit": 3}).json()["items"]
        assert by_task[0]["scores"]["alpha"] >= by_task[-1]["scores"]["alpha"]


def test_one_candidate_comes_with_a_recipe_that_can_be_merged(world, tmp_path):
    from evomerge.merging.mergekit_yaml import load_recipe

    with world.client("ada read") as client:
        best = client.get(f"{API}/best", params={"limit": 1}).json()[0]
        one = client.get(f"{API}/candidates/{best['candidate']}").json()
    file = tmp_path / "recipe.yml"
    file.write_text(one["yaml"], encoding="utf-8")
    assert load_recipe(file).recipe_id == one["recipe_id"]
    assert one["evaluations"][0]["attempts"][0]["status"] == "scored"


def test_questions_are_asked_by_name_alone_and_change_nothing(world):
    with world.client("ada read") as client:
        names = {q["name"] for q in client.get(f"{API}/queries").json()}
        assert "progress" in names
        rows = client.post(f"{API}/queries/progress", json={"parameters": {}}).json()
        assert rows["rows"][0][0] == world.finished
        for name in ("nothing", "../schema", "progress; DROP TABLE searches", "%2e%2e%2fschema"):
            answer = client.post(f"{API}/queries/{name}", json={"parameters": {}})
            assert answer.status_code == 404
        injected = {"parameters": {"search": "x' OR '1'='1"}}
        assert client.post(f"{API}/queries/progress", json=injected).status_code == 404


def test_a_question_that_takes_too_long_is_stopped(any_url, monkeypatch):
    from evomerge.errors import ResourceError
    from evomerge.store import open_store, questions
    from evomerge.store.types import QueryInfo

    endless = (
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000000000) "
        "SELECT COUNT(*) FROM n"
    )
    monkeypatch.setattr(questions, "load_query", lambda name: (QueryInfo(name, "", ()), endless))
    store = open_store(any_url)
    before = time.monotonic()
    with pytest.raises(ResourceError, match=r"longer than 0\.5 s"):
        store.query("endless", {}, seconds=0.5)
    assert time.monotonic() - before < 20
    assert store.searches() == []
    store.close()


def test_the_report_is_shut_off_from_the_server(world):
    with world.client("ada read") as client:
        page = client.get(f"{API}/searches/{world.finished}/report.html")
        assert "sandbox" in page.headers["content-security-policy"]
        assert "default-src 'none'" in page.headers["content-security-policy"]
        report = client.get(f"{API}/searches/{world.finished}/report").json()
        assert report["search"]["id"] == world.finished


@pytest.mark.parametrize(
    "folder",
    [
        "../out",
        "/tmp/out",
        "a/b",
        ".hidden",
        "..",
        ".",
        "",
        "a\x00b",
        "a\nb",
        "ü",
        "x" * 101,
        "C:\\x",
    ],
)
def test_exports_go_nowhere_but_below_the_servers_folder(world, folder):
    with world.client() as client:
        body = {"candidate": world.finished, "folder": folder}
        assert client.post(f"{API}/exports", json=body).status_code == 422
    assert not (world.folder / "exports").exists()


def test_exports_need_a_folder_and_take_each_name_once(world):
    body = {"candidate": f"{world.finished}:0", "folder": "base"}
    with world.client(export_folder=None) as client:
        assert client.post(f"{API}/exports", json=body).status_code == 409
    with world.client() as client:
        first = client.post(f"{API}/exports", json=body)
        assert (first.status_code, first.json()["status"]) == (202, "pending")
        assert client.post(f"{API}/exports", json=body).status_code == 409
        assert client.get(f"{API}/exports/{first.json()['id']}").json()["path"].endswith("/base")


def test_events_follow_a_search_until_it_stops(world):
    with world.client() as client:
        mine = submit(client, world).json()["search"]
    token = {"Authorization": f"Bearer {world.token('ada submit')}"}
    import httpx

    with serving(world.app()) as url:
        seen: list[str] = []

        def stop_it():
            time.sleep(1.5)
            world.store.set_status(mine, SearchStatus.CANCELLED)

        thread = threading.Thread(target=stop_it)
        thread.start()
        address = f"{url}{API}/searches/{mine}/events"
        with httpx.stream("GET", address, headers=token, timeout=30) as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            seen += [line for line in answer.iter_lines() if line]
        thread.join()
    states = [json.loads(x.removeprefix("data: "))["status"] for x in seen if "status" in x]
    assert states == ["pending", "cancelled"]
    assert seen[-2:] == ["event: end", "data: {}"]


def test_the_api_is_published(world):
    with world.client("ada read") as client:
        schema = client.get(f"{API}/openapi.json").json()
    assert schema["openapi"].startswith("3.")
    assert f"{API}/searches/{{search}}/pause" in schema["paths"]


def test_health_needs_no_token_and_tells_no_more_than_yes_or_no(world):
    world.token("ada read")
    with world.client(None) as client:
        assert client.get("/healthz").json() == {"status": "ok"}
        ready = client.get("/readyz")
        assert (ready.status_code, set(ready.json().values())) == (200, {"ok"})
        assert client.get("/metrics").status_code == 401
    with world.client("ada read") as client:
        client.get(f"{API}/me")
        text = client.get("/metrics").text
        assert 'evomerge_http_request_seconds_count{method="GET",route="/api/v1/me"' in text


def test_a_real_search_goes_from_file_to_export_over_http(world):
    """The whole way: queue, controller, results, and a merged model on the server's disk."""
    with world.client("ada submit", schedule=True) as client:
        mine = submit(client, world).json()["search"]
        deadline = time.monotonic() + 120
        while client.get(f"{API}/searches/{mine}").json()["status"] != "finished":
            assert time.monotonic() < deadline
            time.sleep(0.2)
        best = client.get(f"{API}/best", params={"search": mine, "limit": 1}).json()[0]
        body = {"candidate": str(best["candidate"]), "folder": "winner"}
        export = client.post(f"{API}/exports", json=body).json()["id"]
        while (found := client.get(f"{API}/exports/{export}").json())["status"] != "done":
            assert found["status"] != "failed", found["error"]
            assert time.monotonic() < deadline
            time.sleep(0.2)
        logs = [line["message"] for line in client.get(f"{API}/searches/{mine}/logs").json()]
    assert (world.folder / "exports" / "winner" / "model.safetensors").is_file()
    assert "search began" in logs
