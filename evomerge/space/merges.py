"""Genomes of merges: a method and its parameters, decoded into mergekit's grammar and back."""

import math
from collections.abc import Iterator, Mapping

from evomerge.layout import CheckpointIndex
from evomerge.methods import get_method
from evomerge.recipe import Calibration, Recipe, Rule, Scalar, Setting, Source, Value, constant
from evomerge.space.across import spread
from evomerge.space.areas import Area, Sites, sites_of
from evomerge.space.genes import METHOD_GENE, Gene, Genome
from evomerge.space.searched import Choice, Range
from evomerge.space.spec import SpaceSpec

Given = Mapping[str, Scalar | Mapping[str, float]]
"""Parameter values: one, or one a model."""


class MergeCoder:
    """The way between genomes and merges; arguments as in `SearchSpace`."""

    def __init__(
        self,
        spec: SpaceSpec,
        base_model: str,
        models: tuple[str, ...],
        index: CheckpointIndex,
        dtype: str | None,
        texts: str | None,
    ) -> None:
        self._spec, self._values = spec, spec.values
        self._calibration = None if texts is None else Calibration(data=texts)
        self._base_model, self._models, self._dtype = base_model, models, dtype
        self._layers = index.num_layers
        self.groups = min(spec.layer_groups, max(index.num_layers, 1))
        ranges = {name: value for name, value in self._values.items() if isinstance(value, Range)}
        self._sites = {name: sites_of(value, index, self.groups) for name, value in ranges.items()}
        self.genes = tuple(self._all_genes())
        self._place = {gene: place for place, gene in enumerate(self.genes)}

    def decode(self, genome: Genome) -> Recipe:
        """The recipe of a genome of the right length."""
        method = get_method(self._method(genome))
        given = [own for own in method.parameters if own.name in self._values]
        shared = [own.name for own in given if not own.per_model]
        each = [own.name for own in given if own.per_model]
        merged = (self._base_model, *self._models) if method.base == "endpoint" else self._models
        sources = tuple(
            Source(
                model=model, parameters={name: self._setting(name, model, genome) for name in each}
            )
            for model in merged
        )
        return Recipe(
            merge_method=method.name,
            base_model=self._base_model,
            models=sources,
            parameters={name: self._setting(name, None, genome) for name in shared},
            dtype=self._dtype,
            calibration=self._calibration if method.statistics else None,
            seed=self._spec.seed,
        )

    def encode(self, gene: Gene, given: Given, method: str) -> float:
        """The gene near the given values; defaults, or the middle, for what is not given."""
        if gene.parameter == METHOD_GENE:
            assert isinstance(self._spec.method, Choice)
            return self._spec.method.encode(method)
        searched = self._values[gene.parameter]
        value = given.get(gene.parameter)
        if isinstance(value, Mapping):
            present = [value[model] for model in self._models if model in value]
            mean = math.fsum(present) / len(present) if present else None
            value = mean if gene.model is None else value.get(gene.model, mean)
        if isinstance(searched, Choice):
            return searched.encode(self._start_option(gene.parameter, value))
        assert isinstance(searched, Range)
        if isinstance(value, str) or value is None:
            value = self._start_number(gene.parameter, searched)
        return searched.encode(value)

    def _start_option(self, name: str, value: Scalar | None) -> Scalar:
        searched = self._values[name]
        assert isinstance(searched, Choice)
        options = [value, *self._defaults(name), *searched.choice]
        return next(
            option for option in options if option is not None and option in searched.choice
        )

    def _start_number(self, name: str, searched: Range) -> float:
        low, high = searched.range
        numbers = [float(value) for value in self._defaults(name) if not isinstance(value, str)]
        inside = [value for value in numbers if low <= value <= high]
        return inside[0] if inside else searched.decode(0.5)

    def _defaults(self, name: str) -> list[Scalar]:
        """The defaults of a parameter in the methods that have one."""
        declared = [get_method(method).parameter(name) for method in self._spec.methods]
        return [own.default for own in declared if own is not None and own.default is not None]

    def _method(self, genome: Genome) -> str:
        if isinstance(self._spec.method, str):
            return self._spec.method
        return str(self._spec.method.decode(float(genome[0])))

    def _all_genes(self) -> Iterator[Gene]:
        if isinstance(self._spec.method, Choice):
            yield Gene(METHOD_GENE, cells=self._spec.method.cells)
        for name, searched in self._values.items():
            if isinstance(searched, Choice):
                yield Gene(name, cells=searched.cells)
            elif isinstance(searched, Range):
                yield from self._genes_of(name, searched)

    def _genes_of(self, name: str, searched: Range) -> Iterator[Gene]:
        models: tuple[str | None, ...] = self._models if "model" in searched.per else (None,)
        for model in models:
            for area in self._sites[name].areas:
                for gene in _genes_in(name, model, area):
                    yield Gene(**{**vars(gene), "cells": searched.cells})

    def _setting(self, name: str, model: str | None, genome: Genome) -> Setting:
        searched = self._values[name]
        if isinstance(searched, Choice):
            return constant(searched.decode(float(genome[self._place[Gene(name)]])))
        if not isinstance(searched, Range):
            return constant(searched)
        owner = model if "model" in searched.per else None
        return _rules(self._sites[name], self._area_values(name, owner, searched, genome))

    def _area_values(
        self, name: str, model: str | None, searched: Range, genome: Genome
    ) -> dict[Area, Value]:
        found: dict[Area, Value] = {}
        for area in self._sites[name].areas:
            places = [self._place[gene] for gene in _genes_in(name, model, area)]
            values = tuple(searched.decode(float(genome[place])) for place in places)
            found[area] = spread(values, self._spec.across_layers, self._layers, searched)
        return found


def _genes_in(name: str, model: str | None, area: Area) -> list[Gene]:
    groups = [None] if area.groups is None else list(range(area.groups))
    return [Gene(name, model, area.kind, group, area.filter) for group in groups]


def _rules(sites: Sites, values: Mapping[Area, Value]) -> Setting:
    outer = [Rule(filter=tensor, value=_last(values[area])) for tensor, area in sites.outer]
    inner = [Rule(filter=text, value=values[area]) for area in sites.areas for text in area.filters]
    return (*outer, *inner)


def _last(value: Value) -> Value:
    return value[-1] if isinstance(value, tuple) else value
