"""What an inspection finds, as plain data: for tables, JSON, pictures, and the choice of a search."""

from dataclasses import dataclass, field
from typing import NamedTuple


@dataclass(frozen=True)
class AdapterFacts:
    """A LoRA adapter: its rank, its own parameters, and how many tensors it changes."""

    rank: int | None
    parameters: int
    tensors: int


@dataclass(frozen=True)
class ModelFacts:
    """A model as its config, headers and tokenizer show it; no weight is read for it.

    dtypes: parameters by dtype, as torch spells it. vocabulary: rows of the embedding. experts: of
    each mixture-of-experts layer. tokenizer: in words, beside the first model's. misfits: why it
    cannot be merged with the base, or the first model, in sentences.
    """

    name: str
    architecture: str
    parameters: int
    bytes: int
    dtypes: dict[str, int]
    layers: int
    hidden_size: int | None
    vocabulary: int | None
    tied_embeddings: bool
    experts: int | None
    adapter: AdapterFacts | None
    tokenizer: str
    misfits: tuple[str, ...] = ()


class Pair(NamedTuple):
    """Two models, as they were named."""

    one: str
    other: str


@dataclass(frozen=True)
class Region:
    """Some of the tensors, measured.

    layers: a run of layers in words, `all`, or `outside`; kind: as `layout.KINDS`, or `all`.
    distance: ‖task vector‖ / ‖base‖ of each model. mean_change: mean |entry| of each task vector.
    cosine: of each pair's task vectors; None where one of them is zero. opposed: of the entries that
    both keep when trimmed, the share with opposite signs; shared: how many of the first's kept
    entries the second keeps too. conflict: of the entries that two models or more keep, the share on
    which their signs differ. None wherever there is nothing to divide by.
    """

    layers: str
    kind: str
    parameters: int
    distance: dict[str, float | None]
    mean_change: dict[str, float]
    cosine: dict[Pair, float | None]
    opposed: dict[Pair, float | None]
    shared: dict[Pair, float | None]
    conflict: float | None


@dataclass(frozen=True)
class Geometry:
    """How far models are from their base, and how much their task vectors conflict.

    told_by: how the base was found out, in words. regions: layer groups by kinds. layers_read: which
    layers were sampled; None: all. left_out: tensors that cannot be compared, with the reason.
    density: the share of entries, by magnitude in each tensor, that trimming keeps.
    """

    base: str
    told_by: str
    models: tuple[str, ...]
    whole: Region
    by_kind: tuple[Region, ...]
    by_layers: tuple[Region, ...]
    regions: tuple[Region, ...]
    density: float
    layers_read: tuple[int, ...] | None = None
    left_out: dict[str, str] = field(default_factory=dict)


class Remark(NamedTuple):
    """One sentence of the reading: `source` is a paper, or `rule of thumb`."""

    text: str
    source: str


@dataclass(frozen=True)
class Inspection:
    """Everything: `geometry` is None where no base is known, and `no_geometry` then says why."""

    models: tuple[ModelFacts, ...]
    geometry: Geometry | None
    no_geometry: str | None
    reading: tuple[Remark, ...]
