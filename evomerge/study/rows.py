"""Rows of a study's report: the merges of one method on one size of subset, over all trainings of a base."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from evomerge.bootstrap import Estimate
from evomerge.study.measures import MEASURES, Measured, Unit, Value, difference, pooled
from evomerge.study.plan import Places
from evomerge.study.roles import Role
from evomerge.study.run import BaseResult, CellResult, Scored

Estimates = Mapping[Role, Estimate]


@dataclass(frozen=True)
class Row:
    """A method with its policy on subsets of one size, or a model as it is.

    size: experts that were merged; 0 for models that are no merges. cells: how many merges it is the
    mean of. leads: over the first method of the file, on the same subsets of the same training.
    """

    base: str
    label: str
    size: int
    measures: Estimates
    cells: int = 0
    leads: Estimates = field(default_factory=dict)
    undefined: tuple[str, ...] = ()


@dataclass(frozen=True)
class Training:
    """One training of a base: what was scored, and the measures of it."""

    result: BaseResult
    measured: Measured

    @property
    def number(self) -> int:
        return self.result.base.training

    @property
    def scored(self) -> list[CellResult]:
        """The cells that have a score."""
        return [cell for cell in self.result.cells if cell.scored.evaluation is not None]


@dataclass(frozen=True)
class Merge:
    """A cell that was scored, of some training."""

    training: Training
    cell: CellResult

    @property
    def place(self) -> tuple[int, Places]:
        """Its training and its subset."""
        return self.training.number, self.cell.cell.places

    @property
    def unit(self) -> Unit:
        """Training, subset and seed."""
        return *self.place, self.cell.cell.seed

    def measure(self, role: Role) -> Value | None:
        return self.training.measured.of_cell(self.cell, role)


def method_rows(label: str, trainings: Sequence[Training], methods: Sequence[str]) -> Iterator[Row]:
    """By size, then in the order of `methods`, whose first one the others are compared with."""
    merges = [Merge(training, cell) for training in trainings for cell in training.scored]
    for size in sorted({merge.cell.cell.size for merge in merges}):
        of_size = [merge for merge in merges if merge.cell.cell.size == size]
        by_method = {name: [m for m in of_size if _method(m) == name] for name in methods}
        rivals = {merge.place: merge for merge in by_method[methods[0]]}
        for name, own in by_method.items():
            if own:
                yield _row(label, name, own, {} if name == methods[0] else rivals)


def _method(merge: Merge) -> str:
    return merge.cell.cell.entry.label


def _row(
    base: str, label: str, merges: Sequence[Merge], rivals: Mapping[tuple[int, Places], Merge]
) -> Row:
    values = {role: [(m.measure(role), m.unit) for m in merges] for role in MEASURES}
    leads = {role: [(_lead(m, role, rivals), m.unit) for m in merges] for role in MEASURES}
    known = [value for found in values.values() for value, _ in found if value is not None]
    lost = dict.fromkeys(task for value in known for task in value.undefined)
    size = merges[0].cell.cell.size
    return Row(base, label, size, _pooled(values), len(merges), _pooled(leads), tuple(lost))


def _lead(merge: Merge, role: Role, rivals: Mapping[tuple[int, Places], Merge]) -> Value | None:
    rival = rivals.get(merge.place)
    own, other = merge.measure(role), None if rival is None else rival.measure(role)
    return None if own is None or other is None else difference(own, other)


def _pooled(values: Mapping[Role, Sequence[tuple[Value | None, Unit]]]) -> dict[Role, Estimate]:
    known = {
        role: [(value, unit) for value, unit in found if value is not None]
        for role, found in values.items()
    }
    return {
        role: pooled([value for value, _ in found], [unit for _, unit in found])
        for role, found in known.items()
        if found
    }


def reference_rows(label: str, trainings: Sequence[Training]) -> Iterator[Row]:
    """Base, the experts on average, the multitask model."""
    singles: dict[str, list[tuple[Training, int, Scored]]] = {}
    for training in trainings:
        result = training.result
        singles.setdefault("base", []).append((training, 0, result.own))
        experts = [(training, place, row) for place, row in enumerate(result.experts)]
        singles.setdefault("an expert alone (mean)", []).extend(experts)
        if result.multitask is not None:
            singles.setdefault("multitask", []).append((training, 0, result.multitask))
    for name, rows in singles.items():
        values = {
            role: [
                (training.measured.of(row, role, training.result.base.experts), (number, place))
                for training, place, row in rows
                for number in [training.number]
            ]
            for role in MEASURES
        }
        yield Row(label, name, 0, _pooled(values), len(rows))


__all__ = ["Merge", "Row", "Training", "method_rows", "reference_rows"]
