"""`SearchSpace`: the way from a genome in [0, 1]^D to a recipe, and back where there is one.

A space is a block of a search file bound to one base model and its fine-tunes. A recipe is mergekit's
grammar, so a decoded genome is too: layer groups become per-layer lists, kinds become filters,
stacked layers become slices.
"""

import numpy as np

from evomerge.layout import CheckpointIndex
from evomerge.recipe import Recipe
from evomerge.space.binding import check_binding
from evomerge.space.genes import METHOD_GENE, Genome
from evomerge.space.inverse import Inverse
from evomerge.space.merges import Given, MergeCoder
from evomerge.space.searched import Choice
from evomerge.space.spec import SpaceSpec
from evomerge.space.stack import StackCoder


class SearchSpace:
    """A space spec bound to one base model and its fine-tunes.

    Args:
        spec: the `space:` block.
        base_model, models: as they shall appear in recipes.
        index: headers of the base checkpoint; says how many layers and kinds there are.
        dtype: output dtype written into every recipe; None for the base's own.
        texts: the calibration texts written into recipes of methods that use data, as `set:ID`.

    Raises SpecError or Problems where the space does not fit the models.
    """

    def __init__(
        self,
        spec: SpaceSpec,
        base_model: str,
        models: tuple[str, ...],
        index: CheckpointIndex,
        dtype: str | None = None,
        texts: str | None = None,
    ) -> None:
        check_binding(spec, models, index)
        self.spec = spec
        self.base_model = base_model
        self.models = models
        self.index = index
        self.dtype = dtype
        self._coder: MergeCoder | StackCoder = (
            MergeCoder(spec, base_model, models, index, dtype, texts)
            if spec.layers is None
            else StackCoder(spec, base_model, models, index, dtype)
        )
        self.groups = self._coder.groups
        self.genes = self._coder.genes

    @property
    def dimension(self) -> int:
        return len(self.genes)

    @property
    def cells(self) -> tuple[int, ...]:
        """For each gene into how many equal parts [0, 1] is cut, one a value; 0 for a continuum."""
        return tuple(gene.cells for gene in self.genes)

    @property
    def ordered(self) -> tuple[bool, ...]:
        """For each gene whether its values lie in an order; options are mere names."""
        options = {
            name for name, value in self.spec.values.items() if isinstance(value, Choice)
        } | {METHOD_GENE}
        return tuple(gene.parameter not in options for gene in self.genes)

    def decode(self, genome: Genome) -> Recipe:
        """The recipe of a genome in [0, 1]^D. Raises ValueError on another length."""
        if len(genome) != self.dimension:
            raise ValueError(f"a genome of {len(genome)} genes for a space of {self.dimension}")
        return self._coder.decode(genome)

    def genome_of(self, recipe: Recipe) -> Genome | None:
        """The genome that decodes to `recipe`; None where the space does not hold it."""
        return None if self.spec.layers is not None else Inverse(self).genome_of(recipe)

    def encode(self, values: Given, method: str = "") -> Genome:
        """A genome near the given parameter values: a start for a search.

        Args:
            values: `{parameter: value}` or `{parameter: {model: value}}`; what is not named starts
                at the method's default, or in the middle of its range. Stacked layers start at the
                base model, whatever is given.
            method: chosen where the space lets the method vary.
        """
        return np.array([self._coder.encode(gene, values, method) for gene in self.genes])
