"""What a task is to a study: it follows from the skills and factors of the experts.

Held-in: some expert was trained for this skill in this factor. A combination: some expert knows the
skill and another one the factor, none both (Tam et al. 2024: compositional generalisation). Held-out:
anything else (Yadav et al. 2024: categories that no expert was trained on).
"""

from collections.abc import Collection, Iterable, Sequence
from enum import StrEnum

from evomerge.study.spec import StudyExpert, StudyTask


class Role(StrEnum):
    """What scores of a task are related to: the expert's, the base's, or both."""

    HELD_IN = "held-in"
    COMBINATION = "combination"
    HELD_OUT = "held-out"


def role_of(task: StudyTask, experts: Iterable[StudyExpert]) -> Role:
    """The task's role among all experts of a base, merged or not: every subset answers the same."""
    known = list(experts)
    if any(is_own(task, expert) for expert in known):
        return Role.HELD_IN
    skills, factors = {e.skill for e in known}, {e.factor for e in known} - {None}
    both = task.skill in skills and task.factor in factors
    return Role.COMBINATION if both else Role.HELD_OUT


def is_own(task: StudyTask, expert: StudyExpert) -> bool:
    """Whether the expert was trained for what the task asks."""
    return (task.skill, task.factor) == (expert.skill, expert.factor)


def held_in(tasks: Sequence[StudyTask], experts: Collection[StudyExpert]) -> list[StudyTask]:
    """The tasks that some of these experts were trained for."""
    return [task for task in tasks if any(is_own(task, expert) for expert in experts)]


def of_role(
    tasks: Sequence[StudyTask], experts: Collection[StudyExpert], role: Role
) -> list[StudyTask]:
    """The tasks of one role among all experts of a base."""
    return [task for task in tasks if role_of(task, experts) is role]
