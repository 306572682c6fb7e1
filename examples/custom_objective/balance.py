"""An objective of one's own: the geometric mean of what is won over the base, so that no task is given up.

Pure and quick: the same scores give the same value in every process, as a search that is resumed needs it.
"""

from __future__ import annotations

import math

from evomerge.fitness import CustomObjective, References


def balance(scores: dict[str, float], references: References) -> float:
    """1.0 for a merge that is as good as the base at everything; bigger is better."""
    gains = [max(score, 1e-6) / max(references.base[task], 1e-6) for task, score in scores.items()]
    return math.prod(gains) ** (1 / len(gains))


BALANCE = CustomObjective("balance", balance)
