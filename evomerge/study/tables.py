"""Everything that a study's report shows, as plain values: rows, relations, costs, scores, failures.

The terminal, Markdown, JSON and the page all show these.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from evomerge.bootstrap import Estimate
from evomerge.study.costs import Cost, Prerequisites, base_shapes, costs_of_bases, prerequisites_of
from evomerge.study.flops import Shapes
from evomerge.study.measures import Measured
from evomerge.study.relations import Relation, relations_of
from evomerge.study.rows import Row, Training, method_rows, reference_rows
from evomerge.study.run import StudyResult


@dataclass(frozen=True)
class TaskRow:
    """One model's plain scores. experts: their places in the file from 1, of a merge."""

    base: str
    training: int
    label: str
    experts: tuple[int, ...]
    seed: int | None
    scores: Mapping[str, Estimate]


class Tables:
    """All rows of a study. Trainings of one base are rows together."""

    def __init__(self, result: StudyResult) -> None:
        self._result = result
        self._trainings: dict[str, list[Training]] = {}
        for base in result.bases:
            training = Training(base, Measured(base))
            self._trainings.setdefault(base.base.label, []).append(training)

    @cached_property
    def rows(self) -> tuple[Row, ...]:
        """Base by base: the models themselves, then methods in the order of the file, by size."""
        methods = [entry.label for entry in self._result.spec.methods]
        return tuple(
            row
            for label, found in self._trainings.items()
            for row in (*reference_rows(label, found), *method_rows(label, found, methods))
        )

    @cached_property
    def costs(self) -> tuple[Cost, ...]:
        """What each method took, base by base."""
        return tuple(
            cost
            for label, found in self._trainings.items()
            for cost in costs_of_bases([one.result for one in found], self._shapes[label])
        )

    @cached_property
    def parameters(self) -> Mapping[str, int]:
        """The number of parameters of each base."""
        return {label: shapes.parameters for label, shapes in self._shapes.items()}

    @cached_property
    def _shapes(self) -> dict[str, Shapes]:
        return {label: base_shapes(found[0].result) for label, found in self._trainings.items()}

    @cached_property
    def prerequisites(self) -> tuple[Prerequisites, ...]:
        """What each method needs."""
        return tuple(prerequisites_of(entry) for entry in self._result.spec.methods)

    @cached_property
    def relations(self) -> tuple[Relation, ...]:
        """How measures go together."""
        return tuple(
            relation
            for label, found in self._trainings.items()
            for relation in relations_of(label, found)
        )

    @cached_property
    def task_scores(self) -> tuple[TaskRow, ...]:
        """Every model's score on every task."""
        return tuple(
            row
            for found in self._trainings.values()
            for training in found
            for row in _task_rows(training)
        )

    @cached_property
    def failures(self) -> tuple[tuple[str, str], ...]:
        """Cells without a score, and why."""
        failed = [
            (cell.cell.label, cell.scored.error)
            for base in self._result.bases
            for cell in base.cells
            if cell.scored.error is not None
        ]
        return (*failed, *((one.cell.label, one.why) for one in self._result.skipped))


def _task_rows(training: Training) -> Iterator[TaskRow]:
    result, measured = training.result, training.measured
    base, number = result.base.label, training.number
    for row in (result.own, *result.experts, *([result.multitask] if result.multitask else [])):
        if row.evaluation is not None:
            yield TaskRow(base, number, row.label, (), None, measured.scores(row))
    for cell in training.scored:
        places = tuple(place + 1 for place in cell.cell.places)
        scores = measured.scores(cell.scored)
        yield TaskRow(base, number, cell.cell.entry.label, places, cell.cell.seed, scores)


__all__ = ["Row", "Tables", "TaskRow"]
