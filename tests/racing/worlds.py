"""Made-up outcomes for races: tasks in which some documents are hard for everyone."""

import numpy as np

from evomerge.fitness import TaskOutcomes
from evomerge.racing import RacePlan


def outcomes(values, metric="acc", start=100):
    """`{task: values}` as outcomes; documents are numbered from `start`."""
    return tuple(
        TaskOutcomes(
            task, tuple(range(start, start + len(column))), {metric: np.asarray(column, float)}
        )
        for task, column in values.items()
    )


def plan(rival, *, factors=None, error=0.05, blocks=10, seed=0, metric="acc"):
    """A race against `{task: values}`, every task with the same weight unless told otherwise."""
    weights = factors or {task: 1 / len(rival) for task in rival}
    return RacePlan(
        outcomes(rival, metric), dict.fromkeys(rival, metric), weights, error, blocks, seed
    )


def answer(rng, sizes, share, *, like=None, kinship=0.5, hardness=None):
    """0/1 answers of one model: right on about `share`, and as `like` on a part `kinship` of them."""
    found = {}
    for number, (task, size) in enumerate(sizes.items()):
        hard = (
            np.random.default_rng([number, size]).normal(0, 1.2, size)
            if hardness is None
            else hardness[task]
        )
        luck = rng.logistic(size=size) - hard
        own = (luck > np.quantile(luck, 1 - share)).astype(float)
        keep = rng.random(size) < kinship
        found[task] = own if like is None else np.where(keep, like[task], own)
    return found


def fitness(values, factors=None):
    """Weighted sum of task means."""
    weights = factors or {task: 1 / len(values) for task in values}
    return sum(weights[task] * np.mean(column) for task, column in values.items())


def first(whole, documents):
    """The outcomes of some documents alone: `documents` by task."""
    found = []
    for one in whole:
        keep = [number in set(documents.get(one.task, ())) for number in one.doc_ids]
        ids = tuple(np.array(one.doc_ids)[keep].tolist())
        found.append(TaskOutcomes(one.task, ids, {m: v[keep] for m, v in one.values.items()}))
    return tuple(found)


def looks(whole, layout):
    """What is known after each block but the last."""
    documents = {one.task: one.doc_ids for one in whole}
    seen = {task: [] for task in documents}
    for block in layout.divide(documents)[:-1]:
        for task, numbers in block.items():
            seen[task] += numbers
        yield first(whole, seen)
