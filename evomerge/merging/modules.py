"""Which tensors are a module's, and where config.json counts its layers.

A module's name is how the names of its tensors begin (`vision_tower`, `model.visual`), or one of
mergekit's names for the parts of models that have several, whose prefixes `_KNOWN` lists. A tensor
belongs to the module with the longest prefix that fits it. Torch-free.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from evomerge.errors import CheckpointError, did_you_mean
from evomerge.layout import CheckpointIndex, layer_of
from evomerge.merging.parts import WHOLE, sections_of
from evomerge.recipe import Recipe

_KNOWN: dict[str, tuple[str, ...]] = {
    "text_decoder": ("language_model", "model.language_model", "model", "lm_head"),
    "vision_tower": (
        *("vision_tower", "model.vision_tower", "visual", "model.visual"),
        *("vision_model", "model.vision_model"),
    ),
    "vision_model": ("vision_model", "model.vision_model"),
    "multi_modal_projector": (
        *("multi_modal_projector", "model.multi_modal_projector", "visual.merger"),
        *("model.visual.merger", "model.visual.deepstack_merger_list"),
    ),
    "encoder": ("encoder", "model.encoder"),
    "decoder": ("decoder", "model.decoder", "proj_out"),
    "shared": ("shared", "lm_head"),
}
"""mergekit's module names and how the tensors of such modules begin, in old checkpoints and new."""

_SECTIONS = {"text_config": ("text", "language"), "vision_config": ("vis",)}
_COUNTS = ("num_hidden_layers", "n_layer", "num_layers", "depth")


def tensors_of(
    modules: Iterable[str | None], tensors: Iterable[str], model: str
) -> dict[str | None, tuple[str, ...]]:
    """The tensors of each module, sorted. None has all of them, `default` what no other one has.

    Raises CheckpointError where a module has none, or a tensor has no module.
    """
    names, wanted = sorted(tensors), list(modules)
    if wanted in ([None], [WHOLE]):
        return {wanted[0]: tuple(names)}
    homes = _prefixes([str(module) for module in wanted if module != WHOLE], names)
    found: dict[str | None, list[str]] = {module: [] for module in wanted}
    lost: list[str] = []
    for name in names:
        home = _home(name, homes) or (WHOLE if WHOLE in found else None)
        (lost if home is None else found[home]).append(name)
    _refuse_empty(found, names, model)
    if lost:
        raise CheckpointError(
            f"{len(lost)} tensors are in no module: {', '.join(lost[:3])}{' …' * (len(lost) > 3)}",
            where=model,
            remedy=f"add a module: {', '.join(_beginnings(lost))}",
        )
    return {module: tuple(own) for module, own in found.items()}


def _prefixes(modules: list[str], names: list[str]) -> dict[str, str | None]:
    """Each prefix and the module that it stands for; None for known parts that the recipe lacks.

    Those matter where a known name is used: `model.visual` is no part of a `text_decoder`.
    """
    literal = {m for m in modules if any(_begins(name, m) for name in names)}
    homes: dict[str, str | None] = {}
    if literal != set(modules):
        homes = dict.fromkeys(prefix for known in _KNOWN.values() for prefix in known)
    for module in modules:
        if module not in literal:
            homes.update(dict.fromkeys(_KNOWN.get(module, ()), module))
    return {**homes, **{module: module for module in literal}}


def _begins(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(prefix + ".")


def _home(name: str, homes: Mapping[str, str | None]) -> str | None:
    fitting = [prefix for prefix in homes if _begins(name, prefix)]
    return homes[max(fitting, key=len)] if fitting else None


def _refuse_empty(found: Mapping[str | None, list[str]], names: Iterable[str], model: str) -> None:
    for module, own in found.items():
        if not own:
            raise CheckpointError(
                f"no tensor belongs to the module {module!r}",
                where=model,
                remedy=did_you_mean(str(module), _beginnings(names)),
            )


def _beginnings(names: Iterable[str]) -> list[str]:
    """How tensor names begin: as far as the first part that has siblings in most models."""
    short = {".".join(name.split(".")[: 2 if name.startswith("model.") else 1]) for name in names}
    return sorted(short)


class Owned(NamedTuple):
    """What a module has in one model: tensor names, sorted, and the layers of each stack."""

    names: tuple[str, ...]
    stacks: Mapping[str, int]

    @property
    def layers(self) -> int:
        return max(self.stacks.values(), default=0)


def owned_by(recipe: Recipe, module: str | None, tensors: Iterable[str], model: str) -> Owned:
    """What a module of a recipe has in a model; None is the whole model. Raises CheckpointError."""
    names = tensors_of(list(recipe.modules or [None]), tensors, model)[module]
    return Owned(names, stacks_of(names))


def stacks_of(names: Iterable[str]) -> dict[str, int]:
    """Each stack of layers, by how its tensors' names begin, and its number of layers."""
    stacks: dict[str, int] = {}
    for name in names:
        layer = layer_of(name)
        if layer is not None:
            stack = stack_of(name)
            stacks[stack] = max(stacks.get(stack, 0), layer + 1)
    return stacks


def stack_of(name: str) -> str:
    """What comes before the number of the layer in the name of a tensor that has one."""
    return name.partition(f".{layer_of(name)}.")[0]


def config_of(recipe: Recipe, index: CheckpointIndex) -> dict[str, Any]:
    """config.json of the merged model: the reference model's, with the numbers of layers of slices.

    Raises CheckpointError where it is not known what to change.
    """
    config = dict(index.config)
    for section in sections_of(recipe):
        if not section.sliced:
            continue
        spans = [run.sources[0].layer_range or (0, 0) for run in section.slices]
        taken = [layer for first, last in spans for layer in range(first, last)]
        own = owned_by(recipe, section.module, index.tensors, str(index.path)).layers
        module = section.module or WHOLE
        if taken != list(range(own)):
            config = _with_lists(config, module, own, taken)
        if len(taken) != own:
            config = _with_module_layers(config, module, len(taken))
    return config


def _with_lists(
    config: Mapping[str, Any], module: str, own: int, taken: list[int]
) -> dict[str, Any]:
    """Lists that say something of every layer (`layer_types`) follow the layers that are taken."""
    section = _section(config, module)
    place = config if section is None else config[section]
    lists = {
        key: [value[layer] for layer in taken]
        for key, value in place.items()
        if "layer" in key and isinstance(value, list) and len(value) == own > max(taken, default=0)
    }
    return {**config, **lists} if section is None else {**config, section: {**place, **lists}}


def _with_module_layers(config: Mapping[str, Any], module: str, layers: int) -> dict[str, Any]:
    section = _section(config, module)
    place, part = config if section is None else config[section], module.rpartition(".")[2]
    own = [key for key in (f"{part}_layers", f"num_{part}_layers") if key in place]
    keys = own or [key for key in _COUNTS if key in place]
    if not keys:
        raise CheckpointError(
            f"config.json does not say how many layers the module {module!r} has",
            where=module,
            remedy="keep its number of layers",
        )
    changed = {**place, **dict.fromkeys(keys, layers)}
    return changed if section is None else {**config, section: changed}


def _section(config: Mapping[str, Any], module: str) -> str | None:
    """The part of config.json that is about a module; None for the top."""
    for name, marks in _SECTIONS.items():
        if name in config and any(mark in module for mark in marks):
            return name
    counted = any(key in config for key in _COUNTS)
    return "text_config" if module == WHOLE and not counted and "text_config" in config else None
