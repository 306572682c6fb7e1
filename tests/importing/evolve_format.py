"""What mergekit-evolve makes of an array of numbers: the merge configuration, by the format's facts.

Written after what mergekit 0.1.5 was seen to give for arrays of numbers; no code of it is used.
"""

from typing import Any

import numpy as np

PARAMETERS = {"ties": ("weight", "density"), "dare_ties": ("weight", "density"), "slerp": ("t",)}
NORMALIZED = ("linear", "ties", "dare_ties")


def parameters_of(method: str) -> tuple[str, ...]:
    return PARAMETERS.get(method, ("weight",))


def merge_config(genome: dict[str, Any], array: np.ndarray, num_layers: int) -> dict[str, Any]:
    """The merge of `array`, [groups, models, filters + 1, parameters]."""
    values = []
    for place, name in enumerate(parameters_of(genome["merge_method"])):
        part = array[..., place]
        if name == "density":
            part = np.clip(np.abs(part), 0, 1)
        elif not genome.get("allow_negative_weights"):
            part = np.abs(part)
        values.append(part)
    normalize = genome.get("normalize")
    if normalize is None:
        normalize = genome["merge_method"] in NORMALIZED
    return {
        "merge_method": genome["merge_method"],
        "parameters": {"normalize": normalize},
        **({"base_model": genome["base_model"]} if genome.get("base_model") else {}),
        **_layout(genome, values, num_layers),
    }


def _layout(genome, values, num_layers):
    if genome.get("smooth"):
        return {"models": [_model(genome, values, m, slice(None)) for m in _numbers(genome)]}
    groups = values[0].shape[0]
    size = num_layers // groups
    slices = []
    for group in range(groups):
        sources = [_model(genome, values, m, group) for m in _numbers(genome)]
        for source in sources:
            source["layer_range"] = [group * size, (group + 1) * size]
        slices.append({"sources": sources})
    return {"slices": slices}


def _numbers(genome):
    return range(len(genome["models"]))


def _model(genome, values, number, group):
    filters = [*(genome.get("filters") or []), None]
    found = {}
    for name, array in zip(parameters_of(genome["merge_method"]), values, strict=True):
        rules = [
            {**({"filter": f} if f else {}), "value": np.asarray(array[group, number, n]).tolist()}
            for n, f in enumerate(filters)
        ]
        found[name] = rules if len(filters) > 1 else rules[0]["value"]
    return {"model": genome["models"][number], "parameters": found}
