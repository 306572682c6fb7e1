"""In which order documents are answered: one shuffle for a whole search, cut into rounds and blocks.

A round holds the next document of every task that has one left. So the first rounds weigh all tasks
alike, and a small task is through when a large one still has documents: an allocation that lowers
the error of a mean of task means fastest where tasks are equally noisy (Neyman 1934), and what a
race wants that ends after a few rounds. Blocks are whole rounds, as many as a worker answers in one
call; each is longer than the one before, as who is clearly out shows early and who is not needs many
documents.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from evomerge.spec import SearchSpec

GROWTH = 1.25
"""By how much each block is longer than the one before."""
_SEED = 20_250_302


@dataclass(frozen=True)
class Layout:
    """How documents are divided; the same for all candidates that are compared."""

    blocks: int
    seed: int

    def divide(
        self, documents: Mapping[str, Sequence[int]]
    ) -> tuple[dict[str, tuple[int, ...]], ...]:
        """See `divide`."""
        return divide(documents, self.blocks, self.seed)


def layout_of(spec: SearchSpec) -> Layout | None:
    """In which blocks a search's documents are answered; None where it does not race."""
    return Layout(spec.racing.blocks, spec.strategy.seed) if spec.racing.enabled else None


def shuffle(documents: Mapping[str, Sequence[int]], seed: int) -> dict[str, tuple[int, ...]]:
    """Each task's documents in the order of their rounds; depends on ids, task names and seed."""
    return {task: _shuffled(task, ids, seed) for task, ids in documents.items()}


def divide(
    documents: Mapping[str, Sequence[int]], blocks: int, seed: int
) -> tuple[dict[str, tuple[int, ...]], ...]:
    """Cut the shuffled documents into at most `blocks` blocks of whole rounds.

    Each block names the documents of every task that has some in it, ids rising; together they hold
    each document exactly once. Fewer blocks where there are fewer rounds.
    """
    order = shuffle(documents, seed)
    edges = _edges([len(ids) for ids in order.values()], blocks)
    return tuple(
        {task: tuple(sorted(ids[low:high])) for task, ids in order.items() if ids[low:high]}
        for low, high in pairwise(edges)
    )


def _edges(sizes: Sequence[int], blocks: int) -> list[int]:
    """The rounds at which blocks begin, and the number of rounds."""
    rounds = max(sizes, default=0)
    total = sum(sizes)
    answered = np.cumsum([sum(size > number for size in sizes) for number in range(rounds)])
    shares = np.cumsum(GROWTH ** np.arange(blocks))
    ends = np.searchsorted(answered, total * shares[:-1] / shares[-1]) + 1
    return sorted({0, rounds} | {int(end) for end in ends if end < rounds})


def _shuffled(task: str, ids: Sequence[int], seed: int) -> tuple[int, ...]:
    key = int.from_bytes(hashlib.sha256(task.encode()).digest()[:8])
    generator = np.random.default_rng([_SEED, seed, key])
    return tuple(int(number) for number in generator.permutation(sorted(ids)))
