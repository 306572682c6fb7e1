"""The merge methods by name: the ones below, and what other packages register.

A package adds a method with an entry point in the group `evomerge.methods` that names a `Method`.
"""

from functools import cache
from importlib.metadata import EntryPoint, entry_points

from evomerge.errors import RecipeError, did_you_mean
from evomerge.methods.arcee_fusion import ARCEE_FUSION
from evomerge.methods.base import (
    Measured,
    Measurement,
    Measurements,
    Method,
    Parameter,
    Tensors,
    Trim,
    Weighing,
)
from evomerge.methods.breadcrumbs import BREADCRUMBS, BREADCRUMBS_TIES
from evomerge.methods.dam import DAM
from evomerge.methods.dare import DARE_LINEAR, DARE_TIES
from evomerge.methods.della import DELLA, DELLA_LINEAR
from evomerge.methods.fisher import FISHER
from evomerge.methods.karcher import KARCHER
from evomerge.methods.linear import LINEAR
from evomerge.methods.m_smoe import M_SMOE
from evomerge.methods.mats import MATS
from evomerge.methods.mlerp import MLERP
from evomerge.methods.model_stock import MODEL_STOCK
from evomerge.methods.multislerp import MULTISLERP
from evomerge.methods.nearswap import NEARSWAP
from evomerge.methods.nuslerp import NUSLERP
from evomerge.methods.passthrough import PASSTHROUGH
from evomerge.methods.pleas import PLEAS
from evomerge.methods.ram import RAM, RAMPLUS_TL
from evomerge.methods.regmean import REGMEAN
from evomerge.methods.sce import SCE
from evomerge.methods.sens import SENS_DARE, SENS_MERGING, SENS_TIES
from evomerge.methods.slerp import SLERP
from evomerge.methods.task_arithmetic import TASK_ARITHMETIC
from evomerge.methods.ties import TIES

METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        LINEAR,
        SLERP,
        NUSLERP,
        MULTISLERP,
        KARCHER,
        MLERP,
        TASK_ARITHMETIC,
        TIES,
        DARE_LINEAR,
        DARE_TIES,
        DELLA,
        DELLA_LINEAR,
        BREADCRUMBS,
        BREADCRUMBS_TIES,
        MODEL_STOCK,
        SCE,
        ARCEE_FUSION,
        RAM,
        RAMPLUS_TL,
        NEARSWAP,
        PASSTHROUGH,
        FISHER,
        REGMEAN,
        MATS,
        SENS_MERGING,
        SENS_TIES,
        SENS_DARE,
        PLEAS,
        M_SMOE,
        DAM,
    )
}
"""evomerge's own methods."""
ENTRY_POINTS = "evomerge.methods"


def get_method(name: str, where: str | None = None) -> Method:
    """The method of that name; RecipeError with the nearest name where there is none."""
    found = METHODS.get(name) or _from_outside(name, where)
    if found is None:
        known = [*METHODS, *(point.name for point in _points())]
        raise RecipeError(
            f"unknown merge method {name!r}", where=where, remedy=did_you_mean(name, known)
        )
    return found


@cache
def _points() -> tuple[EntryPoint, ...]:
    return tuple(entry_points(group=ENTRY_POINTS))


@cache
def _from_outside(name: str, where: str | None) -> Method | None:
    """A method of another package. Loaded when asked for: it may need torch."""
    point = next((point for point in _points() if point.name == name), None)
    if point is None:
        return None
    try:
        found = point.load()
    except Exception as error:  # whatever another package's import raises
        raise RecipeError(
            f"method {name!r} cannot be loaded from {point.value} ({error})",
            where=where,
            remedy="mend or uninstall the package that registers it",
        ) from error
    if not isinstance(found, Method) or found.name != name:
        raise RecipeError(
            f"{point.value} is no evomerge.methods.Method named {name!r}",
            where=where,
            remedy="let the entry point name a Method of the same name",
        )
    return found


__all__ = [
    "METHODS",
    "Measured",
    "Measurement",
    "Measurements",
    "Method",
    "Parameter",
    "Tensors",
    "Trim",
    "Weighing",
    "get_method",
]
