"""From what the store says to what goes over the wire."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from evomerge.api.context import Context
from evomerge.merging.mergekit_yaml import dump_recipe
from evomerge.recipe import to_config
from evomerge.results.status import describe
from evomerge.store import SQLStore
from evomerge.store.access import ExportRecord, OwnerRecord, Place, TokenRecord
from evomerge.store.pages import Job, Mishap, SearchRow
from evomerge.store.types import BestRow, CandidateRecord, EvaluationRecord, SearchRecord
from evomerge.wire import (
    AttemptItem,
    BestItem,
    CandidateItem,
    CandidateState,
    ErrorItem,
    EvaluationItem,
    ExportItem,
    OwnerItem,
    OwnerLimits,
    QueuePlace,
    ScoreItem,
    SearchItem,
    SearchState,
    TokenItem,
    WorkerItem,
)

_REMEDY = "\n  → "


def search_item(row: SearchRow) -> SearchItem:
    """A line of a list."""
    search = row.search
    return SearchItem(
        id=search.id,
        name=search.name,
        status=search.status,
        message=search.message,
        owner=row.owner,
        priority=row.priority,
        models=len(search.spec.models),
        budget=search.spec.budget.candidates,
        created=search.created_at,
        updated=search.updated_at,
    )


def search_state(here: Context, search: SearchRecord) -> SearchState:
    """All of it."""
    place = here.store.place(search.id)
    queue = None if place is None else _queue_place(place)
    return SearchState(**describe(here.store, search), queue=queue)


def _queue_place(place: Place) -> QueuePlace:
    return QueuePlace(
        owner=place.owner,
        priority=place.priority,
        wanted=place.wanted,
        submitted_at=place.submitted_at,
        started_at=place.started_at,
        failures=place.failures,
        workers=place.workers,
    )


def best_item(row: BestRow) -> BestItem:
    """One of the best."""
    return BestItem(
        candidate=row.candidate_id,
        search=row.search_id,
        search_name=row.search_name,
        number=row.number,
        origin=row.origin,
        label=row.label,
        split=row.split,
        fitness=row.fitness,
        stderr=row.stderr,
        scores=dict(row.scores),
        recipe=to_config(row.recipe),
        yaml=dump_recipe(row.recipe),
    )


def candidate_item(candidate: CandidateRecord, evaluation: EvaluationRecord) -> CandidateItem:
    """A line of a list."""
    return CandidateItem(
        id=candidate.id,
        number=candidate.number,
        origin=candidate.origin,
        label=candidate.label,
        generation=candidate.generation,
        recipe_id=candidate.recipe_id,
        status=evaluation.status,
        fitness=evaluation.fitness,
        stderr=evaluation.fitness_stderr,
        violation=evaluation.violation,
        scores={task: score.value for task, score in evaluation.headlines.items()},
        attempts=evaluation.attempts,
        error=evaluation.error,
    )


def candidate_state(store: SQLStore, candidate: CandidateRecord) -> CandidateState:
    """All about one."""
    return CandidateState(
        id=candidate.id,
        search=candidate.search_id,
        number=candidate.number,
        origin=candidate.origin,
        label=candidate.label,
        generation=candidate.generation,
        recipe_id=candidate.recipe_id,
        recipe=to_config(candidate.recipe),
        yaml=dump_recipe(candidate.recipe),
        evaluations=[_evaluation(store, e) for e in store.evaluations_of(candidate.id)],
    )


def _evaluation(store: SQLStore, evaluation: EvaluationRecord) -> EvaluationItem:
    return EvaluationItem(
        split=evaluation.split,
        status=evaluation.status,
        fitness=evaluation.fitness,
        stderr=evaluation.fitness_stderr,
        violation=evaluation.violation,
        scores=[ScoreItem(**asdict(score)) for score in evaluation.scores],
        costs=None if evaluation.costs is None else asdict(evaluation.costs),
        attempts=[
            AttemptItem(
                number=attempt.number,
                worker=attempt.worker,
                status=attempt.status,
                started_at=attempt.started_at,
                finished_at=attempt.finished_at,
                error=attempt.error,
            )
            for attempt in store.attempts(evaluation.id)
        ],
        error=evaluation.error,
    )


def error_item(mishap: Mishap) -> ErrorItem:
    """Something that went wrong; its remedy stands in the last line of our own errors."""
    message, _, remedy = (mishap.error or "").partition(_REMEDY)
    return ErrorItem(
        search=mishap.search_id,
        number=mishap.number,
        split=mishap.split,
        attempt=mishap.attempt,
        worker=mishap.worker,
        status=mishap.status,
        type=mishap.error_type,
        message=message or None,
        remedy=remedy or None,
        at=mishap.at,
    )


def worker_item(job: Job) -> WorkerItem:
    """What a worker does."""
    return WorkerItem(
        worker=job.worker,
        search=job.search_id,
        search_name=job.search_name,
        number=job.number,
        split=job.split,
        attempt=job.attempt,
        seconds=job.seconds,
    )


def export_item(here: Context, export: ExportRecord) -> ExportItem:
    """An export, and where it lies."""
    folder = here.settings.export_folder
    return ExportItem(
        id=export.id,
        search=export.search_id,
        candidate=export.candidate_id,
        owner=export.owner,
        folder=export.folder,
        path=export.folder if folder is None else str(folder.resolve() / export.folder),
        status=export.status.value,
        error=export.error,
        created_at=export.created_at,
        updated_at=export.updated_at,
    )


def token_item(token: TokenRecord) -> TokenItem:
    """A token without its secret."""
    return TokenItem(
        id=token.id,
        owner=token.owner,
        scope=token.scope.value,
        note=token.note,
        created_at=token.created_at,
        expires_at=token.expires_at,
        revoked_at=token.revoked_at,
        used_at=token.used_at,
    )


def owner_item(owner: OwnerRecord) -> OwnerItem:
    """An owner."""
    return OwnerItem(
        name=owner.name,
        weight=owner.weight,
        limits=OwnerLimits(**asdict(owner.limits)),
        used_hours=owner.used / 3600,
    )


def plain(rows: Sequence[Sequence[Any]]) -> list[list[Any]]:
    """Rows of a query as JSON knows them."""
    return [[_cell(cell) for cell in row] for row in rows]


def _cell(value: Any) -> Any:
    if isinstance(value, float):
        return value if value - value == 0 else None
    if value is None or isinstance(value, bool | int | str):
        return value
    return {str(k): v for k, v in value.items()} if isinstance(value, Mapping) else str(value)
