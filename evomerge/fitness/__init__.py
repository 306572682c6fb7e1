"""From per-document outcomes to what a search climbs: objectives, task scores, fitness.

Bigger fitness is better everywhere in evomerge; metrics whose direction is `min` are negated here,
and strategies, which minimise, negate once more at their own border. A search has one objective or
several (`compute_objectives`); one number to rank by it has always (`compute_fitness`).
"""

from evomerge.fitness.compute import (
    Fitness,
    ObjectiveValue,
    compute_fitness,
    compute_objectives,
    fitness_of_draws,
    make_references,
    needs_references,
    objectives_of_draws,
)
from evomerge.fitness.custom import CustomObjective, References, load_objective
from evomerge.fitness.objective import Evaluation, Objective, Split, Splits, TaskObjective
from evomerge.fitness.outcomes import (
    Costs,
    EvaluationResult,
    Floats,
    TaskOutcomes,
    TaskScore,
    documents_behind,
    headlines_of,
    mean_score,
)

__all__ = [
    "Costs",
    "CustomObjective",
    "Evaluation",
    "EvaluationResult",
    "Fitness",
    "Floats",
    "Objective",
    "ObjectiveValue",
    "References",
    "Split",
    "Splits",
    "TaskObjective",
    "TaskOutcomes",
    "TaskScore",
    "compute_fitness",
    "compute_objectives",
    "documents_behind",
    "fitness_of_draws",
    "headlines_of",
    "load_objective",
    "make_references",
    "mean_score",
    "needs_references",
    "objectives_of_draws",
]
