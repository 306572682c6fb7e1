"""The first page: every search, how far it is, and how good."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from evomerge.dashboard.paging import Pager
from evomerge.dashboard.standing import Standing, read_standing
from evomerge.report.charts import spark_line
from evomerge.store import SQLStore
from evomerge.store.pages import Course, SearchView

PAGE = 20
_STRETCHES = 32


@dataclass(frozen=True)
class SearchLine:
    """One search of the list; `spark` is the course of its best."""

    standing: Standing
    spark: Markup


@dataclass(frozen=True)
class SearchList:
    """The page. owners: what may be chosen; several or none."""

    view: SearchView
    lines: tuple[SearchLine, ...]
    pager: Pager
    owners: Sequence[str]

    @property
    def filtered(self) -> bool:
        return self.view != SearchView()


def read_searches(
    store: SQLStore, view: SearchView, page: int, *, restricted_to: str | None = None
) -> SearchList:
    """A page of the list. restricted_to: the owner whose searches alone are shown."""
    asked = SearchView(view.status, restricted_to or view.owner, view.text)
    found = store.search_page(asked, limit=PAGE, offset=PAGE * (page - 1))
    lines = [_line(store, read_standing(store, row)) for row in found.rows]
    owners = [] if restricted_to else store.search_owners()
    return SearchList(view, tuple(lines), Pager(page, PAGE, found.total), owners)


def _line(store: SQLStore, standing: Standing) -> SearchLine:
    course = store.course(standing.search.id, stretches=_STRETCHES, dots=0)
    return SearchLine(standing, spark(course))


def spark(course: Course) -> Markup:
    """The course of the best as a small line."""
    points = [(dot.number, dot.fitness) for dot in course.records]
    # Drawn by us, and every text in it is escaped there.
    return Markup(spark_line(points, course.first + course.candidates - 1))
