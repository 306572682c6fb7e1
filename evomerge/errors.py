"""Every exception evomerge raises on purpose; each one carries its remedy.

EvomergeError
├── UsageError                 the user can fix it; found before anything was changed (exit code 2)
│   ├── SpecError              search file: unknown key, bad value
│   ├── RecipeError            merge recipe or mergekit YAML
│   ├── CheckpointError        model folder: missing, truncated, pickle-only, NaN, wrong shape
│   ├── TaskError              lm-eval task, metric or split
│   ├── StoreError             database: locked, newer than this version, unreachable
│   ├── ResourceError          disk, memory, GPU, port
│   ├── NotFoundError          no search, candidate, query or preset of that name
│   ├── LimitError             more than an owner may use of a server
│   └── Problems               several of the above, reported together
├── CandidateError             one candidate failed; the search goes on without it
│   ├── MergeError             the recipe gives no usable weights (NaN, weights that cancel)
│   ├── EvaluationError        the engine or the harness failed on this candidate
│   ├── OutOfMemoryError       the candidate did not fit
│   └── WorkerLostError        the worker died while it had the candidate
│       └── NodeLostError      its whole node went away: no fault of the candidate
├── EngineError                an engine cannot start, or is half updated and was thrown away
└── LeaseLostError             another controller holds this search
"""

from collections.abc import Sequence
from difflib import get_close_matches


class EvomergeError(Exception):
    """Base of all errors: what is wrong, where, and what to do about it."""

    exit_code = 1

    def __init__(
        self, message: str, *, where: str | None = None, remedy: str | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        self.remedy = remedy

    def __str__(self) -> str:
        parts = [f"{self.where}: {self.message}" if self.where else self.message]
        if self.remedy:
            parts.append(f"  → {self.remedy}")
        return "\n".join(parts)

    def __reduce__(self) -> tuple[object, ...]:
        # Keyword-only arguments do not survive the default pickling that Ray uses for exceptions.
        return (_rebuild, (type(self), self.message, self.where, self.remedy))


def _rebuild(
    cls: type[EvomergeError], message: str, where: str | None, remedy: str | None
) -> EvomergeError:
    return cls(message, where=where, remedy=remedy)


class UsageError(EvomergeError):
    """Something the user can fix; nothing was changed."""

    exit_code = 2


class SpecError(UsageError):
    """The search file is wrong."""


class RecipeError(UsageError):
    """The merge recipe or mergekit YAML is wrong."""


class CheckpointError(UsageError):
    """A model folder cannot be used."""


class TaskError(UsageError):
    """An lm-eval task, metric or split cannot be used."""


class StoreError(UsageError):
    """The database cannot be used."""


class ResourceError(UsageError):
    """The machine lacks disk, memory, a GPU or a free port."""


class NotFoundError(UsageError):
    """Nothing of that name exists."""


class LimitError(UsageError):
    """An owner asked for more of a server than the owner's limits allow."""


class Problems(UsageError):
    """Several problems found in one pass, reported together."""

    def __init__(self, problems: Sequence[UsageError]) -> None:
        self.problems = tuple(problems)
        count = "1 problem" if len(self.problems) == 1 else f"{len(self.problems)} problems"
        super().__init__(f"{count}:\n" + "\n".join(str(problem) for problem in self.problems))

    def __reduce__(self) -> tuple[object, ...]:
        return (Problems, (self.problems,))


class CandidateError(EvomergeError):
    """One candidate failed. `retryable` says whether another attempt can help."""

    retryable = True


class MergeError(CandidateError):
    """The recipe gives no usable weights; trying again gives the same."""

    retryable = False


class EvaluationError(CandidateError):
    """The engine or the harness failed on this candidate."""


class OutOfMemoryError(CandidateError):
    """The candidate did not fit into memory."""


class WorkerLostError(CandidateError):
    """The worker died while it had the candidate."""


class NodeLostError(WorkerLostError):
    """The worker's whole node went away, as spot nodes do: no try of the candidate's is spent."""


class EngineError(EvomergeError):
    """An engine cannot start, or is half updated and was thrown away."""


class LeaseLostError(EvomergeError):
    """Another controller holds this search."""


def did_you_mean(name: str, known: Sequence[str]) -> str:
    """A remedy for a misspelt name: the nearest known one first, then all of them."""
    close = get_close_matches(name, known, n=1, cutoff=0.6)
    listing = ", ".join(sorted(known))
    return f"did you mean {close[0]!r}? Known: {listing}" if close else f"known: {listing}"


def require(condition: bool, error: EvomergeError) -> None:
    """Raise `error` unless `condition` holds."""
    if not condition:
        raise error
