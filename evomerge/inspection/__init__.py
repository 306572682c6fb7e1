"""What some models are, how far each is from their base, and how much their changes conflict.

`inspect_models` reads configs and headers, then streams through the weights once: one tensor of each
model is in memory at a time. The figures are those that the literature on merging reasons with:
norms and cosines of task vectors (Ilharco et al. 2023) and conflicts of sign after trimming (Yadav
et al. 2023).
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from evomerge.errors import Problems
from evomerge.hub import model_folders
from evomerge.inspection.bases import Base, declared_base
from evomerge.inspection.facts import facts_of
from evomerge.inspection.reading import read
from evomerge.inspection.types import (
    AdapterFacts,
    Geometry,
    Inspection,
    ModelFacts,
    Pair,
    Region,
    Remark,
)
from evomerge.preflight.models import read_models

if TYPE_CHECKING:
    from evomerge.merging.opening import OpenModels

Progress = Callable[[int, int], None]


def inspect_models(
    models: Sequence[str],
    base: str | None = None,
    *,
    layer_groups: int = 4,
    sample: int | None = None,
    progress: Progress | None = None,
) -> Inspection:
    """Inspect `models`; with weights, where their base is given or can be told.

    Args:
        models: paths, hub ids, or `model+adapter`; each once.
        base: the model that they were fine-tuned from; None finds out whether it is one of them.
        layer_groups: into how many runs of layers distances are divided.
        sample: so many layers are read only, for very large models.
        progress: is told bytes done and bytes in all, of the base.

    Raises the one UsageError, or Problems, for models that cannot be read.
    """
    names = list(dict.fromkeys([*([base] if base else []), *models]))
    indexes, broken = read_models(names)
    if broken:
        raise broken[0] if len(broken) == 1 else Problems(broken)
    facts = facts_of(names, indexes)
    misfits = [one.name for one in facts if one.misfits]
    if misfits:
        why = f"{misfits[0]} does not fit the first model"
        return Inspection(facts, None, why, read(facts, None))
    if len(names) == 1 and not indexes[0].parts:
        return Inspection(facts, None, "there is one model only", ())
    found = Base(base, "given") if base else declared_base(names, indexes)
    return _with_weights(names, found, facts, layer_groups, sample, progress)


def _with_weights(
    names: Sequence[str],
    base: Base | None,
    facts: tuple[ModelFacts, ...],
    layer_groups: int,
    sample: int | None,
    progress: Progress | None,
) -> Inspection:
    from evomerge.inspection.geometry import guess_base, measure_geometry

    everyone = [*names, *([base.name] if base else [])]
    opened = _open(everyone)
    try:
        base = base or guess_base(opened, names)
        if base is None:
            why = "which of them is the base cannot be told: name it with --base"
            return Inspection(facts, None, why, read(facts, None))
        experts = [name for name in names if name != base.name]
        geometry = measure_geometry(
            opened, base, experts, layer_groups=layer_groups, sample=sample, progress=progress
        )
    finally:
        opened.close()
    return Inspection(facts, geometry, None, read(facts, geometry))


def _open(names: Sequence[str]) -> "OpenModels":
    from evomerge.merging.opening import OpenModels

    return OpenModels(model_folders(names))


__all__ = [
    "AdapterFacts",
    "Geometry",
    "Inspection",
    "ModelFacts",
    "Pair",
    "Region",
    "Remark",
    "inspect_models",
]
