"""A page as its elements, read without a browser: what must hold of every page is checked on these."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = {"meta", "input", "br", "wbr", "link", "hr", "img"}
SHAPES = {"path", "circle", "rect", "line"}
CONTROLS = {"input", "select", "textarea"}


@dataclass
class Element:
    """A start tag with what is inside of it."""

    tag: str
    attributes: dict[str, str]
    parent: Element | None
    children: list[Element] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)

    def walk(self) -> Iterator[Element]:
        """Itself and everything inside, in document order."""
        yield self
        for child in self.children:
            yield from child.walk()

    def all(self, *tags: str) -> list[Element]:
        """Elements of these tags, in document order."""
        return [element for element in self.walk() if element.tag in tags]

    @property
    def text(self) -> str:
        """Everything that is written inside."""
        return " ".join(" ".join(part.split()) for e in self.walk() for part in e.texts).strip()

    def inside(self, *tags: str) -> bool:
        """Whether it, or one around it, is of these tags."""
        element: Element | None = self
        while element is not None:
            if element.tag in tags:
                return True
            element = element.parent
        return False


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.root = Element("document", {}, None)
        self._open = [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"an attribute twice: {self.get_starttag_text()}"
        element = Element(tag, {name: value or "" for name, value in attrs}, self._open[-1])
        self._open[-1].children.append(element)
        if tag not in VOID:
            self._open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in SHAPES | VOID, f"<{tag}/> is no element without content"
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self._open[-1].tag == tag, f"</{tag}> closes <{self._open[-1].tag}>"
        self._open.pop()

    def handle_data(self, data: str) -> None:
        self._open[-1].texts.append(data)


def read(html: str) -> Element:
    """The document. Every element that is opened has to be closed, in its order."""
    reader = _Reader()
    reader.feed(html)
    reader.close()
    assert len(reader._open) == 1, f"<{reader._open[-1].tag}> is never closed"
    return reader.root
