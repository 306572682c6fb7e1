"""The rows of a study's report: every method on every size of subset, with intervals.

Plain values, which the terminal, Markdown, JSON and the page all show.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from evomerge.bootstrap import Estimate
from evomerge.study.costs import Cost, Prerequisites, base_shapes, costs_of_base, prerequisites_of
from evomerge.study.flops import Shapes
from evomerge.study.measures import MEASURES, Measured, Value, difference, pooled
from evomerge.study.relations import Relation, relations_of
from evomerge.study.roles import Role
from evomerge.study.run import BaseResult, CellResult, Scored, StudyResult

Estimates = Mapping[Role, Estimate]


@dataclass(frozen=True)
class Row:
    """A method with its policy on subsets of one size, or a model as it is.

    size: experts that were merged; 0 for models that are no merges. cells: how many merges it is the
    mean of. leads: over the first method of the file, on the same subsets.
    """

    base: str
    label: str
    size: int
    measures: Estimates
    cells: int = 0
    leads: Estimates = field(default_factory=dict)
    undefined: tuple[str, ...] = ()


@dataclass(frozen=True)
class TaskRow:
    """One model's plain scores. experts: their places in the file from 1, of a merge."""

    base: str
    label: str
    experts: tuple[int, ...]
    seed: int | None
    scores: Mapping[str, Estimate]


class Tables:
    """All rows of a study."""

    def __init__(self, result: StudyResult) -> None:
        self._result = result
        self._measured = [Measured(base) for base in result.bases]

    @cached_property
    def rows(self) -> tuple[Row, ...]:
        """Base by base: the models themselves, then methods in the order of the file, by size."""
        return tuple(
            row
            for base, measured in zip(self._result.bases, self._measured, strict=True)
            for row in (*_references(base, measured), *self._methods(base, measured))
        )

    @cached_property
    def costs(self) -> tuple[Cost, ...]:
        """What each method took, base by base."""
        return tuple(
            cost
            for base, shapes in zip(self._result.bases, self._shapes, strict=True)
            for cost in costs_of_base(base, shapes)
        )

    @cached_property
    def parameters(self) -> Mapping[str, int]:
        """The number of parameters of each base."""
        labels = [base.base.label for base in self._result.bases]
        return {
            label: shapes.parameters for label, shapes in zip(labels, self._shapes, strict=True)
        }

    @cached_property
    def _shapes(self) -> list[Shapes]:
        return [base_shapes(base) for base in self._result.bases]

    @cached_property
    def prerequisites(self) -> tuple[Prerequisites, ...]:
        """What each method needs."""
        return tuple(prerequisites_of(entry) for entry in self._result.spec.methods)

    @cached_property
    def relations(self) -> tuple[Relation, ...]:
        """How measures go together."""
        return tuple(
            relation
            for base, measured in zip(self._result.bases, self._measured, strict=True)
            for relation in relations_of(base, measured)
        )

    @cached_property
    def task_scores(self) -> tuple[TaskRow, ...]:
        """Every model's score on every task."""
        return tuple(
            row
            for base, measured in zip(self._result.bases, self._measured, strict=True)
            for row in _task_rows(base, measured)
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

    def _methods(self, base: BaseResult, measured: Measured) -> Iterator[Row]:
        first = self._result.spec.methods[0].label
        for size in sorted({cell.cell.size for cell in base.cells}):
            of_size = [cell for cell in base.cells if cell.cell.size == size]
            rivals = {cell.cell.places: cell for cell in of_size if cell.cell.entry.label == first}
            for entry in self._result.spec.methods:
                cells = [cell for cell in of_size if cell.cell.entry.label == entry.label]
                if any(cell.scored.evaluation for cell in cells):
                    yield _row(
                        base, measured, entry.label, cells, {} if entry.label == first else rivals
                    )


def _task_rows(base: BaseResult, measured: Measured) -> Iterator[TaskRow]:
    singles = [base.own, *base.experts, *([base.multitask] if base.multitask else [])]
    for row in singles:
        if row.evaluation is not None:
            yield TaskRow(base.base.label, row.label, (), None, measured.scores(row))
    for cell in base.cells:
        if cell.scored.evaluation is not None:
            places = tuple(place + 1 for place in cell.cell.places)
            scores = measured.scores(cell.scored)
            label, seed = cell.cell.entry.label, cell.cell.seed
            yield TaskRow(base.base.label, label, places, seed, scores)


def _row(
    base: BaseResult,
    measured: Measured,
    label: str,
    cells: Sequence[CellResult],
    rivals: Mapping[tuple[int, ...], CellResult],
) -> Row:
    scored = [cell for cell in cells if cell.scored.evaluation is not None]
    values = {role: _values(measured, role, scored) for role in MEASURES}
    leads = {role: _leads(measured, role, scored, rivals) for role in MEASURES}
    lost = dict.fromkeys(t for found in values.values() for one in found for t in one.undefined)
    return Row(
        base.base.label,
        label,
        scored[0].cell.size,
        {role: pooled(found) for role, found in values.items() if found},
        len(scored),
        {role: pooled(found) for role, found in leads.items() if found},
        tuple(lost),
    )


def _values(measured: Measured, role: Role, cells: Sequence[CellResult]) -> list[Value]:
    found = [measured.of_cell(cell, role) for cell in cells]
    return [value for value in found if value is not None]


def _leads(
    measured: Measured,
    role: Role,
    cells: Sequence[CellResult],
    rivals: Mapping[tuple[int, ...], CellResult],
) -> list[Value]:
    found = []
    for cell in cells:
        rival = rivals.get(cell.cell.places)
        own = measured.of_cell(cell, role)
        other = None if rival is None else measured.of_cell(rival, role)
        if own is not None and other is not None:
            found.append(difference(own, other))
    return found


def _references(base: BaseResult, measured: Measured) -> Iterator[Row]:
    """Base, the experts on average, the multitask model."""
    experts = base.base.experts
    singles: list[tuple[str, Sequence[Scored]]] = [("base", [base.own])]
    singles.append(("an expert alone (mean)", base.experts))
    if base.multitask is not None:
        singles.append(("multitask", [base.multitask]))
    for label, rows in singles:
        found = {role: [measured.of(row, role, experts) for row in rows] for role in MEASURES}
        known = {role: [v for v in values if v is not None] for role, values in found.items()}
        yield Row(
            base.base.label,
            label,
            0,
            {role: pooled(values) for role, values in known.items() if values},
            len(rows),
        )
