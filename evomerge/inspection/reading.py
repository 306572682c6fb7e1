"""The figures in plain words. Where a paper gives the threshold it is named; the others are rules of thumb.

Rules of thumb say what is worth trying first, and no more than that: which merge is best is what a
search finds out.
"""

from collections.abc import Iterator, Mapping, Sequence

from evomerge.hub import short_name
from evomerge.inspection.types import Geometry, ModelFacts, Pair, Remark

THUMB = "rule of thumb"
ALIKE, ORTHOGONAL, AGAINST = 0.5, 0.2, -0.1
"""Cosines: above the first, task vectors largely say the same; below the second in magnitude, they have
little to do with each other; below the third, they undo each other."""
FEW_OPPOSED, MANY_OPPOSED = 0.25, 0.4
"""Shares of opposite signs; chance gives one half."""
SMALL_CHANGE = 0.002
"""Mean |entry| of a task vector below which DARE's observation holds."""
FAR = 0.3
APART = 0.1
"""How many more opposite signs one model has with the others than they have among themselves."""
UNEVEN = 2.0
"""How many times further the furthest run of layers must be than the nearest."""


def read(facts: Sequence[ModelFacts], geometry: Geometry | None) -> tuple[Remark, ...]:
    """What the figures mean, the most important first."""
    return tuple(_remarks(facts, geometry))


def labels(names: Sequence[str]) -> dict[str, str]:
    """Short names: the last part of each, where that tells all of them apart."""
    short = {name: short_name(name.rpartition("+")[2]) or name for name in names}
    return short if len(set(short.values())) == len(short) else {name: name for name in names}


def percent(share: float | None) -> str:
    """`12 %`, with as many digits as small shares need."""
    if share is None:
        return "–"
    digits = ".0f" if share >= 0.1 else ".1f" if share >= 0.01 else ".2g"
    return f"{100 * share:{digits}} %"


def signed(value: float | None) -> str:
    """`+0.12`."""
    return "–" if value is None else f"{value:+.2f}"


def mean_cosine(geometry: Geometry) -> float | None:
    """The mean over pairs; None without one."""
    return _mean([value for value in geometry.whole.cosine.values() if value is not None])


def mean_opposed(geometry: Geometry) -> float | None:
    """The mean over pairs; None without one."""
    return _mean([value for value in geometry.whole.opposed.values() if value is not None])


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _remarks(facts: Sequence[ModelFacts], geometry: Geometry | None) -> Iterator[Remark]:
    for one in facts:
        for misfit in one.misfits[:1]:
            yield Remark(f"{one.name} cannot be merged with the first model: {misfit}.", "headers")
    if geometry is None:
        return
    short = labels(geometry.models)
    yield from _distances(geometry, short)
    yield from _pairs(geometry, short)
    yield from _layers(geometry)
    yield from _changes(geometry)


def _distances(geometry: Geometry, short: Mapping[str, str]) -> Iterator[Remark]:
    for model, distance in geometry.whole.distance.items():
        if distance == 0:
            text = f"{short[model]} equals the base in every entry that was compared: leave it out."
            yield Remark(text, "exact")
        elif distance is not None and distance > FAR:
            text = (
                f"{short[model]} is far from the base ({percent(distance)} of its norm): long training, "
                "or another base. Averages of models so far apart seldom hold; check the base."
            )
            yield Remark(text, THUMB)


def _pairs(geometry: Geometry, short: Mapping[str, str]) -> Iterator[Remark]:
    cosine, opposed = mean_cosine(geometry), mean_opposed(geometry)
    if cosine is None or opposed is None:
        return
    yield _verdict(geometry, cosine, opposed)
    for pair, value in geometry.whole.cosine.items():
        if value is not None and value < AGAINST:
            text = (
                f"{_both(pair, short)} undo each other in part (cosine {signed(value)}): "
                "a search will want to give one of them little weight, or none."
            )
            yield Remark(text, THUMB)

    yield from _apart(geometry, short)


def _apart(geometry: Geometry, short: Mapping[str, str]) -> Iterator[Remark]:
    """A model that conflicts with all others, where these do not conflict among themselves."""
    for model in geometry.models if len(geometry.models) > 2 else ():
        found = [(model in pair, x) for pair, x in geometry.whole.opposed.items() if x is not None]
        own = _mean([x for mine, x in found if mine])
        others = _mean([x for mine, x in found if not mine])
        if own is not None and others is not None and own > others + APART:
            text = (
                f"{short[model]} stands apart: it has {percent(own)} opposite signs with the others, which "
                f"have {percent(others)} among themselves. Does it belong to them?"
            )
            yield Remark(text, THUMB)


def _verdict(geometry: Geometry, cosine: float, opposed: float) -> Remark:
    count = len(geometry.models)
    who = "These two" if count == 2 else f"These {count}"
    mean = "" if count == 2 else "mean "
    figures = f"{mean}cosine {signed(cosine)}, {percent(opposed)} opposite signs"
    if cosine > ALIKE and opposed < FEW_OPPOSED:
        return Remark(f"{who} agree ({figures}): plain averaging may do.", THUMB)
    if opposed > MANY_OPPOSED:
        text = (
            f"{who} disagree about signs nearly as often as chance would ({figures}): "
            "TIES, which elects a sign for each entry, has something to decide."
        )
        return Remark(text, f"TIES: Yadav et al. 2023; the threshold is a {THUMB}")
    if abs(cosine) < ORTHOGONAL:
        text = (
            f"{who} have little to do with each other ({figures}), as task vectors of different tasks "
            "usually do: they can be added with a weight each."
        )
        return Remark(text, f"Ilharco et al. 2023; the threshold is a {THUMB}")
    text = (
        f"{who} overlap and conflict in part ({figures}): weights and densities are worth a search."
    )
    return Remark(text, THUMB)


def _layers(geometry: Geometry) -> Iterator[Remark]:
    for model in geometry.models:
        found = {
            region.layers: distance
            for region in geometry.by_layers
            if region.layers != "outside" and (distance := region.distance[model])
        }
        if len(found) < 2:
            continue
        near, far = min(found, key=found.__getitem__), max(found, key=found.__getitem__)
        if found[far] > UNEVEN * found[near]:
            times = found[far] / found[near]
            text = (
                f"{labels(geometry.models)[model]} changed {far} {times:.1f} times as much as {near}: "
                "weights for each group of layers may pay."
            )
            yield Remark(text, THUMB)


def _changes(geometry: Geometry) -> Iterator[Remark]:
    changes = [change for change in geometry.whole.mean_change.values() if change > 0]
    if changes and max(changes) < SMALL_CHANGE:
        text = (
            f"Entries change by {max(changes):.2g} on average, less than {SMALL_CHANGE:g}: of such task "
            "vectors DARE can drop most entries at random, so that densities may go low."
        )
        yield Remark(text, "Yu et al. 2024")


def _both(pair: Pair, short: Mapping[str, str]) -> str:
    return f"{short[pair.one]} and {short[pair.other]}"
