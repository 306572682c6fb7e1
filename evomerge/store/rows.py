"""What an evaluation's result looks like as rows, there and back."""

import json
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection, Row, insert, select

from evomerge.fitness import Costs, TaskOutcomes, TaskScore
from evomerge.store.codec import pack
from evomerge.store.schema import Outcome, Score


def add_scores(db: Connection, evaluation_id: int, scores: Sequence[TaskScore]) -> None:
    rows = [
        {
            "evaluation_id": evaluation_id,
            "position": position,
            "task": score.task,
            "metric": score.metric,
            "value": _number(score.value),
            "stderr": _number(score.stderr),
            "n": int(score.n),
            "headline": bool(score.headline),
        }
        for position, score in enumerate(scores)
    ]
    if rows:
        db.execute(insert(Score), rows)


def add_outcomes(db: Connection, evaluation_id: int, outcomes: Sequence[TaskOutcomes]) -> None:
    rows = [
        {
            "evaluation_id": evaluation_id,
            "position": position,
            "task": outcome.task,
            "documents": len(outcome.doc_ids),
            "data": pack(outcome),
        }
        for position, outcome in enumerate(outcomes)
    ]
    if rows:
        db.execute(insert(Outcome), rows)


def _number(value: float | None) -> float | None:
    """NaN as NULL: SQLite has no NaN, and PostgreSQL would sort it first."""
    return None if value is None or math.isnan(value) else float(value)


def cost_columns(costs: Costs) -> dict[str, Any]:
    seconds = {name: float(value) for name, value in asdict(costs).items() if name != "tokens"}
    return {**seconds, "tokens": int(costs.tokens)}


def scores_to_json(scores: Sequence[TaskScore]) -> str:
    rows = [
        {**asdict(score), "value": _number(score.value), "stderr": _number(score.stderr)}
        for score in scores
    ]
    return json.dumps(rows, separators=(",", ":"), default=int)


def scores_from_json(text: str | None) -> tuple[TaskScore, ...]:
    rows = json.loads(text) if text else ()
    return tuple(
        TaskScore(**{**row, "value": math.nan if row["value"] is None else row["value"]})
        for row in rows
    )


def scores_where(db: Connection, condition: Any) -> defaultdict[int, list[TaskScore]]:
    found: defaultdict[int, list[TaskScore]] = defaultdict(list)
    for row in db.execute(select(Score.__table__).where(condition).order_by(Score.position)):
        value = math.nan if row.value is None else row.value
        score = TaskScore(row.task, row.metric, value, row.stderr, row.n, row.headline)
        found[row.evaluation_id].append(score)
    return found


def costs_of(row: Row[*tuple[Any, ...]]) -> Costs | None:
    if row.tokens is None:
        return None
    return Costs(
        merge_seconds=row.merge_seconds,
        load_seconds=row.load_seconds,
        forward_seconds=row.forward_seconds,
        overhead_seconds=row.overhead_seconds,
        tokens=row.tokens,
    )
