"""Questions to the store: the best candidates, and the files of `db/queries`."""

import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Row, Select, case, exists, func, literal, select, text
from sqlalchemy.orm import aliased

from evomerge.errors import NotFoundError, did_you_mean
from evomerge.fitness import Split
from evomerge.recipe import Recipe
from evomerge.resources import resource_folder
from evomerge.store.evaluations import Root
from evomerge.store.schema import Candidate, Evaluation, Score, Search
from evomerge.store.searches import find_search, parse_spec
from evomerge.store.time_limit import time_limit
from evomerge.store.transactions import Transactions, reads
from evomerge.store.types import BestRow, Origin, QueryInfo

_PARAMETER = re.compile(r"(?<![:\w]):([a-z_]+)\b")


class Questions(Transactions):
    """What people ask a store; nothing here changes it."""

    @reads
    def best(
        self,
        db: Connection,
        *,
        search_id: str | None = None,
        base_model: str | None = None,
        task: str | None = None,
        split: Split | None = None,
        limit: int = 10,
    ) -> list[BestRow]:
        """Best candidates first, each recipe of a search once; feasible before infeasible."""
        conditions = [Evaluation.split == Split(split or Split.SEARCH).value]
        if search_id is not None:
            conditions.append(Search.id == find_search(db, search_id))
        if base_model is not None:
            conditions.append(Search.base_model == base_model)
        ranked = _by_fitness() if task is None else _by_task(db, task)
        ids = list(db.scalars(ranked.where(*conditions).limit(limit)))
        found = {row.id: row for row in db.execute(_details().where(Evaluation.id.in_(ids)))}
        rows = [found[key] for key in ids]
        if not rows:
            _check_known(db, "base model", Search.base_model, base_model)
            _check_known(db, "task", Score.task, task)
        scores = _headlines(db, [row.root for row in rows])
        return [_best_row(row, scores.get(row.root, {})) for row in rows]

    @reads
    def query(
        self,
        db: Connection,
        name: str,
        parameters: Mapping[str, Any],
        *,
        seconds: float | None = None,
        most: int | None = None,
    ) -> tuple[list[str], list[tuple[Any, ...]]]:
        """Run `db/queries/NAME.sql`; columns and rows. Parameters not given are NULL.

        Args:
            seconds: how long it may take; ResourceError beyond. most: rows.
        """
        info, statement = load_query(name)
        for given in parameters:
            if given not in info.parameters:
                known = did_you_mean(given, info.parameters) if info.parameters else "it takes none"
                raise NotFoundError(f"query {name} has no parameter {given!r}", remedy=known)
        values = {**dict.fromkeys(info.parameters), **parameters}
        if values.get("search") is not None:
            values["search"] = find_search(db, str(values["search"]))
        with time_limit(db, seconds):
            result = db.execute(text(statement), values)
            rows = result.fetchall() if most is None else result.fetchmany(most)
            return list(result.keys()), [tuple(row) for row in rows]

    def queries(self) -> list[QueryInfo]:
        """The queries there are, by name."""
        return [load_query(path.stem)[0] for path in sorted(_folder().glob("*.sql"))]


def _folder() -> Path:
    return resource_folder("db") / "queries"


@cache
def load_query(name: str) -> tuple[QueryInfo, str]:
    """The query `db/queries/NAME.sql`, what its leading comment says, and its text."""
    known = [path.stem for path in _folder().glob("*.sql")]
    if name not in known:
        raise NotFoundError(f"no query {name!r}", remedy=did_you_mean(name, known))
    statement = (_folder() / f"{name}.sql").read_text(encoding="utf-8")
    lines = statement.splitlines()
    comment = [line.removeprefix("--").strip() for line in lines if line.startswith("--")]
    body = "\n".join(line for line in lines if not line.startswith("--"))
    parameters = tuple(dict.fromkeys(_PARAMETER.findall(body)))
    return QueryInfo(name, comment[0] if comment else name, parameters), body


def _ids() -> Select[int]:
    """Evaluations that have a fitness, without a recipe's second candidate in the same search.

    Recipes and labels are read afterwards: where thousands share a fitness, all of them are sorted.
    """
    first, own = aliased(Candidate), Candidate
    repeated = exists().where(
        first.search_id == own.search_id,
        first.recipe_id == own.recipe_id,
        first.number + 0 < own.number,  # along the index of recipes: the one of numbers is long
    )
    return (
        select(Evaluation.id)
        .join(own, own.id == Evaluation.candidate_id)
        .join(Search, Search.id == Evaluation.search_id)
        .where(Evaluation.fitness.is_not(None), ~repeated)
    )


def _details() -> Select[*tuple[Any, ...]]:
    own = Candidate
    return (
        select(
            *(Evaluation.id, Search.id.label("search_id"), Search.name.label("search_name")),
            *(own.id.label("candidate_id"), own.number, own.origin, own.label, own.recipe),
            *(Evaluation.split, Evaluation.fitness, Evaluation.fitness_stderr),
            *(Evaluation.violation, Root.id.label("root")),
        )
        .select_from(Evaluation)
        .join(own, own.id == Evaluation.candidate_id)
        .join(Search, Search.id == Evaluation.search_id)
        .join(Root, Root.id == func.coalesce(Evaluation.copied_from, Evaluation.id))
    )


def _by_fitness() -> Select[int]:
    return _ids().order_by(
        Evaluation.violation, Evaluation.fitness.desc(), Evaluation.created_at, Evaluation.id
    )


def _by_task(db: Connection, task: str) -> Select[int]:
    """By a task's headline score, in the direction that each search's objective gives it."""
    downwards = _searches_that_minimise(db, task)
    better = case((Search.id.in_(downwards), -Score.value), else_=Score.value)
    return (
        _ids()
        .join(Root, Root.id == func.coalesce(Evaluation.copied_from, Evaluation.id))
        .join(Score, Score.evaluation_id == Root.id)
        # Each evaluation's own scores: those of the task have an index too, and are everybody's.
        .where(Score.task == task, func.coalesce(Score.headline, False), Score.value.is_not(None))
        .order_by(better.desc(), Evaluation.created_at, Evaluation.id)
    )


def _searches_that_minimise(db: Connection, task: str) -> Sequence[str]:
    rows = db.execute(select(Search.id, Search.spec).where(Search.spec.contains(literal('"min"'))))
    return [
        row.id
        for row in rows
        for objective in parse_spec(row).objective.tasks
        if (objective.task, objective.direction) == (task, "min")
    ]


def _check_known(db: Connection, what: str, column: Any, wanted: str | None) -> None:
    """NotFoundError where nothing stored has that name: an empty answer would hide a slip."""
    known = list(db.scalars(select(column).distinct())) if wanted is not None else []
    if wanted is not None and known and wanted not in known:
        raise NotFoundError(f"no {what} {wanted!r}", remedy=did_you_mean(wanted, known))


def _headlines(db: Connection, roots: Sequence[int]) -> dict[int, dict[str, float]]:
    query = select(Score.evaluation_id, Score.task, Score.value).where(
        Score.evaluation_id.in_(roots), Score.headline.is_(True), Score.value.is_not(None)
    )
    found: dict[int, dict[str, float]] = {}
    for row in db.execute(query.order_by(Score.position)):
        found.setdefault(row.evaluation_id, {})[row.task] = row.value
    return found


def _best_row(row: Row[*tuple[Any, ...]], scores: Mapping[str, float]) -> BestRow:
    return BestRow(
        search_id=row.search_id,
        search_name=row.search_name,
        candidate_id=row.candidate_id,
        number=row.number,
        origin=Origin(row.origin),
        label=row.label,
        recipe=Recipe.model_validate_json(row.recipe),
        split=Split(row.split),
        fitness=row.fitness,
        stderr=row.fitness_stderr,
        scores=scores,
        violation=row.violation,
    )
