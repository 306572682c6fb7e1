"""`insight`: which parameters mattered, what races saved, where the time went."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from evomerge.cli.options import FormatOption, SearchArgument, StoreOption
from evomerge.cli.output import Format, print_json, print_table, stdout

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evomerge.insight import Effect, Importance, Spending


def insight(
    search: SearchArgument,
    limit: Annotated[
        int, typer.Option("--limit", "-n", min=1, help="At most so many parameters.")
    ] = 10,
    store: StoreOption = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """Which parameters mattered, what races saved, and where the time went."""
    from evomerge.cli.stores import store_at
    from evomerge.insight import read_insight

    with store_at(store) as opened:
        found = read_insight(opened, opened.search(search))
    if format is Format.JSON:
        print_json(found)
        return
    _importance(found.importance, limit)
    _spending(found.spending)


def _importance(importance: Importance, limit: int) -> None:
    from evomerge.report.charts import share_text

    if importance.note or importance.explained is None:
        stdout().print(f"What mattered: {importance.note}", markup=False, soft_wrap=True)
        return
    stdout().print(
        f"Share of the variance of fitness among {importance.candidates} candidates; the forest "
        f"behind it predicts {share_text(importance.explained)} of it on candidates not seen",
        soft_wrap=True,
    )
    _effects("parameter", importance.features[:limit])
    for facet, effects in (importance.groups or {}).items():
        _effects(f"by {facet}", effects[:limit])
    stdout().print()


def _effects(title: str, effects: Sequence[Effect]) -> None:
    from evomerge.report.charts import share_text

    rows = [(effect.label, share_text(effect.share)) for effect in effects]
    print_table([title, "share (95 % interval)"], rows, right=["share (95 % interval)"])


def _spending(spending: Spending) -> None:
    total = sum(spending.seconds.values()) or 1.0
    rows = [
        (name, f"{spent:.1f}", f"{100 * spent / total:.1f}")
        for name, spent in spending.seconds.items()
    ]
    print_table(["worker time", "seconds", "%"], rows, right=["seconds", "%"])
    documents = spending.documents
    stdout().print(
        f"{documents.answered} of {documents.full} documents answered: races stopped "
        f"{documents.dropped} of {documents.candidates} candidates early and saved "
        f"{100 * documents.saved:.1f} %",
        soft_wrap=True,
    )
