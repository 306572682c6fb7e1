"""What goes over the wire between a server and its clients: the same classes on both sides.

Numbers that JSON does not know (NaN, infinity) are null. Times are ISO 8601 with their zone.
"""

import math
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

MOST_FILE = 200_000
"""Letters of a search file that a server reads."""
MOST_CANDIDATES, MOST_WORKERS, MOST_HOURS, MOST_TOKENS = 10**7, 10**6, 10**6, 10**15


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


Number = Annotated[float | None, BeforeValidator(_finite)]
ScopeName = Literal["read", "submit", "admin"]
SplitName = Literal["search", "validation", "test"]
Text = Annotated[str, Field(max_length=200)]


class Message(BaseModel):
    """Base of everything that is sent; what is not known is refused in requests alone."""

    model_config = ConfigDict(frozen=True)


class Request(Message):
    """Base of what clients send."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Problem(Message):
    """An error: what is wrong, where, and what to do. `problems`: several at once."""

    type: str
    message: str
    where: str | None = None
    remedy: str | None = None
    problems: list["Problem"] = Field(default_factory=list)


class Failure(Message):
    """The body of every answer that is no success."""

    error: Problem


class Submission(Request):
    """A search file, as YAML or JSON text."""

    file: str = Field(max_length=MOST_FILE, min_length=1)
    priority: int = Field(0, ge=-100, le=100)


class Edit(Request):
    """Limits to change; what is left out stays."""

    candidates: int | None = Field(None, gt=0, le=MOST_CANDIDATES)
    tokens: int | None = Field(None, gt=0, le=MOST_TOKENS)
    hours: float | None = Field(None, gt=0, le=MOST_HOURS)
    gpu_hours: float | None = Field(None, gt=0, le=MOST_HOURS)
    patience: int | None = Field(None, gt=0, le=MOST_CANDIDATES)
    workers: int | None = Field(None, gt=0, le=MOST_WORKERS)


class Priority(Request):
    """A search's place among those of the same owner; bigger goes first."""

    priority: int = Field(ge=-100, le=100)


class Me(Message):
    """Who is asking."""

    owner: str
    scope: ScopeName
    kind: Literal["token", "session", "local"]


class Version(Message):
    """Which evomerge answers."""

    evomerge: str
    api: str = "v1"


class SearchItem(Message):
    """A search in a list. models: how many. budget: candidates. owner: null where no server runs it."""

    id: str
    name: str
    status: str
    message: str | None
    owner: str | None
    priority: int | None
    models: int
    budget: int
    created: datetime
    updated: datetime


class SearchList(Message):
    """Some of `total` searches."""

    items: list[SearchItem]
    total: int


class QueuePlace(Message):
    """Where a search stands on its server. workers: the share that it has now."""

    owner: str
    priority: int
    wanted: bool
    submitted_at: datetime
    started_at: datetime | None
    failures: int
    workers: int | None


class SearchState(Message):
    """Everything that `status` says of a search; `queue` is null where no server runs it."""

    search: str
    name: str
    status: str
    message: str | None
    phase: str | None
    done: dict[str, int]
    budget: dict[str, Any]
    workers: int
    best_fitness: Number
    best_candidate: str | None
    dropped: int
    failed: int
    reused: int
    base_model: str
    models: list[str]
    tasks: list[str]
    seed: int
    created_at: datetime
    updated_at: datetime
    versions: dict[str, str]
    queue: QueuePlace | None = None


class Limits(Message):
    """The limits that hold now."""

    search: str
    budget: dict[str, Any]
    workers: int | None


class BestItem(Message):
    """One of the best candidates; `recipe` is mergekit's configuration, `yaml` the same as text."""

    candidate: int
    search: str
    search_name: str
    number: int
    origin: str
    label: str | None
    split: str
    fitness: Number
    stderr: Number
    scores: dict[str, Number]
    recipe: dict[str, Any]
    yaml: str


class CandidateItem(Message):
    """A candidate in a list, with its evaluation on the search split."""

    id: int
    number: int
    origin: str
    label: str | None
    generation: int | None
    recipe_id: str
    status: str
    fitness: Number
    stderr: Number
    violation: Number
    scores: dict[str, Number]
    attempts: int
    error: str | None


class CandidateList(Message):
    """Some of `total` candidates."""

    items: list[CandidateItem]
    total: int


class ScoreItem(Message):
    """One metric of one task."""

    task: str
    metric: str
    value: Number
    stderr: Number
    n: int
    headline: bool


class AttemptItem(Message):
    """One try of a worker."""

    number: int
    worker: str
    status: str
    started_at: datetime
    finished_at: datetime | None
    error: str | None


class EvaluationItem(Message):
    """A candidate on one split. costs: seconds by kind, and tokens."""

    split: str
    status: str
    fitness: Number
    stderr: Number
    violation: Number
    scores: list[ScoreItem]
    costs: dict[str, Number] | None
    attempts: list[AttemptItem]
    error: str | None


class CandidateState(Message):
    """All about one candidate; `yaml` is the recipe that `evomerge merge` and mergekit read."""

    id: int
    search: str
    number: int
    origin: str
    label: str | None
    generation: int | None
    recipe_id: str
    recipe: dict[str, Any]
    yaml: str
    evaluations: list[EvaluationItem]


class QueryItem(Message):
    """A question that may be asked by name."""

    name: str
    summary: str
    parameters: list[str]


class Rows(Message):
    """What a question gave."""

    columns: list[str]
    rows: list[list[Any]]


class LogItem(Message):
    """A line of a search's log."""

    id: int
    at: datetime
    level: str
    message: str


class ErrorItem(Message):
    """Something that went wrong while candidates were scored."""

    search: str
    number: int
    split: str
    attempt: int
    worker: str
    status: str
    type: str | None
    message: str | None
    remedy: str | None
    at: datetime | None


class WorkerItem(Message):
    """A worker and what it does."""

    worker: str
    search: str
    search_name: str
    number: int
    split: str
    attempt: int
    seconds: Number


class ExportRequest(Request):
    """A candidate to export: an id, SEARCH:NUMBER, or SEARCH for its winner; `folder`: a new name."""

    candidate: Text
    folder: Annotated[str, Field(max_length=100, min_length=1)]


class ExportItem(Message):
    """An export; `path` is where it lies on the server once it is done."""

    id: int
    search: str
    candidate: int
    owner: str
    folder: str
    path: str
    status: Literal["pending", "running", "done", "failed"]
    error: str | None
    created_at: datetime
    updated_at: datetime


class TokenRequest(Request):
    """A token to make. hours: how long it is good for; null: until it is revoked."""

    owner: Annotated[str, Field(min_length=1, max_length=100)]
    scope: ScopeName = "read"
    hours: float | None = Field(None, gt=0, le=MOST_HOURS)
    note: Text | None = None


class Rotation(Request):
    """A token in place of another, which stays good for `grace` more hours."""

    hours: float | None = Field(None, gt=0, le=MOST_HOURS)
    grace: float = Field(0.0, ge=0, le=MOST_HOURS)


class TokenItem(Message):
    """A token, without what makes it one."""

    id: str
    owner: str
    scope: ScopeName
    note: str | None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    used_at: datetime | None


class NewToken(TokenItem):
    """A token that was just made; `token` is shown this once."""

    token: str


class OwnerLimits(Request):
    """What an owner may use at most; null: no limit. As `evomerge.store.access.OwnerLimits`."""

    running: int | None = Field(None, ge=0, le=MOST_WORKERS)
    queued: int | None = Field(None, ge=0, le=MOST_WORKERS)
    candidates: int | None = Field(None, ge=0, le=MOST_CANDIDATES)
    workers: int | None = Field(None, ge=0, le=MOST_WORKERS)
    hours: float | None = Field(None, ge=0, le=MOST_HOURS)


class OwnerEdit(Request):
    """An owner's weight and limits, all of them."""

    weight: float = Field(1.0, gt=0, le=1e6)
    limits: OwnerLimits = OwnerLimits()


class OwnerItem(Message):
    """An owner. used_hours: of workers, decaying, as of the last look of a scheduler."""

    name: str
    weight: float
    limits: OwnerLimits
    used_hours: Number
