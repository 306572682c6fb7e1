"""The pages in headless Chromium: what only a browser can tell. Skipped where there is none."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from evomerge.store import make_owner, open_store
from evomerge.store.types import SearchStatus
from evomerge.testing.store_conformance.samples import make_candidate, make_result
from tests.dashboard.browser import Browser, find_chromium
from tests.dashboard.pictures import pages
from tests.dashboard.serving import served

PROGRAM = find_chromium()
pytestmark = pytest.mark.skipif(PROGRAM is None, reason="there is no Chromium on this machine")


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    assert PROGRAM is not None
    with Browser(PROGRAM, tmp_path_factory.mktemp("chromium")) as found:
        yield found


@pytest.fixture(scope="module")
def address(world):
    with served(world[0].url) as found:
        yield found


@pytest.fixture(autouse=True)
def plain(browser):
    """Each test begins on a desk, in light, with scripts, and without complaints."""
    browser.scripts(allowed=True)
    browser.look()
    browser.events.clear()


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [360, 1280])
def test_no_page_is_wider_than_the_screen_or_breaks_the_policy(
    browser, world, address, width, dark
):
    browser.look(width=width, dark=dark)
    for name, path in pages(*world):
        browser.open(address + path)
        wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert browser.run(wide) == 0, name
    assert browser.complaints() == []
    assert all(url.startswith(address) for url in browser.requested())


def test_light_and_dark_are_those_of_the_reader(browser, address):
    colours = []
    for dark in (False, True):
        browser.look(dark=dark)
        browser.open(address + "/")
        colours.append(browser.run("getComputedStyle(document.body).backgroundColor"))
    light, dark = (sum(map(int, c[4:-1].split(","))) for c in colours)
    assert light > 600
    assert dark < 150


def test_a_phone_gets_charts_of_its_own_width(browser, world, address):
    shown = "[...document.querySelectorAll('.card .chart')].filter(e => e.getClientRects().length)"
    for width in (360, 1280):
        browser.look(width=width)
        browser.open(f"{address}/searches/{world[1]['finished']}")
        sizes = browser.run(
            f"{shown}.map(e => e.viewBox.baseVal.width / e.getBoundingClientRect().width)"
        )
        assert sizes
        assert all(0.8 < size < 1.25 for size in sizes)  # letters keep about their size


def test_the_keyboard_reaches_everything_and_sees_where_it_is(browser, world, address):
    browser.open(f"{address}/searches/{world[1]['running']}/candidates")
    browser.press("Tab", 9)
    assert browser.run("document.activeElement.className") == "skip"
    assert browser.run("document.activeElement.getBoundingClientRect().top") >= 0
    browser.press("Enter", 13, text="\r")
    assert browser.run("location.hash") == "#main"
    reachable = browser.run(
        "document.querySelectorAll('main a[href], main button, main input:not([type=hidden]), "
        'main select, main summary, main [tabindex="0"]\').length'
    )
    seen = 0
    for _ in range(reachable + 3):
        browser.press("Tab", 9)
        if browser.run("document.activeElement.closest('main') === null"):
            break
        seen += 1
        assert browser.run("document.activeElement.matches(':focus-visible')")
        style = browser.run("getComputedStyle(document.activeElement).outlineStyle")
        assert style != "none"
    assert seen == reachable


def test_a_search_is_opened_and_two_candidates_compared_by_keyboard_alone(browser, world, address):
    finished = world[1]["finished"]
    browser.open(f"{address}/searches/{finished}/candidates?show=baselines")
    for place in (0, 1):
        browser.run(f"document.querySelectorAll('input[type=checkbox]')[{place}].focus()")
        browser.press(" ", 32, text=" ")
    browser.run("document.querySelector('.under button').focus()")
    seen = len(browser.events)
    browser.press("Enter", 13, text="\r")
    browser.wait_for_event("Page.loadEventFired", seen)
    assert browser.run("document.querySelector('h1').textContent") == "Compare"


def test_copy_puts_the_recipe_into_the_clipboard(browser, world, address):
    store, ids = world
    best = store.progress(ids["finished"]).best
    permissions = ["clipboardReadWrite", "clipboardSanitizedWrite"]
    browser.call("Browser.grantPermissions", permissions=permissions, origin=address)
    browser.open(f"{address}/searches/{ids['finished']}/candidates/{best.number}")
    assert browser.run("document.querySelector('[data-copy]').hidden") is False
    browser.run("document.querySelector('[data-copy]').click()")
    browser.wait_until("document.querySelector('[data-copy]').textContent === 'Copied'")
    copied = browser.run("navigator.clipboard.readText()")
    assert copied == browser.run("document.querySelector('pre').textContent")


def test_every_page_works_without_its_script(browser, world, address):
    _, ids = world
    browser.scripts(allowed=False)
    for path in ("/", f"/searches/{ids['running']}", f"/searches/{ids['finished']}/candidates/7"):
        browser.open(address + path)
        hidden = browser.call("DOM.getDocument", depth=-1)
        assert "evomerge" in str(hidden)
    # A button that only a script can answer is not shown.
    browser.call("DOM.enable")
    root = browser.call("DOM.getDocument")["root"]["nodeId"]
    button = browser.call("DOM.querySelector", nodeId=root, selector="[data-copy]")["nodeId"]
    with pytest.raises(RuntimeError, match="box model"):
        browser.call("DOM.getBoxModel", nodeId=button)


def test_a_running_search_is_kept_fresh_until_it_ends(browser, tmp_path):
    from tests.dashboard.worlds import waiting_search

    store = open_store(tmp_path / "s.db")
    search = waiting_search(store, tmp_path / "models")
    store.set_status(search, SearchStatus.RUNNING)
    with served(store.url) as address:
        browser.open(f"{address}/searches/{search}")
        assert "nothing scored yet" in browser.run("document.body.textContent")
        owner = make_owner()
        store.acquire_lease(search, owner, 60)
        store.add_candidates(search, owner, [make_candidate(0)])
        (evaluation,) = store.evaluations(search)
        store.begin_attempt(evaluation.id, "w")
        working = "document.querySelectorAll('.tiles .big')[3]?.textContent.trim().startsWith('1 ')"
        browser.wait_until(working)
        store.finish_attempt(evaluation.id, 1, make_result(0.5))
        browser.wait_until(
            "document.querySelectorAll('.tiles .big')[3]?.textContent.trim().startsWith('0 ')"
        )
        store.set_status(search, SearchStatus.FINISHED)
        browser.wait_until("document.querySelector('[data-live]') === null")
        browser.wait_until("document.querySelector('h1 + .chip')?.textContent === 'finished'")
    assert browser.complaints() == []
    store.close()


def test_no_page_moves_for_those_who_want_it_still(browser, world, address):
    browser.look(still=True)
    browser.open(f"{address}/searches/{world[1]['running']}")
    moving = "[...document.querySelectorAll('*')].filter(e => getComputedStyle(e).animationName !== 'none')"
    assert browser.run(f"{moving}.length") == 0


def _axe() -> Path | None:
    """axe-core's script: EVOMERGE_TEST_AXE names it, or npm has installed it for all."""
    given = os.environ.get("EVOMERGE_TEST_AXE")
    npm = shutil.which("npm")
    usual = Path(npm).resolve().parents[2] / "axe-core" / "axe.min.js" if npm else None
    return Path(given) if given else usual if usual and usual.is_file() else None


@pytest.mark.skipif(_axe() is None, reason="axe-core is not there: npm install --global axe-core")
@pytest.mark.parametrize(("width", "dark"), [(1280, False), (360, True), (1280, True)])
def test_axe_finds_nothing_to_complain_about(browser, world, address, width, dark):
    script = _axe()
    assert script is not None
    browser.look(width=width, dark=dark)
    for name, path in pages(*world):
        browser.open(address + path)
        browser.run("document.querySelectorAll('details').forEach(d => d.open = true)")
        browser.run(script.read_text(encoding="utf-8") + ";0")
        found = browser.run(
            "axe.run().then(r => r.violations.map(v => [v.id, v.nodes.map(n => n.html)]))"
        )
        assert found == [], name
