"""Every fenced block of README.md and docs/, with where it stands and what its page says about it.

A block says its language after the fence. One that cannot be checked has a comment of its own on the
line before it, with the reason:

    <!-- unchecked: printed by a GPU that nobody here has -->

Indented blocks and fences without a language are found as well, so that tests can refuse them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[2]
_MARK = re.compile(r"<!-- unchecked: (?P<reason>.+?) -->")


@dataclass(frozen=True)
class Block:
    """One block: its page and line, its language, its text, and why it is not checked (None: it is)."""

    page: Path
    line: int
    language: str
    text: str
    unchecked: str | None

    @property
    def where(self) -> str:
        """`docs/page.md:12`."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def pages() -> list[Path]:
    """README.md, CHANGELOG.md and every page below docs/, the examples' among them."""
    own = [ROOT / "README.md", ROOT / "CHANGELOG.md", *ROOT.glob("examples/**/*.md")]
    return [page for page in own if page.exists()] + sorted((ROOT / "docs").rglob("*.md"))


def blocks(language: str | None = None) -> list[Block]:
    """All of them, or those in one language."""
    found = [block for page in pages() for block in blocks_of(page)]
    return [block for block in found if language in (None, block.language)]


def blocks_of(page: Path) -> Iterator[Block]:
    """Those of one page, in order."""
    tokens = MarkdownIt().enable("table").parse(page.read_text(encoding="utf-8"))
    comment = ""
    for token in tokens:
        if token.type in ("fence", "code_block"):
            assert token.map is not None
            mark = _MARK.search(comment)
            language = token.info.strip().split(" ")[0] if token.type == "fence" else ""
            yield Block(
                page, token.map[0] + 1, language, token.content, mark["reason"] if mark else None
            )
        comment = token.content if token.type == "html_block" else ""


def inline_commands() -> Iterator[tuple[str, str]]:
    """`evomerge …` within sentences: where, and the command line."""
    for page in pages():
        for token in MarkdownIt().enable("table").parse(page.read_text(encoding="utf-8")):
            for child in token.children or ():
                if child.type == "code_inline" and child.content.startswith("evomerge "):
                    line = token.map[0] + 1 if token.map else 0
                    yield f"{page.relative_to(ROOT)}:{line}", child.content
