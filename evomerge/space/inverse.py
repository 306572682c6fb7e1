"""From a recipe back to the genome that decodes to it, where a space has one.

No formula is inverted. A tensor's value is a weighted mean of the values of the genes that reach it (one
alone, or several where values run in lines across layers), and moving each gene once shows with which
weight: what the recipe has on all tensors then says where the genes must stand. What decodes to other values
anywhere is a recipe that the space does not hold.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from evomerge.layout import layer_of
from evomerge.methods import get_method
from evomerge.recipe import Recipe, Scalar, evaluate, position_in_slice
from evomerge.space.genes import METHOD_GENE, Genome
from evomerge.space.searched import Choice, Range

if TYPE_CHECKING:
    from evomerge.space.search_space import SearchSpace

_CLOSE = 1e-4
"""Of a range: recipes are written with six digits."""


class Inverse:
    """Finds genomes of one space."""

    def __init__(self, space: "SearchSpace") -> None:
        self._space = space
        layers = space.index.num_layers
        self._sites = [
            (name, 0.0 if (layer := layer_of(name)) is None else position_in_slice(layer, layers))
            for name in sorted(space.index.tensors)
        ]

    def genome_of(self, recipe: Recipe) -> Genome | None:
        """The genome of a recipe over the space's own models; None where there is none."""
        space = self._space
        sources = {source.model for source in recipe.sources()}
        strange = sources - {space.base_model, *space.models}
        if recipe.merge_method not in space.spec.methods or recipe.slices or strange:
            return None
        genome = np.full(space.dimension, 0.5)
        for (name, model), places in self._owners().items():
            found = self._genes_of(name, model, places, recipe)
            if found is None:
                return None
            genome[places] = found
        return genome if self._same(space.decode(genome), recipe) else None

    def _owners(self) -> dict[tuple[str, str | None], list[int]]:
        """The places of the genes of each parameter, for each model or for all."""
        found: dict[tuple[str, str | None], list[int]] = {}
        for place, gene in enumerate(self._space.genes):
            found.setdefault((gene.parameter, gene.model), []).append(place)
        return found

    def _genes_of(
        self, name: str, model: str | None, places: list[int], recipe: Recipe
    ) -> list[float] | None:
        if name == METHOD_GENE:
            assert isinstance(self._space.spec.method, Choice)
            return [self._space.spec.method.encode(recipe.merge_method)]
        searched = self._space.spec.values[name]
        values = [self._value(recipe, name, model, *site) for site in self._sites]
        if isinstance(searched, Choice):
            return [searched.encode(values[0])] if values[0] in searched.choice else None
        assert isinstance(searched, Range)
        numbers = [float(v) for v in values if v is not None and not isinstance(v, str)]
        if len(numbers) < len(values):
            return None
        shares_SG = np.array([self._shares(name, model, place, recipe) for place in places]).T
        solved, *_ = np.linalg.lstsq(shares_SG, np.array(numbers), rcond=None)
        return [searched.encode(float(value)) for value in solved]

    def _shares(self, name: str, model: str | None, place: int, recipe: Recipe) -> list[float]:
        """How far each tensor's value follows a gene's, from 0 to 1."""
        low, high = (self._moved(recipe, place, to) for to in (0.0, 1.0))
        searched = self._space.spec.values[name]
        assert isinstance(searched, Range)
        width = searched.extent[1] - searched.extent[0]

        def moves(site: tuple[str, float]) -> float:
            ends = [self._value(one, name, model, *site) for one in (low, high)]
            return (float(ends[1] or 0.0) - float(ends[0] or 0.0)) / width

        return [moves(site) for site in self._sites]

    def _moved(self, recipe: Recipe, place: int, to: float) -> Recipe:
        genome = np.full(self._space.dimension, 0.5)
        if isinstance(self._space.spec.method, Choice):
            genome[0] = self._space.spec.method.encode(recipe.merge_method)
        genome[place] = to
        return self._space.decode(genome)

    def _value(
        self, recipe: Recipe, name: str, model: str | None, tensor: str, position: float
    ) -> Scalar | None:
        """What a recipe gives a parameter for one tensor: the model's own, the shared one, the default."""
        sources = [s for s in recipe.sources() if model is None or s.model == model]
        blocks = [*(source.parameters for source in sources), recipe.parameters]
        for block in blocks:
            if (value := evaluate(block.get(name, ()), tensor, position)) is not None:
                return value
        declared = get_method(recipe.merge_method).parameter(name)
        if not sources:  # a model that is left out adds nothing
            return 0.0 if name == "weight" else None
        return None if declared is None else declared.default

    def _same(self, found: Recipe, wanted: Recipe) -> bool:
        method = get_method(wanted.merge_method)
        return all(
            _close(self._value(found, *where), self._value(wanted, *where))
            for parameter in method.parameters
            for where in self._places(parameter.name, parameter.per_model)
        )

    def _places(self, name: str, per_model: bool) -> Iterator[tuple[str, str | None, str, float]]:
        for model in self._space.models if per_model else (None,):
            for tensor, position in self._sites:
                yield name, model, tensor, position


def _close(left: Scalar | None, right: Scalar | None) -> bool:
    if left is None or right is None or isinstance(left, str) or isinstance(right, str):
        return left == right
    return abs(float(left) - float(right)) <= _CLOSE * max(1.0, abs(float(right)))
