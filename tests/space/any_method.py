"""Spaces over any of the declared methods, drawn at random from the declarations."""

from dataclasses import replace

import numpy as np
from hypothesis import strategies as st

from evomerge.methods import METHODS, Method, Parameter
from evomerge.space import Choice, Genome, Range, SearchSpace, SpaceSpec, model_limits
from tests.space.families import FAMILIES, index_of

MODELS = ("org/a", "org/b", "org/c")
GRAINS = ((), ("layer_group",), ("kind",), ("tensor",), ("layer_group", "kind"))
ALWAYS = {"epsilon", "density", "weight"}
"""Given in every space: DELLA's defaults are no recipe, and weights must not cancel."""


def range_of(parameter: Parameter) -> tuple[float, float]:
    """Ends that every value between may take, weights away from 0."""
    if parameter.kind == "int":
        return (1, 8)
    if parameter.search is None:
        middle = float(parameter.default or 1)
        low, high = sorted((middle / 2, middle * 2))
        return (low, high)
    low, high = parameter.search
    return (max(low, 0.01) if parameter.name == "weight" else low, high)


def suits(parameter: Parameter, others: list[Parameter]) -> bool:
    """Whether all of the others take the ends of its range."""
    if parameter.kind in {"choice", "bool"}:
        return True
    return all(other.accepts(end) for other in others for end in range_of(parameter))


@st.composite
def searched(draw: st.DrawFn, parameter: Parameter, own: bool) -> Range | Choice:
    """A range or a choice of what the parameter takes; `own`: it may differ between models."""
    if parameter.kind == "choice":
        return Choice(choice=parameter.choices)
    if parameter.kind == "bool":
        return Choice(choice=(True, False))
    per = draw(st.sampled_from(GRAINS)) + (("model",) if own and draw(st.booleans()) else ())
    return Range(range=range_of(parameter), scale=parameter.scale, per=per)


@st.composite
def parameters(draw: st.DrawFn, methods: list[Method]) -> dict[str, Range | Choice]:
    declared: dict[str, list[Parameter]] = {}
    for method in methods:
        for parameter in method.parameters:
            declared.setdefault(parameter.name, []).append(parameter)
    found = {}
    for name, same in declared.items():
        if name in ALWAYS or any(p.required for p in same) or draw(st.booleans()):
            # In a mixture a range must suit all: DELLA's are the narrowest.
            fitting = [p for p in same if suits(p, same)] or same
            narrow = max(fitting, key=lambda p: (p.search or (0, 9))[0])
            shared = tuple(o for o in narrow.choices if all(o in p.choices for p in same))
            narrow = replace(narrow, choices=shared)
            found[name] = draw(searched(narrow, all(p.per_model for p in same)))
    return found


def models_for(methods: list[Method]) -> tuple[str, ...] | None:
    """As many models as all of the methods take, or None where they differ."""
    for count in (3, 2, 1):
        limits = [model_limits(method) for method in methods]
        if all(least <= count <= (most or count) for least, most in limits):
            return MODELS[:count]
    return None


def number_of_models(spec: SpaceSpec) -> int:
    """Three models, or as many as the space's methods take."""
    limits = [model_limits(METHODS[name]) for name in spec.methods if spec.layers is None]
    return min([most for _, most in limits if most is not None], default=3)


@st.composite
def any_space(draw: st.DrawFn, several: bool = False) -> SearchSpace:
    names = [draw(st.sampled_from(sorted(METHODS)))]
    if several:
        fitting = [
            n for n in sorted(METHODS) if models_for([METHODS[names[0]], METHODS[n]]) is not None
        ]
        names = draw(st.lists(st.sampled_from(fitting), min_size=2, max_size=4, unique=True))
    methods = [METHODS[name] for name in names]
    models = models_for(methods)
    if models is None:
        methods, models = methods[:1], models_for(methods[:1])
    spec = SpaceSpec(
        method=Choice(choice=tuple(m.name for m in methods)) if several else methods[0].name,
        layer_groups=draw(st.integers(1, 6)),
        across_layers=draw(st.sampled_from(["step", "linear", "spline"])),
        parameters=draw(parameters(methods)),
    )
    index = index_of(draw(st.sampled_from(sorted(FAMILIES))), draw(st.integers(1, 7)))
    assert models is not None
    return SearchSpace(spec, "org/base", models, index)


@st.composite
def with_genomes(draw: st.DrawFn, space: SearchSpace) -> Genome:
    genes = st.one_of(st.floats(0, 1), st.sampled_from([0.0, 1.0]))
    size = space.dimension
    return np.array(draw(st.lists(genes, min_size=size, max_size=size)), dtype=np.float64)
