"""Pages of a list, and addresses that keep what was chosen."""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

LAST_PAGE = 1_000_000


@dataclass(frozen=True)
class Pager:
    """Page `page` from 1 of `total` rows, `size` a page."""

    page: int
    size: int
    total: int

    @property
    def pages(self) -> int:
        return max(1, -(-self.total // self.size))

    @property
    def first(self) -> int:
        """The first row of the page, counted from 1; 0 where there is none."""
        return min(self.total, self.size * (self.page - 1) + 1)

    @property
    def last(self) -> int:
        return min(self.total, self.size * self.page)

    @property
    def before(self) -> int | None:
        return self.page - 1 if self.page > 1 else None

    @property
    def after(self) -> int | None:
        return self.page + 1 if self.page < self.pages else None


def with_query(path: str, chosen: Mapping[str, object]) -> str:
    """An address with what was chosen; what is empty is left out."""
    kept = {key: str(value) for key, value in chosen.items() if value not in (None, "")}
    return f"{path}?{urlencode(kept)}" if kept else path
