"""A chart in two widths, so that its letters keep their size on a phone."""

from collections.abc import Callable
from dataclasses import dataclass

from markupsafe import Markup

WIDE, HALF, NARROW = 1040.0, 500.0, 336.0


@dataclass(frozen=True)
class Drawing:
    """One chart; falsy where there was nothing to draw."""

    wide: Markup
    narrow: Markup

    def __bool__(self) -> bool:
        return bool(self.wide)


def draw(make: Callable[[float], str], *, half: bool = False, wide: float = WIDE) -> Drawing:
    """Draw it for a desk and for a phone; `half` where two stand side by side on a desk."""
    # Charts are our own drawing: every text in them is escaped there.
    return Drawing(Markup(make(HALF if half else wide)), Markup(make(NARROW)))
