"""The tables of the store, the same on SQLite and PostgreSQL.

searches ──< candidates ──< evaluations (candidate × split) ──< attempts
   │                    │              │ └─< task_scores, outcomes (of the attempt that decided)
   │                    │              ├── copied_from: another evaluation of the same recipe
   └── limits           └── asks       └── races: against which evaluation, and whether it lost

owners ──< tokens (a session is a token of a browser, with the token it came from as its parent)
   └────< queue (one row a search that waits for a server, or waited) ; exports ; events of a search

What may never happen twice is a constraint here and no care taken elsewhere: a number or a told
place within a search, a split of a candidate, an attempt, a second running or deciding attempt, and
a recipe scored twice on a split of one search. An evaluation with `copied_from` has no status of
its own: its result, good or bad, is that of the evaluation it follows, now and later. One that lost
its race is scored, on part of the documents: its fitness is an estimate and stands in `races`, so that
whoever asks for fitness gets that of whole splits alone.

Times are seconds since 1970 UTC by the database's own clock, so that one query file serves both
databases. NaN is stored as NULL, as SQLite has none. `db/migrations` makes these tables; a test
holds both together.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from evomerge.fitness import Split
from evomerge.store.access import ExportStatus, Scope
from evomerge.store.columns import Timestamp
from evomerge.store.types import EvaluationStatus, Origin, SearchStatus

NAMING = {
    "pk": "pk_%(table_name)s",
    "fk": "fk_%(table_name)s_%(referred_table_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
}
VERSION_TABLE = "evomerge_version"
REVISIONS = ("0001", "0002", "0003", "0004")
"""Revisions of `db/migrations`, oldest first; the last one is what this version reads and writes."""

Key = BigInteger().with_variant(Integer, "sqlite")


def _one_of(column: str, values: Any) -> CheckConstraint:
    listing = ", ".join(f"'{value.value}'" for value in values)
    return CheckConstraint(f"{column} IN ({listing})", name=column)


STORED_STATUSES = tuple(
    status for status in EvaluationStatus if status is not EvaluationStatus.DROPPED
)
"""`dropped` is `scored` with a race that was lost."""


class Base(DeclarativeBase):
    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map = {str: Text(), float: Double(), bytes: LargeBinary(), int: Integer()}  # noqa: RUF012


class Search(Base):
    """One search: the file as submitted, where it stands, and who controls it."""

    __tablename__ = "searches"
    __table_args__ = (
        _one_of("status", SearchStatus),
        CheckConstraint("(lease_owner IS NULL) = (lease_until IS NULL)", name="lease"),
        Index(None, "name"),
        Index(None, "scope"),
    )
    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    status: Mapped[str]
    message: Mapped[str | None]
    scope: Mapped[str]
    base_model: Mapped[str]
    seed: Mapped[int] = mapped_column(BigInteger)
    spec: Mapped[str]
    versions: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(Timestamp)
    updated_at: Mapped[datetime] = mapped_column(Timestamp)
    lease_owner: Mapped[str | None]
    lease_until: Mapped[float | None]


class Candidate(Base):
    """One recipe that a search asked for. `told` is its place in the order of tells."""

    __tablename__ = "candidates"
    __table_args__ = (
        UniqueConstraint("search_id", "number"),
        UniqueConstraint("search_id", "told"),
        UniqueConstraint("id", "search_id", "recipe_id"),
        _one_of("origin", Origin),
        CheckConstraint("number >= 0", name="number"),
        CheckConstraint("(told IS NULL) = (loss IS NULL)", name="told"),
        Index(None, "search_id", "recipe_id"),
    )
    id: Mapped[int] = mapped_column(Key, primary_key=True)
    search_id: Mapped[str] = mapped_column(ForeignKey("searches.id"))
    number: Mapped[int]
    origin: Mapped[str]
    generation: Mapped[int | None]
    label: Mapped[str | None]
    recipe_id: Mapped[str]
    recipe: Mapped[str]
    genome: Mapped[str | None]
    told: Mapped[int | None]
    loss: Mapped[float | None]
    created_at: Mapped[datetime] = mapped_column(Timestamp)


class Ask(Base):
    """How many results the strategy had been told when it was asked for a candidate."""

    __tablename__ = "asks"
    __table_args__ = (CheckConstraint("tells >= 0", name="tells"),)
    candidate_id: Mapped[int] = mapped_column(Key, ForeignKey("candidates.id"), primary_key=True)
    tells: Mapped[int]


class Limit(Base):
    """Limits that a user gave a search after it was submitted; they overrule its file."""

    __tablename__ = "limits"
    search_id: Mapped[str] = mapped_column(ForeignKey("searches.id"), primary_key=True)
    limits: Mapped[str]


class Evaluation(Base):
    """One candidate on one split. Fitness is its own even where the result is copied."""

    __tablename__ = "evaluations"
    __table_args__ = (
        UniqueConstraint("candidate_id", "split"),
        ForeignKeyConstraint(
            ["candidate_id", "search_id", "recipe_id"],
            ["candidates.id", "candidates.search_id", "candidates.recipe_id"],
        ),
        ForeignKeyConstraint(["copied_from"], ["evaluations.id"]),
        _one_of("split", Split),
        _one_of("status", STORED_STATUSES),
        CheckConstraint("(copied_from IS NULL) = (status IS NOT NULL)", name="copied"),
        CheckConstraint("copied_from IS NULL OR attempts = 0", name="copies_are_not_attempted"),
        Index(
            "uq_evaluations_recipe_once",
            "search_id",
            "recipe_id",
            "split",
            unique=True,
            sqlite_where=text("copied_from IS NULL"),
            postgresql_where=text("copied_from IS NULL"),
        ),
        Index(None, "recipe_id", "split"),
        Index(None, "copied_from"),
        # What a status asks stays quick however many candidates there are.
        Index("ix_evaluations_progress", "search_id", "split", "status"),
        Index("ix_evaluations_ranked", "search_id", "split", "violation", "fitness"),
        # The course of a search, and its order by a task's scores, read this index and no rows.
        Index(
            "ix_evaluations_course",
            *("search_id", "split", "candidate_id", "copied_from", "violation", "fitness"),
        ),
    )
    id: Mapped[int] = mapped_column(Key, primary_key=True)
    candidate_id: Mapped[int] = mapped_column(Key)
    search_id: Mapped[str]
    recipe_id: Mapped[str]
    split: Mapped[str]
    status: Mapped[str | None]
    copied_from: Mapped[int | None] = mapped_column(Key)
    attempts: Mapped[int]
    failures: Mapped[int]
    fitness: Mapped[float | None]
    fitness_stderr: Mapped[float | None]
    violation: Mapped[float | None]
    error_type: Mapped[str | None]
    error: Mapped[str | None]
    retryable: Mapped[bool]
    created_at: Mapped[datetime] = mapped_column(Timestamp)


class Race(Base):
    """Whom an evaluation had to beat. `dropped` is unknown before it is scored."""

    __tablename__ = "races"
    __table_args__ = (
        ForeignKeyConstraint(["evaluation_id"], ["evaluations.id"], name="fk_races_evaluations"),
        ForeignKeyConstraint(["rival_id"], ["evaluations.id"], name="fk_races_rivals"),
        ForeignKeyConstraint(["search_id"], ["searches.id"]),
        CheckConstraint("evaluation_id <> rival_id", name="rival"),
        CheckConstraint("fitness IS NULL OR COALESCE(dropped, FALSE)", name="estimate"),
        Index(None, "search_id", "dropped"),
    )
    evaluation_id: Mapped[int] = mapped_column(Key, primary_key=True)
    search_id: Mapped[str]
    rival_id: Mapped[int] = mapped_column(Key)
    dropped: Mapped[bool | None]
    fitness: Mapped[float | None]
    fitness_stderr: Mapped[float | None]
    violation: Mapped[float | None]


MISHAPS = "status IN ('failed', 'lost', 'late')"
"""Attempts that came to nothing, or too late: few among many."""


class Archive(Base):
    """Where the per-document outcomes of an ended search went; `deleted_at`: the last of them left."""

    __tablename__ = "archives"
    __table_args__ = (CheckConstraint("outcomes >= 0", name="outcomes"),)
    search_id: Mapped[str] = mapped_column(ForeignKey("searches.id"), primary_key=True)
    file: Mapped[str]
    sha256: Mapped[str]
    outcomes: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(Timestamp)
    deleted_at: Mapped[datetime | None] = mapped_column(Timestamp)


class Attempt(Base):
    """One try of a worker at an evaluation, and what it cost. `late_scores` changed nothing."""

    __tablename__ = "attempts"
    __table_args__ = (
        CheckConstraint("status IN ('running', 'scored', 'failed', 'lost', 'late')", name="status"),
        Index(None, "finished_at"),
        Index(
            "uq_attempts_one_running",
            "evaluation_id",
            unique=True,
            sqlite_where=text("status = 'running'"),
            postgresql_where=text("status = 'running'"),
        ),
        Index(
            "uq_attempts_one_scored",
            "evaluation_id",
            unique=True,
            sqlite_where=text("status = 'scored'"),
            postgresql_where=text("status = 'scored'"),
        ),
        Index(
            "ix_attempts_mishaps",
            "finished_at",
            sqlite_where=text(MISHAPS),
            postgresql_where=text(MISHAPS),
        ),
    )
    evaluation_id: Mapped[int] = mapped_column(Key, ForeignKey("evaluations.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    worker: Mapped[str]
    status: Mapped[str]
    started_at: Mapped[datetime] = mapped_column(Timestamp)
    finished_at: Mapped[datetime | None] = mapped_column(Timestamp)
    error_type: Mapped[str | None]
    error: Mapped[str | None]
    merge_seconds: Mapped[float | None]
    load_seconds: Mapped[float | None]
    forward_seconds: Mapped[float | None]
    overhead_seconds: Mapped[float | None]
    tokens: Mapped[int | None] = mapped_column(BigInteger)
    late_scores: Mapped[str | None]


class Score(Base):
    """One metric of one task, of the attempt that decided; `headline` is the objective's own."""

    __tablename__ = "task_scores"
    __table_args__ = (Index(None, "task", "headline"),)
    evaluation_id: Mapped[int] = mapped_column(Key, ForeignKey("evaluations.id"), primary_key=True)
    task: Mapped[str] = mapped_column(primary_key=True)
    metric: Mapped[str] = mapped_column(primary_key=True)
    position: Mapped[int]
    headline: Mapped[bool]
    value: Mapped[float | None]
    stderr: Mapped[float | None]
    n: Mapped[int]


class Outcome(Base):
    """Per-document results of one task, packed as `codec` says."""

    __tablename__ = "outcomes"
    evaluation_id: Mapped[int] = mapped_column(Key, ForeignKey("evaluations.id"), primary_key=True)
    task: Mapped[str] = mapped_column(primary_key=True)
    position: Mapped[int]
    documents: Mapped[int]
    data: Mapped[bytes]


class Owner(Base):
    """Who uses a server: the share that is due, the limits, and the recent use of workers."""

    __tablename__ = "owners"
    __table_args__ = (
        CheckConstraint("weight > 0", name="weight"),
        CheckConstraint("used >= 0", name="used"),
    )
    name: Mapped[str] = mapped_column(primary_key=True)
    weight: Mapped[float]
    max_running: Mapped[int | None]
    max_queued: Mapped[int | None]
    max_candidates: Mapped[int | None]
    max_workers: Mapped[int | None]
    max_hours: Mapped[float | None]
    used: Mapped[float]
    used_at: Mapped[float]
    created_at: Mapped[datetime] = mapped_column(Timestamp)


class Token(Base):
    """A credential. Only the hash of its secret is here; a parent's end is also a session's."""

    __tablename__ = "tokens"
    __table_args__ = (_one_of("scope", Scope), Index(None, "owner"), Index(None, "parent"))
    id: Mapped[str] = mapped_column(primary_key=True)
    owner: Mapped[str] = mapped_column(ForeignKey("owners.name"))
    scope: Mapped[str]
    digest: Mapped[str]
    parent: Mapped[str | None] = mapped_column(ForeignKey("tokens.id"))
    note: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(Timestamp)
    expires_at: Mapped[datetime | None] = mapped_column(Timestamp)
    revoked_at: Mapped[datetime | None] = mapped_column(Timestamp)
    used_at: Mapped[datetime | None] = mapped_column(Timestamp)


class Queued(Base):
    """A search that servers run: whose it is, whether it shall run, and which server sees to it.

    claimed_by, claimed_until: the server that runs its controller. progress: evaluations that had
    ended when the controller failed last; failures: in a row, without any progress between. workers:
    how many of the servers' workers it may use now; NULL: as many as it asks for.
    """

    __tablename__ = "queue"
    __table_args__ = (
        UniqueConstraint("owner", "idempotency_key"),
        CheckConstraint("(claimed_by IS NULL) = (claimed_until IS NULL)", name="claim"),
        CheckConstraint("(idempotency_key IS NULL) = (fingerprint IS NULL)", name="key"),
        Index(None, "wanted"),
    )
    search_id: Mapped[str] = mapped_column(ForeignKey("searches.id"), primary_key=True)
    owner: Mapped[str] = mapped_column(ForeignKey("owners.name"))
    priority: Mapped[int]
    wanted: Mapped[bool]
    submitted_at: Mapped[datetime] = mapped_column(Timestamp)
    started_at: Mapped[datetime | None] = mapped_column(Timestamp)
    claimed_by: Mapped[str | None]
    claimed_until: Mapped[float | None]
    failures: Mapped[int]
    progress: Mapped[int]
    retry_at: Mapped[float | None]
    workers: Mapped[int | None]
    idempotency_key: Mapped[str | None]
    fingerprint: Mapped[str | None]


class EventRow(Base):
    """What happened to a search, in words: what its log shows."""

    __tablename__ = "events"
    __table_args__ = (Index(None, "search_id", "id"),)
    id: Mapped[int] = mapped_column(Key, primary_key=True)
    search_id: Mapped[str] = mapped_column(ForeignKey("searches.id"))
    at: Mapped[datetime] = mapped_column(Timestamp)
    level: Mapped[str]
    message: Mapped[str]


class Export(Base):
    """A candidate that a server merges into a folder of its own."""

    __tablename__ = "exports"
    __table_args__ = (
        _one_of("status", ExportStatus),
        UniqueConstraint("folder"),
        CheckConstraint("(claimed_by IS NULL) = (claimed_until IS NULL)", name="claim"),
        Index(None, "status"),
    )
    id: Mapped[int] = mapped_column(Key, primary_key=True)
    candidate_id: Mapped[int] = mapped_column(Key, ForeignKey("candidates.id"))
    owner: Mapped[str] = mapped_column(ForeignKey("owners.name"))
    folder: Mapped[str]
    status: Mapped[str]
    error: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(Timestamp)
    updated_at: Mapped[datetime] = mapped_column(Timestamp)
    claimed_by: Mapped[str | None]
    claimed_until: Mapped[float | None]
