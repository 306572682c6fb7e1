"""Search spaces: the way from a genome in [0, 1]^D to a recipe, and back where there is one.

Every searched parameter says its range, its scale and its granularity: per model, per layer group,
per tensor kind or named group of tensors. The layers of the models can be searched as well.
"""

from evomerge.space.binding import binding_problems, count_problems, model_limits
from evomerge.space.genes import METHOD_GENE, Gene, Genome
from evomerge.space.layers import LayersSpec
from evomerge.space.search_space import SearchSpace
from evomerge.space.searched import Choice, Per, Range
from evomerge.space.spec import SpaceSpec

__all__ = [
    "METHOD_GENE",
    "Choice",
    "Gene",
    "Genome",
    "LayersSpec",
    "Per",
    "Range",
    "SearchSpace",
    "SpaceSpec",
    "binding_problems",
    "count_problems",
    "model_limits",
]
