"""What a race depends on: plain data that goes to a worker with its task.

A race pairs a candidate with a rival that has answered every document. After each block of documents
the worker decides whether the candidate is out. As everything that the decision depends on is here or
in the candidate's own answers, the same race ends the same way on every worker and in every replay.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from evomerge.fitness import TaskOutcomes
from evomerge.racing.blocks import Layout


@dataclass(frozen=True)
class RacePlan:
    """A rival to beat.

    rival: its outcomes on the whole split. metrics: the headline metric of each task, a mean over
    documents of values in [0, 1]. factors: what one point of each task's mean adds to fitness (bigger
    fitness is better, so a factor is negative where a metric should be small). error: the chance that
    a candidate at least as good as the rival is dropped. blocks: into how many parts the split is cut.
    seed: of the shuffle, one for the whole search. lead_after: from this share of the documents on a
    candidate that does not lead leaves too; with 1 the error alone decides.
    """

    rival: tuple[TaskOutcomes, ...]
    metrics: Mapping[str, str]
    factors: Mapping[str, float]
    error: float
    blocks: int
    seed: int
    lead_after: float = 1.0

    @property
    def layout(self) -> Layout:
        """The blocks in which its documents are answered."""
        return Layout(self.blocks, self.seed)
