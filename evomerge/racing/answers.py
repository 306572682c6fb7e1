"""Outcomes as races read them: every value in [0, 1], and bigger is better."""

from collections.abc import Mapping, Sequence

import numpy as np

from evomerge.fitness import Floats, TaskOutcomes

Answers = dict[str, dict[int, float]]
"""Of each task, the value of each document answered."""


def are_shares(values: Floats) -> bool:
    """Whether every value lies in [0, 1], where bounds hold. NaN does not."""
    return bool(((values >= 0) & (values <= 1)).all())


def read_answers(
    outcomes: Sequence[TaskOutcomes], metrics: Mapping[str, str], factors: Mapping[str, float]
) -> Answers | None:
    """The headline values of the tasks in `factors`; those with a negative factor as 1 - value.

    None where they allow no comparison: a task or its metric is missing, a value is NaN or outside
    [0, 1], or a factor is 0 or no finite number.
    """
    found = {one.task: one for one in outcomes}
    answers: Answers = {}
    for task, factor in factors.items():
        values = found[task].values.get(metrics.get(task, "")) if task in found else None
        if values is None or not np.isfinite(factor) or factor == 0:
            return None
        if not are_shares(values):
            return None
        better = values if factor > 0 else 1 - values
        answers[task] = dict(zip(found[task].doc_ids, better.tolist(), strict=True))
    return answers or None
