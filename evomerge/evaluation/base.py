"""The contract of an evaluator: a recipe and a split in, per-document outcomes out.

One evaluator lives as long as its worker: its engine is started once, its task suite built and
tokenised once. Nothing of a candidate is written to disk.
"""

from typing import Protocol

from evomerge.fitness import EvaluationResult, Split
from evomerge.racing import RacePlan
from evomerge.recipe import Recipe


class Evaluator(Protocol):
    """Scores recipes. Not thread safe."""

    def evaluate(
        self, recipe: Recipe, split: Split, race: RacePlan | None = None
    ) -> EvaluationResult:
        """Merge `recipe` and score it on every document of `split`, or, in a race, until it is out.

        Raises MergeError where the recipe gives no usable weights, EvaluationError or
        OutOfMemoryError where scoring failed, EngineError where the engine is no longer usable: the
        evaluator must then be closed and made again.
        """
        ...

    def versions(self) -> dict[str, str]:
        """Names and versions of everything that can change a score."""
        ...

    def close(self) -> None:
        """Stop the engine and give its memory back."""
        ...
