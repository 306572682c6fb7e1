"""What a search found, as plain values: rows of the table, the front, and how far to trust a score."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from evomerge.bootstrap import Estimate
from evomerge.fitness import Fitness, Split
from evomerge.recipe import Recipe


@dataclass(frozen=True)
class Row:
    """One line of the table. `lead` is the winner's fitness minus this row's, paired if `paired`.

    objectives: what the candidate is judged by, bigger is better; one value, or several.
    """

    candidate_id: int
    number: int
    label: str
    recipe_id: str
    fitness: Estimate
    scores: Mapping[str, Estimate]
    search_fitness: float | None
    violation: float = 0.0
    lead: Estimate | None = None
    paired: bool = False
    objectives: Mapping[str, float] = field(default_factory=dict)

    @property
    def rank(self) -> tuple[float, float]:
        """Bigger is better."""
        return Fitness(self.fitness.value, None, self.violation).sort_key


@dataclass(frozen=True)
class Member:
    """A candidate of the front, and the baselines that it beats in all objectives."""

    row: Row
    beats: tuple[str, ...]


@dataclass(frozen=True)
class Front:
    """The candidates that no other one of the search beats in all objectives.

    reference: where the hypervolumes are counted from, in each objective the worst baseline.
    gain: hypervolume of the members minus that of the baselines, on the same documents.
    rivals: the baselines on these documents. beaten: the objectives of the search's other candidates
        there.
    """

    split: Split
    documents: Mapping[str, int]
    members: tuple[Member, ...]
    reference: Mapping[str, float]
    hypervolume: float
    baseline_hypervolume: float
    gain: Estimate
    rivals: tuple[Row, ...]
    beaten: tuple[Mapping[str, float], ...] = ()


@dataclass(frozen=True)
class Optimism:
    """How far the search score of a winner can be trusted.

    search, test: the winner's fitness on the two splits; gap: the first minus the second, of
    documents that have nothing in common. expected: by how much the best search score overstates,
    because it is the best of `candidates` on these `documents`; None where it cannot be told.
    """

    search: float
    test: float | None
    gap: Estimate | None
    expected: float | None
    candidates: int
    documents: int

    @property
    def sentence(self) -> str:
        """All of it in words."""
        from evomerge.results.sentences import optimism_sentence

        return optimism_sentence(self)


@dataclass(frozen=True)
class Results:
    """The outcome of a search so far. `metrics` names each task's; `documents` counts them.

    climbed: what fitness is, in words.
    """

    search_id: str
    name: str
    status: str
    split: Split
    metrics: Mapping[str, str]
    documents: Mapping[str, int]
    winner: Row | None
    recipe: Recipe | None
    baselines: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    climbed: str = ""
    optimism: Optimism | None = None
    front: Front | None = None

    @property
    def best_baseline(self) -> Row | None:
        """The baseline with the best fitness in this very table: the hardest one to beat."""
        return max(self.baselines, key=lambda row: row.rank, default=None)

    @property
    def rows(self) -> tuple[Row, ...]:
        """Winner and baselines, best first."""
        everyone = (*self.baselines, *([self.winner] if self.winner else []))
        return tuple(sorted(everyone, key=lambda row: row.rank, reverse=True))

    @property
    def sentence(self) -> str:
        """Whether, and by how much, the search beat the best trivial merge."""
        from evomerge.results.sentences import front_sentence, verdict_sentence

        return verdict_sentence(self) if self.front is None else front_sentence(self.front)
