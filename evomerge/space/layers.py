"""The `layers:` block of a search file: which layers of which models are stacked is searched.

The data-flow space of Akiba et al. 2024 (Evolutionary optimization of model merging recipes). The
layers of all models, base first, stand in a row, `repeats` times; every slot is on or off, and what
is on runs in that order. A layer expects inputs of the size that its own model gives it, so each slot
also has a factor for its input.
"""

import math

from pydantic import Field, model_validator

from evomerge.recipe import Frozen
from evomerge.space.searched import Range

INPUT_SCALE = Range(range=(0.5, 2.0), scale="log", step=0.001)
"""As published; 1 lies in the middle."""


class LayersSpec(Frozen):
    """Stacking of layers.

    repeats: how often the row of all models' layers is laid out.
    block: so many neighbouring layers share a slot.
    scale: range of the factor on a slot's input; null for none.
    max_layers: of the merged model; where more slots are on, those furthest on stay. An engine is
        built for this many. None: a quarter more than the base model has.
    """

    max_layers: int | None = Field(None, ge=1)
    repeats: int = Field(1, ge=1)
    block: int = Field(1, ge=1)
    scale: Range | None = INPUT_SCALE

    @model_validator(mode="after")
    def _plain_scale(self) -> "LayersSpec":
        if self.scale is not None and (self.scale.per or self.scale.integer):
            raise ValueError("a slot's scale is one number: remove per and integer")
        if self.scale is not None and self.scale.range[0] <= 0:
            raise ValueError("a slot's input can be scaled by numbers above 0 only")
        if self.scale is not None and not self.scale.range[0] <= 1 <= self.scale.range[1]:
            raise ValueError("the range of scale must contain 1: the search starts there")
        return self

    def depth(self, base_layers: int) -> int:
        """The most layers of a candidate, on a base model of so many; there are never more slots."""
        if self.max_layers is not None:
            return self.max_layers
        return base_layers + math.ceil(base_layers / 4)
