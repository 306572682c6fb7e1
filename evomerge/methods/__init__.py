"""The merge methods by name."""

from evomerge.errors import RecipeError, did_you_mean
from evomerge.methods.base import Method, Parameter, Trim
from evomerge.methods.linear import LINEAR
from evomerge.methods.slerp import SLERP
from evomerge.methods.task_vectors import DARE_LINEAR, DARE_TIES, TASK_ARITHMETIC, TIES

METHODS: dict[str, Method] = {
    method.name: method for method in (LINEAR, SLERP, TASK_ARITHMETIC, TIES, DARE_LINEAR, DARE_TIES)
}


def get_method(name: str, where: str | None = None) -> Method:
    """The method of that name; RecipeError with the nearest name where there is none."""
    if name not in METHODS:
        raise RecipeError(
            f"unknown merge method {name!r}", where=where, remedy=did_you_mean(name, list(METHODS))
        )
    return METHODS[name]


__all__ = ["METHODS", "Method", "Parameter", "Trim", "get_method"]
