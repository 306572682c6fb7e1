"""The documentation as a site: every page has a place, every link an end; nothing comes from elsewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import markdown
import pytest
from markdown_it import MarkdownIt
from ruamel.yaml import YAML

from tests.dashboard.browser import Browser, find_chromium
from tests.docs.blocks import ROOT

DOCS = ROOT / "docs"
LOOKS = [(1280, False), (1280, True), (360, False), (360, True)]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as `make docs` builds it, in a folder below the one that is served."""
    folder = tmp_path_factory.mktemp("site") / "below"
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


class Page(HTMLParser):
    """Addresses and anchors of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.ids: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if name := found.get("id"):
            self.ids.add(name)
        if tag == "a" and (target := found.get("href")):
            self.links.append(target)
        elif target := found.get("src") or (found.get("href") if tag == "link" else None):
            self.loaded.append(target)


def in_navigation(entry: Any) -> list[str]:
    """Pages of a part of `nav`."""
    if isinstance(entry, str):
        return [entry]
    inner = entry.values() if isinstance(entry, dict) else entry
    return [page for part in inner for page in in_navigation(part)]


def test_every_page_has_one_place_in_the_navigation() -> None:
    placed = Counter(in_navigation(YAML(typ="safe").load(ROOT / "mkdocs.yml")["nav"]))
    pages = {str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")}
    assert pages - placed.keys() == set(), "give these pages a place under `nav:` in mkdocs.yml"
    assert placed.keys() - pages == set(), "these stand under `nav:` in mkdocs.yml and are no pages"
    assert [page for page, times in placed.items() if times > 1] == []


def test_every_link_and_every_anchor_of_the_site_is_there(site: Path) -> None:
    pages = {file: Page(file.read_text(encoding="utf-8")) for file in site.rglob("*.html")}
    broken = []
    for file, page in pages.items():
        if file.name == "404.html":
            continue  # served at any depth, so its addresses begin at the server's root
        for target in [*page.links, *page.loaded]:
            if re.match(r"https?:|mailto:", target):
                continue
            path, _, anchor = target.partition("#")
            goal = (file.parent / path).resolve() if path else file
            if not goal.exists() or (anchor and goal in pages and anchor not in pages[goal].ids):
                broken.append(f"{file.name} → {target}")
    assert len(pages) > 30
    assert broken == []


def test_pages_load_nothing_from_elsewhere(site: Path) -> None:
    for file in site.rglob("*.html"):
        loaded = Page(file.read_text(encoding="utf-8")).loaded
        assert [target for target in loaded if re.match(r"\w+:|//", target)] == [], file.name
    for file in [*site.rglob("*.css"), *site.glob("*.js")]:
        text = file.read_text(encoding="utf-8")
        assert re.findall(r"url\(|@import|fetch\(|https?://", text) == [], file.name


@pytest.mark.parametrize("page", sorted(DOCS.rglob("*.md")), ids=lambda page: page.name)
def test_a_page_has_the_same_structure_on_the_site_and_elsewhere(page: Path) -> None:
    """Lists, tables and blocks that CommonMark sees, as other viewers do, are those of the site."""
    text = page.read_text(encoding="utf-8")
    extensions = ["tables", "fenced_code", "sane_lists"]
    here = markdown.markdown(text, extensions=extensions)
    there = MarkdownIt("commonmark", {"html": True}).enable("table").render(text)
    assert parts(here) == parts(there)


def parts(html: str) -> Counter[str]:
    return Counter(re.findall(r"<(ul|ol|li|pre|table|h\d|img|blockquote|a)\b", html))


@pytest.mark.skipif(find_chromium() is None, reason="no Chromium on this machine")
def test_the_site_opens_from_a_folder_and_finds_words_on_every_screen(
    site: Path, tmp_path: Path
) -> None:
    program = find_chromium()
    assert program is not None
    with Browser(program, tmp_path / "profile") as browser:
        for width, dark in LOOKS:
            browser.look(width=width, dark=dark)
            for name in (
                "index.html",
                "methods.html",
                "cli.html",
                "decisions/0004-merge-kernels-in-c.html",
            ):
                browser.open((site / name).as_uri())
                assert browser.run("document.documentElement.scrollWidth") <= width, (name, width)
        browser.run(
            "query.value = 'placement group'; query.dispatchEvent(new Event('input', {bubbles: true}))"
        )
        assert "cluster.html" in browser.run("results.querySelector('a').href")
        assert browser.complaints() == []
        assert all(url.startswith("file:") for url in browser.requested())
