"""What the pages show, and what they say to those who may not, or ask for what is not there."""

from __future__ import annotations

import pytest
from ruamel.yaml import YAML

from evomerge.merging.mergekit_yaml import parse_recipe
from evomerge.spec import SearchSpec
from evomerge.store import make_owner, open_store
from evomerge.store.access import Scope
from evomerge.store.pages import SearchView
from evomerge.store.types import Origin, SearchStatus
from evomerge.testing.store_conformance.samples import hold, make_candidate, make_result, make_spec
from tests.dashboard.conftest import SETTINGS, client_of
from tests.dashboard.markup import read

_ALL = SearchView()


def text_of(answer):
    assert answer.status_code == 200, answer.text
    return read(answer.text).all("main")[0].text


def test_the_list_shows_every_search_with_status_progress_and_best(world, client):
    store, ids = world
    text = text_of(client.get("/"))
    for search in store.searches():
        assert search.name in text.replace("- ", "-")
    for word in ("running", "finished", "paused", "failed", "waiting"):
        assert word in text
    best = store.progress(ids["finished"]).best_fitness
    assert f"{best:.4f}" in text
    assert "90 of 90 candidates" in text


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("status=finished", {"finished", "front"}),
        ("q=SUPPORT", {"finished", "running"}),
        ("owner=ada", {"waiting", "paused", "failed"}),
        ("status=nonsense", {"finished", "front", "running", "waiting", "paused", "failed"}),
        ("q=%25", set()),
    ],
)
def test_the_list_is_filtered(world, client, query, shown):
    _, ids = world
    page = read(client.get(f"/?{query}").text)
    links = {a.attributes["href"] for a in page.all("a")}
    found = {name for name, key in ids.items() if f"/searches/{key}" in links}
    assert found == shown


def test_a_long_list_has_pages(tmp_path):
    store = open_store(tmp_path / "s.db")
    for number in range(45):
        store.create_search(make_spec(name=f"search {number}"), scope="s", versions={})
    client = client_of(store)
    pages = [read(client.get(f"/?page={n}").text) for n in (1, 2, 3, 4)]
    names = [h.text for page in pages for h in page.all("h2")]
    assert sorted(names) == sorted(f"search {n}" for n in range(45))
    assert "41–45 of 45 searches" in pages[2].all("main")[0].text
    links = {a.attributes.get("rel"): a.attributes["href"] for a in pages[1].all("a")}
    assert (links["prev"], links["next"]) == ("/", "/?page=3")
    store.close()


def test_names_are_text_and_never_markup(tmp_path):
    store = open_store(tmp_path / "s.db")
    name = "<script>alert(1)</script>\"'&{{7*7}}"
    search = store.create_search(make_spec(name=name), scope="s", versions={"<b>": "<i>"})
    store.set_status(search.id, SearchStatus.FAILED, message="<img src=x onerror=alert(1)>")
    client = client_of(store)
    for path in ("/", f"/searches/{search.id}", f"/searches/{search.id}/file", "/errors"):
        html = client.get(path).text
        page = read(html)
        assert "<script>alert" not in html
        assert "<img" not in html
        assert len(page.all("script")) == 1
    assert name.replace("/", "/ ") in read(client.get("/").text).all("h2")[0].text
    for query in ('q="><script>alert(1)</script>', "q={{7*7}}"):
        assert "<script>alert" not in client.get(f"/?{query}").text
        assert "49" not in read(client.get(f"/?{query}").text).all("form")[0].text
    store.close()


def test_a_search_shows_its_verdict_its_table_and_its_recipe(world, client):
    store, ids = world
    page = read(client.get(f"/searches/{ids['finished']}").text)
    text = page.all("main")[0].text
    assert "the best trivial merge" in text
    for candidate in store.candidates(ids["finished"]):
        if candidate.origin is Origin.BASELINE and "trial" not in (candidate.label or ""):
            assert (candidate.label or "") in text
    assert [c.text for t in page.all("table") for c in t.all("caption")][-2:] == [
        "density",
        "weight by layer",
    ]
    assert "Where the time goes" in text


def test_a_search_for_an_objective_that_is_not_installed_is_shown_as_far_as_it_can_be(tmp_path):
    store = open_store(tmp_path / "s.db")
    goal = {"tasks": [{"task": "alpha"}], "custom": "not_installed_here"}
    search = hold(store, objective=goal)
    search.add(make_candidate(0), make_candidate(1))
    for evaluation in search.evaluations():
        search.score(evaluation.id, 0.5)
    client = client_of(store)
    text = text_of(client.get(f"/searches/{search.id}"))
    assert "0.5000" in text
    for path in ("/live", "/candidates", "/candidates/0", "/file"):
        assert client.get(f"/searches/{search.id}{path}").status_code == 200
    assert client.get(f"/compare?pick={search.id}:0&pick={search.id}:1").status_code == 200
    store.close()


def test_a_running_search_says_how_long_it_takes_and_refreshes_itself(world, client):
    _, ids = world
    page = read(client.get(f"/searches/{ids['running']}").text)
    (live,) = [e for e in page.walk() if "data-live" in e.attributes]
    assert live.attributes["data-live"] == f"/searches/{ids['running']}/live"
    assert "at the present pace" in live.text
    assert "16 of 16" in live.text
    assert "ahead of" in live.text
    finished = read(client.get(f"/searches/{ids['finished']}").text)
    assert not [e for e in finished.walk() if "data-live" in e.attributes]


def test_the_front_is_drawn_for_several_objectives_alone(world, client):
    _, ids = world
    for name in ("finished", "front"):
        page = read(client.get(f"/searches/{ids[name]}").text)
        drawn = [
            svg
            for svg in page.all("svg")
            if "of the front by" in svg.attributes.get("aria-label", "")
        ]
        assert bool(drawn) == (name == "front")


def test_what_did_not_change_is_not_sent_again(world, client):
    _, ids = world
    path = f"/searches/{ids['finished']}/live"
    first = client.get(path)
    assert first.headers["x-live"] == "ended"
    again = client.get(path, headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert "x-live" not in client.get(f"/searches/{ids['waiting']}/live").headers


def test_static_files_are_kept_by_browsers_as_long_as_they_are_the_same(client):
    page = read(client.get("/").text)
    href = next(e.attributes["href"] for e in page.all("link") if "style" in e.attributes["href"])
    answer = client.get(href)
    assert "immutable" in answer.headers["cache-control"]
    assert answer.headers["content-type"].startswith("text/css")
    old = client.get("/static/style.css?v=old")
    assert old.headers["cache-control"] == "no-cache"
    same = client.get("/static/style.css", headers={"If-None-Match": old.headers["etag"]})
    assert same.status_code == 304
    for name in ("nothing.css", "..%2f..%2f__init__.py", "%00"):
        assert client.get(f"/static/{name}").status_code == 404


def test_style_and_script_name_no_address(client):
    for name in ("style.css", "live.js", "icon.svg"):
        text = client.get(f"/static/{name}").text.replace("http://www.w3.org/2000/svg", "")
        assert "://" not in text
        assert "@import" not in text


def heads(page):
    return {th.text: th for th in page.all("thead")[0].all("th")}


def test_candidates_are_sorted_by_a_click_and_the_table_says_how(world, client):
    _, ids = world
    page = read(client.get(f"/searches/{ids['running']}/candidates").text)
    assert heads(page)["fitness"].attributes["aria-sort"] == "descending"
    assert "aria-sort" not in heads(page)["candidate"].attributes
    turned = heads(page)["fitness"].all("a")[0].attributes["href"]
    page = read(client.get(turned).text)
    assert heads(page)["fitness"].attributes["aria-sort"] == "ascending"
    by_task = heads(page)["alpha"].all("a")[0].attributes["href"]
    page = read(client.get(by_task).text)
    place = list(heads(page)).index("alpha")
    values = [float(row.all("td", "th")[place].text) for row in page.all("tbody")[0].all("tr")]
    assert values == sorted(values, reverse=True)
    by_number = heads(page)["candidate"].all("a")[0].attributes["href"]
    rows = read(client.get(by_number).text).all("tbody")[0].all("tr")
    assert "base" in rows[0].all("th")[0].text


def test_a_filter_survives_sorting_and_paging(world, client):
    _, ids = world
    path = f"/searches/{ids['running']}/candidates?show=dropped"
    page = read(client.get(path).text)
    for head in ("candidate", "fitness", "alpha"):
        assert "show=dropped" in heads(page)[head].all("a")[0].attributes["href"]
    following = next(a for a in page.all("a") if a.attributes.get("rel") == "next")
    second = read(client.get(following.attributes["href"]).text)
    statuses = {row.all("td")[1].text for row in second.all("tbody")[0].all("tr")}
    assert statuses == {"left early"}
    (chosen,) = [o for o in second.all("option") if "selected" in o.attributes]
    assert chosen.text == "left early"


@pytest.mark.parametrize(
    "query", ["sort=nonsense", "show=nonsense", "order=x", "sort=task:nothing"]
)
def test_a_sort_or_filter_that_is_not_there_is_the_usual_one(world, client, query):
    _, ids = world
    plain = client.get(f"/searches/{ids['running']}/candidates").text
    other = client.get(f"/searches/{ids['running']}/candidates?{query}").text
    rows = [[row.text for row in read(html).all("tbody")[0].all("tr")] for html in (plain, other)]
    assert sorted(rows[0]) == sorted(rows[1]) or query == "order=x"


def test_a_candidate_shows_scores_with_intervals_and_its_yaml_is_its_recipe(world, client):
    store, ids = world
    best = store.progress(ids["finished"]).best
    path = f"/searches/{ids['finished']}/candidates/{best.number}"
    page = read(client.get(path).text)
    assert [h.text for h in page.all("h2")][:2] == ["Test documents", "Search documents"]
    (code,) = page.all("pre")
    assert parse_recipe("".join(code.texts)) == best.recipe
    download = client.get(f"{path}/recipe.yml")
    assert parse_recipe(download.text) == best.recipe
    assert download.headers["content-disposition"].startswith("attachment")
    row = page.all("tbody")[0].all("tr")[1]
    low, high = map(float, row.all("td")[2].text.split(" to "))
    assert low < float(row.all("td")[1].text) < high


def test_a_failed_candidate_shows_its_error_and_its_remedy(world, client):
    store, ids = world
    failed = store.mishaps([ids["running"]])[0].number
    text = text_of(client.get(f"/searches/{ids['running']}/candidates/{failed}"))
    assert "the weights cancel" in text
    assert "use other weights" in text


def test_the_search_file_can_be_run_again(world, client):
    store, ids = world
    (code,) = read(client.get(f"/searches/{ids['finished']}/file").text).all("pre")
    again = SearchSpec.model_validate(YAML(typ="safe").load("".join(code.texts)))
    assert again == store.search(ids["finished"]).spec


def test_two_candidates_are_compared_knob_by_knob_and_task_by_task(world, client):
    _, ids = world
    finished = ids["finished"]
    page = read(client.get(f"/compare?pick={finished}:7&pick={finished}:0").text)
    scores, knobs = page.all("table")[:2]
    assert [row.all("th")[0].text for row in scores.all("tbody")[0].all("tr")] == [
        "fitness",
        "helpful",
        "python_ exams",
        "german",
    ]
    assert "unpaired" not in scores.text
    assert "A is higher" in scores.text
    assert "method" in knobs.text
    assert "/models/" not in knobs.text


def test_a_candidate_compared_with_itself_differs_in_nothing(world, client):
    _, ids = world
    text = text_of(client.get(f"/compare?pick={ids['finished']}:7&pick={ids['finished']}:7"))
    assert "the recipes are equal" in text
    assert "may be chance" in text


def test_candidates_of_unlike_searches_are_compared_by_their_knobs_alone(world, client):
    _, ids = world
    text = text_of(client.get(f"/compare?pick={ids['finished']}:7&pick={ids['front']}:0"))
    assert "differ in models, tasks, splits or engine" in text


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/compare", 422),
        ("/compare?pick=a:1", 422),
        ("/compare?pick=a&pick=b", 422),
        ("/compare?pick={finished}:1&pick={finished}:99999", 404),
        ("/compare?pick={finished}:1&pick=nothing:1", 404),
        ("/searches/nothing", 404),
        ("/searches/nothing/live", 404),
        ("/searches/{finished}/candidates/99999", 404),
        ("/searches/{finished}/candidates/-1", 422),
        ("/searches/{finished}/candidates/1.5", 422),
        ("/searches/{finished}/candidates?page=0", 422),
        ("/searches/{finished}/candidates?page=99999999999999999999", 422),
        ("/?page=x", 422),
    ],
)
def test_what_is_not_there_is_said_with_a_remedy(world, client, path, status):
    answer = client.get(path.format(**world[1]))
    assert answer.status_code == status
    assert "Traceback" not in answer.text
    assert len(answer.text) > 100


def test_a_page_beyond_the_last_one_is_empty_and_no_error(world, client):
    _, ids = world
    assert client.get(f"/searches/{ids['running']}/candidates?page=1000000").status_code == 200
    assert client.get("/?page=1000000").status_code == 200


def test_a_search_is_also_found_by_its_name(world, client):
    _, ids = world
    answer = client.get("/searches/night-shift", follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, f"/searches/{ids['paused']}")


def test_errors_have_remedies_by_kind_and_case(world, client):
    text = text_of(client.get("/errors"))
    assert "the chat template cannot be read" in text
    assert "mend tokenizer_config.json" in text
    assert "The recipe gives no usable weights" in text
    assert text.count("What to do") >= 2


def test_workers_show_what_each_one_does(world, client):
    store, _ = world
    page = read(client.get("/workers").text)
    for job in store.jobs():
        row = next(
            r for r in page.all("tr") if r.all("th")[0].text.replace("- ", "-") == job.worker
        )
        assert str(job.number) in row.text
        assert "support-bot" in row.text


@pytest.fixture
def shared(tmp_path):
    """A store of two owners with tokens, so that nobody passes as the local user."""
    store = open_store(tmp_path / "s.db")
    for owner in ("ada", "bob"):
        store.enqueue(make_spec(name=f"of {owner}"), scope="s", versions={}, owner=owner)
    tokens = {}
    for owner, scope in (("ada", Scope.SUBMIT), ("bob", Scope.SUBMIT), ("eve", Scope.READ)):
        store.ensure_owner(owner)
        tokens[owner], _ = store.create_token(owner, scope)
    ids = {row.owner: row.search.id for row in store.search_page(_ALL, limit=9).rows}
    yield store, tokens, ids
    store.close()


def signed_in(store, token, settings=SETTINGS):
    client = client_of(store, settings)
    answer = client.post("/login", data={"token": token}, follow_redirects=False)
    assert answer.status_code == 303
    return client


def test_without_a_session_there_is_only_the_page_for_signing_in(shared):
    store, _, ids = shared
    client = client_of(store)
    for path in ("/", "/workers", "/errors", f"/searches/{ids['ada']}", "/compare"):
        answer = client.get(path, follow_redirects=False)
        assert (answer.status_code, answer.headers["location"]) == (303, "/login")
    assert client.get("/static/style.css").status_code == 200


def test_owners_steer_their_own_searches_and_readers_none(shared):
    store, tokens, ids = shared
    ada, eve = signed_in(store, tokens["ada"]), signed_in(store, tokens["eve"])
    assert "Steer" in text_of(ada.get(f"/searches/{ids['ada']}"))
    assert "Steer" not in text_of(ada.get(f"/searches/{ids['bob']}"))
    assert "Steer" not in text_of(eve.get(f"/searches/{ids['ada']}"))
    assert "of bob" in text_of(ada.get("/"))


def test_a_private_server_shows_nobody_the_searches_of_others(shared):
    store, tokens, ids = shared
    private = SETTINGS.model_copy(update={"private": True})
    ada = signed_in(store, tokens["ada"], private)
    text = text_of(ada.get("/"))
    assert "of ada" in text
    assert "of bob" not in text
    assert "bob" not in text
    for path in ("", "/live", "/candidates", "/errors", "/file", "/candidates/0"):
        assert ada.get(f"/searches/{ids['bob']}{path}").status_code == 404
    assert "of bob" not in text_of(ada.get("/?owner=bob"))
    missing = ada.get("/searches/nothing-of-that-name")
    assert missing.status_code == 404
    assert "bob" not in missing.text
    assert ids["bob"] not in missing.text
    assert ada.get("/workers").status_code == ada.get("/errors").status_code == 200


def test_a_result_that_was_taken_over_names_its_source_to_those_who_may_know_it(shared):
    store, tokens, ids = shared
    for owner in ("bob", "ada"):
        lease = make_owner()
        store.acquire_lease(ids[owner], lease, 60)
        store.add_candidates(ids[owner], lease, [make_candidate(0)])
        (evaluation,) = store.evaluations(ids[owner])
        if owner == "bob":
            attempt = store.begin_attempt(evaluation.id, "w")
            store.finish_attempt(evaluation.id, attempt, make_result(0.5))
    path = f"/searches/{ids['ada']}/candidates/0"
    assert ids["bob"] in signed_in(store, tokens["ada"]).get(path).text
    private = SETTINGS.model_copy(update={"private": True})
    answer = signed_in(store, tokens["ada"], private).get(path)
    assert ids["bob"] not in answer.text
    assert "taken over" in text_of(answer)


def forms(client, path):
    """The forms of a page that change something, by what they do, with their hidden fields."""
    found = {}
    for form in read(client.get(path).text).all("form"):
        if form.attributes["method"] == "post":
            fields = {i.attributes["name"]: i.attributes["value"] for i in form.all("input")}
            found[form.attributes["action"].rpartition("/")[2]] = fields
    return found


def test_forms_pause_resume_change_and_cancel_a_search(shared):
    store, tokens, ids = shared
    client, path = signed_in(store, tokens["ada"]), f"/searches/{ids['ada']}"

    def send(what, **fields):
        given = {**forms(client, path)[what], **fields}
        answer = client.post(f"{path}/{what}", data=given)
        assert answer.status_code == 200, answer.text
        return read(answer.text).all("main")[0].text

    assert "The limits are changed." in send("budget", candidates="77", workers="3")
    assert store.limits(ids["ada"]).budget.candidates == 77
    assert store.limits(ids["ada"]).workers == 3
    assert "The priority is changed." in send("priority", priority="5")
    assert store.place(ids["ada"]).priority == 5
    assert "The search pauses" in send("pause")
    assert store.search(ids["ada"]).status is SearchStatus.PAUSED
    assert "goes on" in send("resume")
    assert store.place(ids["ada"]).wanted
    assert "is cancelled" in send("cancel")
    assert store.search(ids["ada"]).status is SearchStatus.CANCELLED
    assert set(forms(client, path)) == {"logout"}
    assert [line.message for line in store.log_lines(ids["ada"])][-1] == "cancelled by ada"


def test_a_form_without_its_token_or_of_somebody_else_changes_nothing(shared):
    store, tokens, ids = shared
    ada, bob = signed_in(store, tokens["ada"]), signed_in(store, tokens["bob"])
    own = forms(bob, f"/searches/{ids['bob']}")["cancel"]["csrf_token"]
    theirs = forms(ada, f"/searches/{ids['ada']}")["cancel"]["csrf_token"]
    for client, token in ((bob, ""), (bob, theirs), (bob, own), (ada, own)):
        path = f"/searches/{ids['ada']}/cancel"
        assert client.post(path, data={"csrf_token": token}).status_code == 403
    assert store.search(ids["ada"]).status is SearchStatus.PENDING
    assert ada.get(f"/searches/{ids['ada']}/cancel").status_code == 405


@pytest.mark.parametrize("fields", [{"candidates": "0"}, {"candidates": "x"}, {"workers": ""}, {}])
def test_limits_that_are_none_are_refused(shared, fields):
    store, tokens, ids = shared
    client, path = signed_in(store, tokens["ada"]), f"/searches/{ids['ada']}"
    given = {"csrf_token": forms(client, path)["budget"]["csrf_token"], **fields}
    assert client.post(f"{path}/budget", data=given).status_code == 422
    assert store.limits(ids["ada"]).budget is None
