"""Cells that learn, on a Ray cluster: each is learned by a worker of its own, side by side.

What is learned lies in the study's folder, which all nodes have to see. A worker that is lost costs what it
learned since its state was last put away.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from evomerge.errors import EvomergeError
from evomerge.spec import WorkersSpec
from evomerge.study.bench import Where
from evomerge.study.choose import Task
from evomerge.study.records import Choice

if TYPE_CHECKING:
    from evomerge.calibration.sets import CalibrationSet


def learn_on_ray(
    tasks: Sequence[Task], where: Where, needs: WorkersSpec
) -> Iterator[tuple[Task, Choice | EvomergeError]]:
    """Each task with its choice, or why there is none, as soon as it ends.

    Raises ResourceError where no cluster can be used.
    """
    if not tasks:
        return
    from evomerge.calibration.sets import load_set
    from evomerge.dispatch.functions import call_on_ray

    arguments = [(task, None if task.texts is None else load_set(task.texts)) for task in tasks]
    for place, found in call_on_ray(_learn, arguments, where.address, needs, where.check):
        yield tasks[place], found


def _learn(task: Task, texts: "CalibrationSet | None") -> Choice:
    """The call on a worker, whose node may not have the texts yet."""
    from evomerge.study.learned import learned_choice

    if texts is not None:
        texts.save()
    begin = None if task.after is None else task.after.recipe
    return learned_choice(task.cell, task.texts, begin, task.folder)


__all__ = ["learn_on_ray"]
