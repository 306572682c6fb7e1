"""What a coordinate of a genome stands for."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Genome = NDArray[np.float64]
METHOD_GENE = "method"


@dataclass(frozen=True)
class Gene:
    """One coordinate of the genome: a parameter, and where it applies.

    model: of which model; None for all. kind: of which kind of tensor. filter: of which named filter.
    group: of which layer group. layers: of which run of a model's layers (half open) that is stacked,
    in which `repeat`. cells: into how many equal parts [0, 1] is cut, 0 for a continuum.
    """

    parameter: str
    model: str | None = None
    kind: str | None = None
    group: int | None = None
    filter: str | None = None
    layers: tuple[int, int] | None = None
    repeat: int | None = None
    cells: int = field(default=0, compare=False)

    @property
    def label(self) -> str:
        """The gene in words, different for every gene of a space."""
        group = None if self.group is None else f"group {self.group}"
        repeat = None if self.repeat is None else f"repeat {self.repeat}"
        places = (self.model, self.kind, self.filter, group, self._layers, repeat)
        inside = ", ".join(place for place in places if place)
        return f"{self.parameter}[{inside}]" if inside else self.parameter

    @property
    def _layers(self) -> str | None:
        if self.layers is None:
            return None
        first, last = self.layers[0], self.layers[1] - 1
        return f"layer {first}" if first == last else f"layers {first}–{last}"
