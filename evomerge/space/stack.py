"""Genomes of stacked layers: which slots are on, and how large each one's input is made.

Slots stand in a row: base model first, then the others, each from its first layer to its last, and
the row `repeats` times. A slot is on where its gene is at least 1/2. Of too many layers those with the
highest genes stay; where every slot is off, the highest alone is on, so that there is a model at all,
and a poor one.

A layer normalises what it reads. So scaling the inputs of all layers by s₁, s₂, … is, up to the final
norm, to divide what layer k adds by s₁⋯s_k: its two output projections carry that factor, which
mergekit's grammar can say.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from evomerge.layout import CheckpointIndex
from evomerge.recipe import Recipe, Rule, Setting, Slice, Source
from evomerge.space.genes import Gene, Genome
from evomerge.space.layers import LayersSpec
from evomerge.space.outputs import output_filters
from evomerge.space.spec import STACKING, SpaceSpec

LAYER_GENE, SCALE_GENE = "layer", "scale"
ON, OFF = 0.95, 0.05
"""Where a start stands: far enough from 1/2 that a first step turns few of many slots over."""


@dataclass(frozen=True)
class Slot:
    """A run of a model's layers, half open, in one of the repeats."""

    model: str
    first: int
    last: int
    repeat: int


@dataclass(frozen=True)
class Run:
    """Neighbouring layers of one model whose outputs carry the same factor."""

    model: str
    first: int
    last: int
    factor: float


class StackCoder:
    """The way between genomes and stacks; arguments as in `SearchSpace`."""

    groups = 1

    def __init__(
        self,
        spec: SpaceSpec,
        base_model: str,
        models: tuple[str, ...],
        index: CheckpointIndex,
        dtype: str | None,
    ) -> None:
        assert spec.layers is not None
        self._spec: LayersSpec = spec.layers
        self._most = spec.layers.depth(index.num_layers)
        self._base_model, self._dtype = base_model, dtype
        self._filters = output_filters(index)
        self._slots = tuple(_slots(self._spec, (base_model, *models), index.num_layers))
        names = (LAYER_GENE,) if self._spec.scale is None else (LAYER_GENE, SCALE_GENE)
        self.genes = tuple(_gene(name, slot) for name in names for slot in self._slots)

    def decode(self, genome: Genome) -> Recipe:
        """The recipe of a genome of the right length."""
        return Recipe(
            merge_method=STACKING,
            base_model=self._base_model,
            slices=tuple(self._slice(run) for run in self._runs(genome)),
            dtype=self._dtype,
        )

    def encode(self, gene: Gene, *_: object) -> float:
        """The gene of the base model, unchanged: there is no other start."""
        if gene.parameter == LAYER_GENE:
            return ON if gene.model == self._base_model and gene.repeat == 0 else OFF
        assert self._spec.scale is not None
        return self._spec.scale.encode(1.0)

    def _runs(self, genome: Genome) -> list[Run]:
        runs: list[Run] = []
        size = 1.0
        for place in self._chosen(genome):
            slot = self._slots[place]
            size *= self._scale(place, genome)
            run = Run(slot.model, slot.first, slot.last, float(f"{1 / size:.6g}"))
            if runs and runs[-1] == replace(run, first=runs[-1].first, last=run.first):
                runs[-1] = replace(run, first=runs[-1].first)
            else:
                runs.append(run)
        return runs

    def _chosen(self, genome: Genome) -> list[int]:
        """Places of the slots that are on, in order: never none, never too many layers."""
        count = len(self._slots)
        ranked = sorted(range(count), key=lambda place: -float(genome[place]))
        wanted = [place for place in ranked if genome[place] >= 0.5] or ranked[:1]
        chosen, layers = [], 0
        for place in wanted:
            slot = self._slots[place]
            if layers + slot.last - slot.first <= self._most:
                layers += slot.last - slot.first
                chosen.append(place)
        return sorted(chosen)

    def _scale(self, place: int, genome: Genome) -> float:
        if self._spec.scale is None:
            return 1.0
        return self._spec.scale.decode(float(genome[len(self._slots) + place]))

    def _slice(self, run: Run) -> Slice:
        scaled = {} if run.factor == 1 else {"scale": _scaled(run.factor, self._filters)}
        source = Source(model=run.model, layer_range=(run.first, run.last), parameters=scaled)
        return Slice(sources=(source,))


def _slots(spec: LayersSpec, models: Sequence[str], layers: int) -> Iterator[Slot]:
    for repeat in range(spec.repeats):
        for model in models:
            for first in range(0, layers, spec.block):
                yield Slot(model, first, min(first + spec.block, layers), repeat)


def _gene(name: str, slot: Slot) -> Gene:
    cells = 2 if name == LAYER_GENE else 0
    layers = (slot.first, slot.last)
    return Gene(name, slot.model, layers=layers, repeat=slot.repeat, cells=cells)


def _scaled(factor: float, filters: Sequence[str]) -> Setting:
    return (*(Rule(filter=text, value=factor) for text in filters), Rule(value=1.0))
