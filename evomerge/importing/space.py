"""From a genome of mergekit-evolve to a search space that holds everything it can express.

Ranges are bounded here; the bounds are wide enough for ten steps of the original's start (1/6 each
from 1/n). Where weights are divided by their sum, only their ratios count, and 0 is left out.
"""

from dataclasses import dataclass
from typing import Any

from evomerge.errors import SpecError
from evomerge.importing.evolve import Read

HIGHEST = 2.0
STEP = 1 / 6
"""Standard deviation of mergekit-evolve's first generation, in units of a weight."""


@dataclass(frozen=True)
class Space:
    """The models and the `space:` block; `notes` are sentences about what differs.

    block: as a search file has it. sigma0: the same first step, as a share of the weights' range.
    """

    base: str
    models: tuple[str, ...]
    block: dict[str, Any]
    sigma0: float
    notes: tuple[str, ...]


def space_of(read: Read, num_layers: int | None) -> Space:
    """The space of a configuration.

    Args:
        num_layers: of the models; needed where the genome divides them.

    Raises SpecError where it is not known, or does not divide.
    """
    genome = read.config.genome
    groups = _groups(read, num_layers)
    base, models, method, notes = _models(read)
    if method == "slerp":
        block: dict[str, Any] = {"method": "slerp", "t": _range(0.0, 1.0, _per(groups, []))}
        notes.append(
            "t of each layer group is searched itself; mergekit-evolve takes it from a softmax of two "
            "weights."
        )
    else:
        per = _per(groups, ["model"], filtered=bool(genome.filters))
        block = {"method": method, "weight": _weight(read, method, per)}
        if method in {"ties", "dare_ties"}:
            block["density"] = _filtered(read, _range(0.01, 1.0, per))
        if method != "linear" or not genome.normalizes:
            block["normalize"] = genome.normalizes and method == genome.merge_method
    if groups > 1:
        block["layer_groups"] = groups
        notes += _outer_notes(read)
        if genome.smooth:
            block["across_layers"] = "linear"
    low, high = block["weight"]["range"] if "weight" in block else (0.0, 1.0)
    return Space(base, models, block, round(STEP / (high - low), 3), tuple(notes))


def _models(read: Read) -> tuple[str, tuple[str, ...], str, list[str]]:
    """Base, fine-tunes, method: a base among the models is no fine-tune here."""
    genome = read.config.genome
    base = genome.base_model or genome.models[0]
    models = tuple(dict.fromkeys(model for model in genome.models if model != base))
    notes = []
    method = genome.merge_method
    if method == "linear" and base in genome.models:
        if not genome.normalizes:
            raise SpecError(
                "an average that includes the base, with normalize: false, has no counterpart",
                where=read.where("genome", "normalize"),
                remedy="leave normalize out, or name a base_model that is none of the models",
            )
        method = "task_arithmetic"
        notes.append(
            f"{base} is one of the averaged models, and the base here. Averages with it are sums of the "
            "others' differences from it, with weights that add up to 1 or less: task_arithmetic."
        )
    elif base in genome.models and method != "slerp":
        notes.append(
            f"{base} is the base and one of the models: its own difference from itself is 0, so it is left "
            "out."
            + (
                " Its weight counted when weights were divided by their sum."
                if genome.normalizes
                else ""
            )
        )
    if genome.base_model is None:
        notes.append(
            f"No base_model is named: engines start with {base}. Name another one if you like."
        )
    if method == "slerp":
        base, models = _slerp_pair(read, base, models)
    return base, models, method, notes


def _slerp_pair(read: Read, base: str, models: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """slerp is symmetric: the first of two models stands for the base, whatever base was named."""
    first, second = read.config.genome.models
    return (base, models) if len(models) == 1 else (first, (second,))


def _groups(read: Read, num_layers: int | None) -> int:
    size = read.config.genome.layer_granularity
    if size < 1:
        return 1
    where = read.where("genome", "layer_granularity")
    if num_layers is None:
        raise SpecError(
            "how many groups these are depends on the models' layers, which are not known here",
            where=where,
            remedy="give --layers N, or put the first model's config.json where its path leads",
        )
    if num_layers % size:
        raise SpecError(
            f"{num_layers} layers cannot be divided into groups of {size}",
            where=where,
            remedy=f"choose a divisor of {num_layers}, as for mergekit-evolve",
        )
    return num_layers // size


def _per(groups: int, per: list[str], *, filtered: bool = False) -> list[str]:
    return [*per, *(["layer_group"] if groups > 1 else []), *(["filter"] if filtered else [])]


def _range(low: float, high: float, per: list[str]) -> dict[str, Any]:
    return {"range": [low, high], **({"per": per} if per else {}), "step": 0.001}


def _weight(read: Read, method: str, per: list[str]) -> dict[str, Any]:
    genome = read.config.genome
    averaged = method != genome.merge_method
    if averaged:
        low, high = 0.0, 1.0
    elif genome.allow_negative_weights:
        low, high = -1.0, HIGHEST
    else:
        low, high = (0.001 if genome.normalizes else 0.0), HIGHEST
    return _filtered(read, _range(low, high, per))


def _filtered(read: Read, block: dict[str, Any]) -> dict[str, Any]:
    """With the genome's filters, the first that matches wins, and the rest behind them."""
    filters = read.config.genome.filters
    if not filters:
        return block
    named = {
        name.strip("._").replace(".", "_") or f"filter_{n}": name for n, name in enumerate(filters)
    }
    return {**block, "filters": {**named, "rest": "*"}}


def _outer_notes(read: Read) -> list[str]:
    if not read.config.genome.smooth:
        return [
            "Embedding and head have genes of their own here; with mergekit-evolve's slices they take those "
            "of the first and the last group, which is one point of this space."
        ]
    return [
        "The final norm takes the last anchor's values; mergekit gives it the first one's. That is the one "
        "tensor on which no point of this space is the same."
    ]
