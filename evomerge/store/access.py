"""Who may do what, and what waits for a server: the records of a store that several people share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from evomerge.store.types import SearchStatus


class Scope(StrEnum):
    """What a token is good for; each includes those before it."""

    READ = "read"
    SUBMIT = "submit"
    ADMIN = "admin"

    def covers(self, wanted: "Scope") -> bool:
        """Whether a token of this scope is enough where `wanted` is asked for."""
        order = list(Scope)
        return order.index(self) >= order.index(wanted)


class ExportStatus(StrEnum):
    PENDING = "pending"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True)
class OwnerLimits:
    """What an owner may use at most; None: no limit.

    running: searches at a time. queued: searches that wait or run. candidates: budgets of these
    added up. workers: of all running searches together. hours: of workers in recent use
    (`OwnerRecord.used`); beyond it nothing new is started.
    """

    running: int | None = None
    queued: int | None = None
    candidates: int | None = None
    workers: int | None = None
    hours: float | None = None


@dataclass(frozen=True)
class OwnerRecord:
    """An owner of searches and tokens.

    weight: the share that is due, beside others' weights. used: worker seconds that decay; as of
    `used_at`, in seconds since 1970.
    """

    name: str
    weight: float = 1.0
    limits: OwnerLimits = OwnerLimits()
    used: float = 0.0
    used_at: float = 0.0


@dataclass(frozen=True)
class TokenRecord:
    """A token without its secret. parent: the token that a browser's session was opened with."""

    id: str
    owner: str
    scope: Scope
    note: str | None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    used_at: datetime | None
    parent: str | None = None


@dataclass(frozen=True)
class QueueEntry:
    """A search that servers run, as the scheduler sees it.

    claimed: a server answers for it now. led: a controller holds its lease now. asked: the workers
    that its user wants. ended: evaluations that need nothing more; progress: how many had at the last
    failure of its controller.
    """

    search_id: str
    owner: str
    priority: int
    wanted: bool
    status: SearchStatus
    submitted_at: float
    claimed_by: str | None = None
    claimed: bool = False
    led: bool = False
    failures: int = 0
    retry_at: float | None = None
    workers: int | None = None
    asked: int = 1

    @property
    def active(self) -> bool:
        """Whether a controller works on it, or is about to."""
        return self.claimed or self.led


@dataclass(frozen=True)
class QueueState:
    """Everything that a decision of the scheduler depends on; `now` is the database's clock."""

    now: float
    entries: tuple[QueueEntry, ...]
    owners: Mapping[str, OwnerRecord]


@dataclass(frozen=True)
class Decision:
    """What the scheduler wants changed.

    claims: searches that this server starts now. workers: what each active search may use. used:
    each owner's use as of now. settled: wishes that nobody is left to grant, as facts. dismissed: what
    stopped and waits for nothing any more.
    """

    claims: Sequence[str] = ()
    workers: Mapping[str, int] = field(default_factory=dict)
    used: Mapping[str, float] = field(default_factory=dict)
    settled: Mapping[str, SearchStatus] = field(default_factory=dict)
    dismissed: Sequence[str] = ()


@dataclass(frozen=True)
class Place:
    """A search's place on a server. claimed_by: the server that runs its controller."""

    search_id: str
    owner: str
    priority: int
    wanted: bool
    submitted_at: datetime
    started_at: datetime | None
    claimed_by: str | None
    failures: int
    retry_at: float | None
    workers: int | None


@dataclass(frozen=True)
class LogLine:
    """Something that happened to a search. level: info, warning or error."""

    id: int
    search_id: str
    at: datetime
    level: str
    message: str


@dataclass(frozen=True)
class ExportRecord:
    """A candidate that becomes a folder below the server's export folder."""

    id: int
    candidate_id: int
    search_id: str
    owner: str
    folder: str
    status: ExportStatus
    error: str | None
    created_at: datetime
    updated_at: datetime
