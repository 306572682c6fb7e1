"""From a recipe and the checkpoints' headers to what each output tensor is made of.

The structure (which tensors of which models) depends on models and layer ranges alone; a search
plans it once. The values depend on the candidate. Precedence of parameters: source, slice, module,
recipe, default; filters see the name of the tensor read for a model's own parameters, the name of
the tensor written for the others (as mergekit).

Each module has slices and layers of its own, and slices renumber layers. Where a model has several
stacks of layers (text and vision, encoder and decoder), a layer's position is its place in its own.
Tensors outside the layers stand at position 0; embeddings come from the first slice, final norm and
head from the last.
"""

from collections.abc import Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from evomerge.errors import CheckpointError, MergeError
from evomerge.layout import FLOAT_DTYPES, TensorInfo, kind_of, layer_of
from evomerge.merging.checkpoint import Checkpoint, dtype_of
from evomerge.merging.modules import Owned, owned_by, stack_of
from evomerge.merging.parts import Section, sections_of, slices_of
from evomerge.merging.validate import base_source, cancel_error, merged_sources, setting_of
from evomerge.methods import Method, get_method
from evomerge.methods.amounts import weights_cancel
from evomerge.recipe import Recipe, Scalar, Slice, Source, evaluate, position_in_slice

Values = Mapping[str, Scalar]


@dataclass(frozen=True)
class Part:
    """One model's tensor in a merge. `model` is the name in the recipe."""

    model: str
    info: TensorInfo
    source: int


@dataclass(frozen=True)
class Layout:
    """Where one output tensor comes from. `base` is None for methods without deltas.

    `position` is the layer's place in its slice; `slice` the number of the slice; `copy` marks
    tensors that are not merged (buffers), which are taken from the first part.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    base: Part | None
    parts: tuple[Part, ...]
    position: float
    slice: int
    copy: bool = False


@dataclass(frozen=True)
class TensorPlan:
    """One output tensor with every number filled in."""

    layout: Layout
    values: Values
    own: tuple[Values, ...] = field(default=())


def plan_layout(recipe: Recipe, checkpoints: Mapping[str, Checkpoint]) -> tuple[Layout, ...]:
    """Every output tensor, in the order of layers, embeddings first.

    Raises CheckpointError where a tensor is missing or shapes differ.
    """
    sections = sections_of(recipe)
    counts = [len(section.slices) for section in sections]
    return tuple(
        layout
        for place, section in enumerate(sections)
        for layout in _Planner(recipe, checkpoints, section, sum(counts[:place])).layouts()
    )


class _Planner:
    """The layouts of one module; `first` is the number of its first slice among all slices."""

    def __init__(
        self,
        recipe: Recipe,
        checkpoints: Mapping[str, Checkpoint],
        section: Section,
        first: int,
    ) -> None:
        self.recipe = recipe
        self.checkpoints = checkpoints
        self.method = get_method(recipe.merge_method)
        self.slices, self.sliced = section.slices, section.sliced
        self.module = section.module
        self.first = first
        self._known: dict[str, Owned] = {}

    def layouts(self) -> Iterator[Layout]:
        if self.sliced:
            self._refuse_stacks()
        yield from self._outer(0, embedding=True)
        offset = 0
        for number, part in enumerate(self.slices):
            offset += yield from self._layers(number, part, offset)
        yield from self._outer(len(self.slices) - 1, embedding=False)

    def _reference(self, part: Slice) -> Source:
        base = part.base_model or self.recipe.base_model
        return part.sources[0] if base is None else base_source(part, base)

    def _owned(self, model: str) -> Owned:
        """The module's tensors in a model."""
        if model not in self._known:
            tensors = self.checkpoints[model].index.tensors
            self._known[model] = owned_by(self.recipe, self.module, tensors, model)
        return self._known[model]

    def _refuse_stacks(self) -> None:
        """Slices of layers say nothing where a model has several stacks of them."""
        model = self._reference(self.slices[0]).model
        stacks = self._owned(model).stacks
        if len(stacks) > 1:
            raise CheckpointError(
                f"slices of a model with several stacks of layers: {', '.join(stacks)}",
                where=model,
                remedy="give each stack a module of its own under modules:",
            )

    def _outer(self, number: int, *, embedding: bool) -> Iterator[Layout]:
        part = self.slices[number]
        model = self._reference(part).model
        for name in self._owned(model).names:
            tied_head = self.checkpoints[model].tied and kind_of(name) == "head"
            wanted = (kind_of(name) == "embedding") == embedding and not tied_head
            if wanted and layer_of(name) is None:
                yield self._layout(name, part, number, 0.0, None, 0)

    def _layers(self, number: int, part: Slice, offset: int) -> Generator[Layout, None, int]:
        reference = self._reference(part)
        first, last = self._range(reference)
        owned = self._owned(reference.model)
        names = by_layer(owned.names)
        for step in range(last - first):
            for name in names.get(first + step, ()):
                length = last - first if self.sliced else owned.stacks[stack_of(name)]
                position = position_in_slice(step, length)
                yield self._layout(name, part, number, position, step, offset + step)
        return last - first

    def _range(self, source: Source) -> tuple[int, int]:
        layers = self._owned(source.model).layers
        first, last = source.layer_range or (0, layers)
        if last > layers:
            owner = "a model" if self.module is None else f"the module {self.module}"
            raise CheckpointError(
                f"layer_range [{first}, {last}] of {owner} with {layers} layers",
                where=source.model,
                remedy=f"use at most {layers}",
            )
        return first, last

    def _layout(
        self, name: str, part: Slice, number: int, position: float, step: int | None, layer: int
    ) -> Layout:
        base = part.base_model or self.recipe.base_model
        reference = self._part(name, self._reference(part), part, step)
        merged = merged_sources(self.method, part, base)
        parts = tuple(self._part(name, source, part, step) for source in merged)
        for other in parts:
            _check_shapes(reference, other)
        copy = reference.info.dtype not in FLOAT_DTYPES
        written = name if step is None else with_layer(name, layer)
        return Layout(
            written,
            reference.info.shape,
            reference.info.dtype,
            reference if self.method.takes_deltas(base) or copy else None,
            parts,
            position,
            self.first + number,
            copy,
        )

    def _part(self, name: str, source: Source, part: Slice, step: int | None) -> Part:
        """The tensor of `source` that stands where `name` stands in the reference."""
        read = name if step is None else with_layer(name, self._range(source)[0] + step)
        info = self.checkpoints[source.model].find(read)
        if info is None:
            raise CheckpointError(
                f"no tensor {read!r}, which the base model has",
                where=source.model,
                remedy="merge fine-tunes of one base model only",
            )
        dtype_of(info)  # refuses what cannot be merged
        known = [index for index, listed in enumerate(part.sources) if listed is source]
        return Part(source.model, info, known[0] if known else -1)


def _check_shapes(reference: Part, other: Part) -> None:
    if reference.info.shape != other.info.shape:
        raise CheckpointError(
            f"tensor {other.info.name!r} has shape {list(other.info.shape)}, but "
            f"{list(reference.info.shape)} in {reference.model}",
            where=other.model,
            remedy=_shape_remedy(reference.info.shape, other.info),
        )


def _shape_remedy(shape: tuple[int, ...], other: TensorInfo) -> str:
    if kind_of(other.name) in {"embedding", "head"} and other.shape[1:] == shape[1:]:
        return "align the vocabularies by token: add tokenizer: {source: union}, or source: base"
    return "merge models of one architecture"


def by_layer(tensors: Iterable[str]) -> dict[int, list[str]]:
    """Tensor names of each layer, in the order given."""
    names: dict[int, list[str]] = {}
    for name in tensors:
        layer = layer_of(name)
        if layer is not None:
            names.setdefault(layer, []).append(name)
    return names


def with_layer(name: str, layer: int) -> str:
    """The name of the same tensor in another layer."""
    return name.replace(f".{layer_of(name)}.", f".{layer}.", 1)


def resolve(recipe: Recipe, layouts: tuple[Layout, ...]) -> Iterator[TensorPlan]:
    """Fill in the numbers of a recipe. Raises MergeError where weights cancel or are missing."""
    method = get_method(recipe.merge_method)
    slices = slices_of(recipe)
    for layout in layouts:
        part = slices[layout.slice]
        shared = _shared(recipe, method, part, layout)
        own = tuple(_own(recipe, method, part, layout, piece) for piece in layout.parts)
        if shared.get("normalize") and not layout.copy:
            _check_weights([float(values["weight"]) for values in own], layout.name)
        if method.check is not None and (problem := method.check(shared, own)):
            raise MergeError(
                problem,
                where=layout.name,
                remedy=f"see what {method.name} accepts: docs/methods.md",
            )
        yield TensorPlan(layout, shared, own)


def _shared(recipe: Recipe, method: Method, part: Slice, layout: Layout) -> Values:
    return {
        parameter.name: _value(recipe, part, None, method, parameter.name, layout, layout.name)
        for parameter in method.parameters
        if not parameter.per_model
    }


def _own(recipe: Recipe, method: Method, part: Slice, layout: Layout, piece: Part) -> Values:
    source = part.sources[piece.source] if piece.source >= 0 else None
    return {
        parameter.name: _value(
            recipe, part, source, method, parameter.name, layout, piece.info.name
        )
        for parameter in method.parameters
        if parameter.per_model
    }


def _value(
    recipe: Recipe,
    part: Slice,
    source: Source | None,
    method: Method,
    name: str,
    layout: Layout,
    seen: str,
) -> Scalar:
    for setting in setting_of(recipe, part, source, name):
        value = evaluate(setting, seen, layout.position)
        if value is not None:
            return value
    parameter = method.parameter(name)
    if parameter is None or parameter.default is None:
        model = f" of {source.model}" if source else ""
        raise MergeError(
            f"no rule gives {name}{model} a value for tensor {seen!r}",
            remedy=f"add a last rule without a filter to {name}",
        )
    return parameter.default


def _check_weights(weights: list[float], tensor: str) -> None:
    if weights_cancel(weights):
        error = cancel_error(weights, tensor)
        raise MergeError(error.message, where=error.where, remedy=error.remedy)
