"""An inspection as plain mappings: what JSON can say, with pairs as lists of two names."""

import dataclasses
from typing import Any

from evomerge.inspection.types import Geometry, Inspection, Pair, Region

_OF_PAIRS = ("cosine", "opposed", "shared")


def to_json(found: Inspection) -> dict[str, Any]:
    """Every figure; regions carry their pairs as `[{models: [one, other], cosine, …}]`."""
    return {
        "models": [dataclasses.asdict(model) for model in found.models],
        "geometry": None if found.geometry is None else _geometry(found.geometry),
        "no_geometry": found.no_geometry,
        "reading": [remark._asdict() for remark in found.reading],
    }


def _geometry(found: Geometry) -> dict[str, Any]:
    plain = {name: getattr(found, name) for name in ("base", "told_by", "models", "density")}
    plain |= {name: getattr(found, name) for name in ("layers_read", "left_out")}
    several = {
        name: [_region(region) for region in getattr(found, name)]
        for name in ("by_kind", "by_layers", "regions")
    }
    return {**plain, "whole": _region(found.whole), **several}


def _region(found: Region) -> dict[str, Any]:
    plain = {
        field.name: getattr(found, field.name)
        for field in dataclasses.fields(found)
        if field.name not in _OF_PAIRS
    }
    return {**plain, "pairs": [_pair(found, pair) for pair in found.cosine]}


def _pair(found: Region, pair: Pair) -> dict[str, Any]:
    return {"models": list(pair), **{name: getattr(found, name)[pair] for name in _OF_PAIRS}}
