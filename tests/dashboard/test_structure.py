"""What holds of every page, whoever looks: by eye, by ear, by keyboard, with a strict policy."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest

from tests.dashboard.markup import CONTROLS, read
from tests.dashboard.pictures import pages

NAMES = [
    *("searches", "workers", "errors"),
    *("waiting", "failed", "paused", "finished", "front", "running"),
    *("candidates", "search_errors", "search_file", "candidate", "baseline", "compare", "nothing"),
]


@pytest.fixture(scope="module")
def documents(world, client):
    """Every page once, by name."""
    found = {}
    for name, path in pages(*world):
        answer = client.get(path)
        assert answer.status_code == 200, name
        found[name] = answer.text
    assert sorted(found) == sorted(NAMES)
    return found


@pytest.fixture(params=NAMES)
def html(request, documents):
    return documents[request.param]


@pytest.fixture
def page(html):
    return read(html)


def test_it_says_its_language_and_title_and_fits_a_phone(page):
    (root,) = page.all("html")
    assert root.attributes["lang"] == "en"
    (title,) = page.all("head")[0].all("title")
    assert re.fullmatch(r"\S.* · evomerge", title.text)
    (viewport,) = [m for m in page.all("meta") if m.attributes.get("name") == "viewport"]
    assert "width=device-width" in viewport.attributes["content"]
    assert "maximum-scale" not in viewport.attributes["content"]


def test_titles_tell_pages_apart(documents):
    titles = [read(html).all("title")[0].text for html in documents.values()]
    # "nothing" is the list of searches once more.
    assert len(set(titles)) == len(titles) - 1


def test_headings_begin_with_one_and_skip_no_level(page):
    levels = [int(element.tag[1]) for element in page.all("h1", "h2", "h3", "h4")]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_landmarks_are_there_and_the_first_link_leads_to_the_content(page):
    assert len(page.all("main")) == len(page.all("header")) == 1
    navigations = [nav.attributes["aria-label"] for nav in page.all("nav")]
    assert "Main" in navigations
    assert len(navigations) == len(set(navigations))
    first = page.all("a", "button", "input", "select")[0]
    (main,) = page.all("main")
    assert first.attributes["href"] == f"#{main.attributes['id']}"


def test_ids_are_unique_and_what_refers_to_them_finds_them(page):
    ids = [e.attributes["id"] for e in page.walk() if "id" in e.attributes]
    assert len(ids) == len(set(ids))
    for element in page.walk():
        for name in ("aria-labelledby", "aria-describedby", "for", "data-copy"):
            for target in element.attributes.get(name, "").split():
                assert target in ids, target


def test_tables_have_a_name_and_heads_with_a_scope(page):
    for table in page.all("table"):
        labelled = table.parent is not None and "aria-labelledby" in table.parent.attributes
        assert table.all("caption") or labelled
        assert table.all("th")
        assert all(head.attributes.get("scope") in ("row", "col") for head in table.all("th"))
        for row in table.all("tbody")[0].all("tr"):
            assert len(row.all("th")) == 1


def test_drawings_have_words_or_are_hidden_from_those_who_listen(page):
    for drawing in page.all("svg"):
        hidden = drawing.attributes.get("aria-hidden") == "true"
        spoken = drawing.attributes.get("role") == "img" and drawing.attributes.get("aria-label")
        assert hidden or spoken


def test_controls_have_labels_and_buttons_say_what_they_do(page):
    labels = {label.attributes["for"] for label in page.all("label")}
    for control in page.all(*CONTROLS):
        if control.attributes.get("type") != "hidden":
            assert control.attributes.get("id") in labels or control.attributes.get("aria-label")
    for button in page.all("button"):
        assert button.text
        assert button.attributes["type"] in ("submit", "button")
    for link in page.all("a"):
        assert link.text, link.attributes
    for bar in page.all("progress"):
        assert bar.attributes["aria-label"]


def test_what_scrolls_can_be_reached_by_the_keyboard(page):
    for element in page.walk():
        if "scroll" in element.attributes.get("class", "").split() or element.tag == "pre":
            assert element.attributes["tabindex"] == "0"
            assert element.attributes.get("aria-label") or element.attributes.get("aria-labelledby")
        assert element.attributes.get("tabindex", "0") in ("0", "-1")


def test_nothing_is_said_by_colour_alone(page):
    for element in page.walk():
        if "chip" in element.attributes.get("class", "").split():
            assert element.text
            assert element.all("svg")


def test_there_is_no_script_style_or_handler_inside_and_nothing_from_elsewhere(page):
    for element in page.walk():
        assert element.tag not in ("style", "iframe", "object", "embed", "base")
        assert not {name for name in element.attributes if name.startswith("on") or name == "style"}
        for name in ("href", "src", "action", "data-live"):
            target = element.attributes.get(name, "/")
            assert target.startswith(("/", "#")), target
            assert not target.startswith("//")
    for script in page.all("script"):
        assert script.attributes["src"].startswith("/static/")
        assert not "".join(script.texts).strip()


def test_every_link_leads_somewhere(world, client, documents):
    seen = set()
    for html in documents.values():
        for element in read(html).all("a", "link", "script"):
            target = element.attributes.get("href") or element.attributes.get("src") or "/"
            seen.add(target.partition("#")[0] or "/")
    # Candidates are many and of one kind.
    many = [path for path in seen if re.search(r"/candidates/\d+$", path)]
    for path in sorted((seen - set(many)) | set(sorted(many)[:12])):
        assert client.get(path).status_code == 200, path


def test_forms_that_change_something_are_posted_with_a_token(page):
    for form in page.all("form"):
        if form.attributes["method"] == "post":
            hidden = {i.attributes["name"]: i.attributes["value"] for i in form.all("input")}
            assert len(hidden["csrf_token"]) > 20
        else:
            assert form.attributes["method"] == "get"
            assert "csrf_token" not in form.text


def test_the_policy_forbids_what_the_pages_do_not_need(client):
    policy = client.get("/").headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
