"""The contract of a strategy.

A strategy is a pure function of its arguments and of what it was told, in order: nothing else may
change what it asks next. So a search is resumed by telling a new strategy the stored history; no
state is ever pickled.
"""

from collections.abc import Sequence
from typing import Protocol

from evomerge.space import Genome


class Strategy(Protocol):
    """Minimises a loss over [0, 1]^D, a generation at a time."""

    @property
    def population_size(self) -> int:
        """Genomes in a generation."""
        ...

    def ask(self) -> list[Genome]:
        """The next generation. Asking changes state: tell its losses before asking again."""
        ...

    def tell(self, genomes: Sequence[Genome], losses: Sequence[float]) -> None:
        """The losses of the generation just asked for, in the same order; all finite."""
        ...

    def recommend(self) -> Genome | None:
        """The genome it believes in most without having seen it (CMA-ES: the mean), or None."""
        ...

    @property
    def stop_reason(self) -> str | None:
        """Why more generations would not help (converged), or None."""
        ...
