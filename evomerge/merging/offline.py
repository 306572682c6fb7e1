"""A merge from a configuration file to a model folder: what `evomerge merge CONFIG OUT` does.

Everything that can be wrong is looked for before the first weight is read, and nothing is left
behind when something is.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from evomerge.calibration.recipes import pinned
from evomerge.hub import model_folders
from evomerge.layout import TOKENIZER_FILES
from evomerge.merging.chat_templates import template_text, write_template
from evomerge.merging.checkpoint import Checkpoint
from evomerge.merging.dam.apply import located
from evomerge.merging.merge import MergeSource, out_dtype
from evomerge.merging.mergekit_yaml import dump_recipe, load_recipe
from evomerge.merging.modules import config_of
from evomerge.merging.out_folder import check_space, model_folder
from evomerge.merging.parts import slices_of
from evomerge.merging.tokenizer import OutputTokenizer
from evomerge.merging.writer import (
    MAX_SHARD,
    Declared,
    copy_side_files,
    total_bytes,
    write_config,
    write_weights,
)
from evomerge.recipe import CONFIG_FILE, Recipe

SIDE_FILES = ("generation_config.json", "LICENSE", "LICENSE.txt")


@dataclass(frozen=True)
class Progress:
    """How far a merge is: tensors and bytes written, of how many."""

    tensor: str
    tensors: int
    tensors_total: int
    bytes_done: int
    bytes_total: int


Report = Callable[[Progress], None]


def merge_config(
    config: Path,
    out: Path,
    *,
    random_seed: int | None = None,
    device: str = "cpu",
    max_shard: int = MAX_SHARD,
    progress: Report | None = None,
    notify: Callable[[str], None] | None = None,
) -> Recipe:
    """Merge the mergekit configuration at `config` into the folder `out`; returns the recipe.

    Model paths are taken as they are, then relative to the configuration's folder, then as names on
    the Hugging Face hub. `random_seed` overrides the configuration's. Raises EvomergeError only.
    """
    recipe = load_recipe(config)
    if random_seed is not None:
        recipe = recipe.model_copy(update={"seed": random_seed})
    models = model_folders(models_of(recipe), config.parent)
    merge_to_folder(
        recipe,
        out,
        models=models,
        device=device,
        max_shard=max_shard,
        progress=progress,
        notify=notify,
        home=config.parent,
    )
    return recipe


def merge_to_folder(
    recipe: Recipe,
    out: Path,
    *,
    models: Mapping[str, Path] | None = None,
    device: str = "cpu",
    max_shard: int = MAX_SHARD,
    progress: Report | None = None,
    notify: Callable[[str], None] | None = None,
    fused: bool | None = None,
    config: str | None = None,
    home: Path | None = None,
) -> None:
    """Merge `recipe` into the folder `out`, which must be new or empty.

    Args:
        models: folder of each model of the recipe, or of each half of `model+adapter`; None
            resolves their names.
        progress: called after each tensor.
        notify: called with sentences for people.
        config: the YAML that the folder carries, where the recipe's own does not say all.
        home: the folder that the paths of calibration texts may be relative to.
    """
    folders = models or model_folders(models_of(recipe))
    recipe = located(pinned(recipe, home), home)
    with MergeSource(folders, device=device, notify=notify, fused=fused, tables=False) as source:
        layouts = source.layouts(recipe)
        source.plan(recipe)
        declared = [Declared(x.name, x.shape, out_dtype(recipe, x)) for x in layouts]
        tokenizer = source.aligned(recipe).tokenizer
        reference = _reference(source.lowered(recipe), source)
        described = config_for(recipe, source)
        if tokenizer is not None:
            described = tokenizer.config(described)
        check_space(out, total_bytes(declared) + (64 << 20))
        with model_folder(out) as folder:
            write_weights(
                folder, declared, _reported(source.stream(recipe), declared, progress), max_shard
            )
            write_config(folder, described, recipe.output_dtype)
            (folder / CONFIG_FILE).write_text(config or dump_recipe(recipe), encoding="utf-8")
            copy_side_files(reference.path, folder, SIDE_FILES)
            _write_tokenizer(folder, reference, tokenizer, notify)
            _write_template(recipe, folder, source)


def models_of(recipe: Recipe) -> tuple[str, ...]:
    """Every model that a merge opens: those that are merged, and the tokenizer's."""
    tokenizer = recipe.tokenizer.source if recipe.tokenizer else None
    extra = () if tokenizer in {None, "base", "union"} else (str(tokenizer),)
    return tuple(dict.fromkeys((*recipe.all_models(), *extra)))


def config_for(recipe: Recipe, source: MergeSource) -> dict[str, Any]:
    """config.json of the merged model, but for its dtype and tokenizer."""
    lowered = source.lowered(recipe)
    return config_of(lowered, _reference(lowered, source).index)


def _reference(recipe: Recipe, source: MergeSource) -> Checkpoint:
    """The model whose config and tokenizer the merged model takes."""
    part = slices_of(recipe)[0]
    name = recipe.base_model or part.base_model or part.sources[0].model
    return source.checkpoints[name]


def _reported(
    tensors: Iterator[tuple[str, Tensor]], declared: list[Declared], progress: Report | None
) -> Iterator[tuple[str, Tensor]]:
    done, total = 0, total_bytes(declared)
    for number, (name, tensor) in enumerate(tensors, start=1):
        yield name, tensor
        done += tensor.nbytes
        if progress is not None:
            progress(Progress(name, number, len(declared), done, total))


def _write_tokenizer(
    folder: Path,
    reference: Checkpoint,
    tokenizer: OutputTokenizer | None,
    notify: Callable[[str], None] | None,
) -> None:
    if tokenizer is None:
        copy_side_files(reference.index.tokenizer_folder, folder, TOKENIZER_FILES)
    else:
        tokenizer.write(folder)
    if notify is not None and not any((folder / name).is_file() for name in TOKENIZER_FILES):
        notify("the merged model has no tokenizer, as its base has none")


def _write_template(recipe: Recipe, folder: Path, source: MergeSource) -> None:
    if recipe.chat_template is None:
        return
    homes = [source.checkpoints[name].index.tokenizer_folder for name in recipe.all_models()]
    text = template_text(recipe.chat_template, homes)
    if text is not None:
        write_template(folder, text)
