"""An imported search as a commented file: what differs stands beside what it differs in."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evomerge.drafting.text import comment, placed, scalar
from evomerge.errors import CheckpointError
from evomerge.evaluation.public_tests import public_test
from evomerge.headers import load_json
from evomerge.hub import parts_of
from evomerge.importing.evolve import Evolve, Read, read_evolve
from evomerge.importing.space import Space, space_of

MAX_FEVALS = 100
"""mergekit-evolve's default budget, an option of its command line."""
_LAYERS = ("num_hidden_layers", "n_layer", "num_layers")


@dataclass(frozen=True)
class Imported:
    """The search file's text, and everything that has no counterpart, each with its line."""

    text: str
    without_counterpart: tuple[str, ...]


def import_evolve(
    file: Path,
    *,
    num_layers: int | None = None,
    candidates: int = MAX_FEVALS,
    include_path: Path | None = None,
    folder: Path | None = None,
) -> Imported:
    """The search that a mergekit-evolve configuration asks for.

    Args:
        num_layers: of the models; None reads the first one's config, where it is a folder.
        candidates: `--max-fevals` there. include_path: `--task-search-path` there.
        folder: where the search file will lie; paths below it are written relative to it.

    Raises UsageError for what cannot be said in a search file.
    """
    read = read_evolve(file)
    layers = num_layers or _layers_of(read.config.genome.models[0])
    space = space_of(read, layers)
    lost = tuple(_without_counterpart(read))
    lines = [
        *comment(f"Imported from {file.name}, a configuration of mergekit-evolve."),
        *(line for one in lost for line in comment(f"No counterpart: {one}")),
        f"name: {scalar(file.stem)}",
        *_models(space, folder or Path()),
        "",
        *_space(space),
        "",
        *_objective(read.config, include_path, folder or Path()),
        "",
        *_strategy(read.config, space),
        "",
        *comment("mergekit-evolve takes it as --max-fevals, 100 by default."),
        f"budget: {{candidates: {candidates}}}",
        "",
        *comment("dtype: mergekit-evolve writes bfloat16 whatever the models have."),
        "out_dtype: bfloat16",
        "workers: {max: 1, gpus: 0}  # gpus: 1 for workers on GPUs",
    ]
    return Imported("\n".join(lines) + "\n", lost)


def _layers_of(model: str) -> int | None:
    config = Path(parts_of(model)[0]).expanduser() / "config.json"
    if not config.is_file():
        return None
    try:
        content = load_json(config)
    except CheckpointError:
        return None
    found = [content[key] for key in _LAYERS if isinstance(content.get(key), int)]
    return found[0] if found else None


def _models(space: Space, folder: Path) -> Iterator[str]:
    yield f"base_model: {scalar(placed(space.base, folder))}"
    yield "models:"
    yield from (f"  - {scalar(placed(model, folder))}" for model in space.models)


def _space(space: Space) -> Iterator[str]:
    for text in space.notes:
        yield from comment(text)
    yield "space:"
    for name, value in space.block.items():
        yield f"  {name}: {flow(value)}"


def flow(value: Any) -> str:
    """A value on one line of YAML."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{scalar(k)}: {flow(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(flow, value)) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, int | float) else scalar(value)


def _objective(config: Evolve, include_path: Path | None, folder: Path) -> Iterator[str]:
    yield "objective:"
    if include_path is not None:
        yield f"  include_path: {scalar(placed(str(include_path), folder))}"
    if any(public_test(task.name) for task in config.tasks):
        yield from comment(
            "A benchmark's own test set: a score reached by searching on it says nothing about it.",
            "  ",
        )
        yield "  accept_benchmark_tests: true"
    yield from comment(
        "A weighted mean, as there a weighted sum: the order of candidates is the same. Metrics that should "
        "be small are minimised here.",
        "  ",
    )
    yield "  tasks:"
    for task in config.tasks:
        metric = task.metric.removesuffix(",none")
        named = {"task": task.name, "metric": metric, "weight": task.weight}
        yield f"    - {flow(named)}"
    yield from comment(
        "There, all documents are searched on, and none is held back. Here the winner is chosen on "
        "`validation` and reported on `test`.",
        "  ",
    )
    yield "  splits: {search: 0.6, validation: 0.2, test: 0.2}"
    if config.limit is not None:
        yield f"  limit: {config.limit}"
    if config.num_fewshot is not None:
        yield f"  num_fewshot: {config.num_fewshot}"
    yield f"  apply_chat_template: {flow(config.apply_chat_template)}"


def _strategy(config: Evolve, space: Space) -> Iterator[str]:
    yield from comment(
        "CMA-ES with the same first step, as a share of the range; `name: auto` would choose by genes and "
        "budget. It starts at the best trivial merge, which is scored first; there, at the uniform average."
    )
    del config
    yield f"strategy: {{name: cma, sigma0: {space.sigma0:g}, seed: 0}}"


def _without_counterpart(read: Read) -> Iterator[str]:
    config, genome = read.config, read.config.genome
    for path in read.unknown:
        yield f"{read.where(*path)}: not known to mergekit-evolve 0.1.5 either; left out."
    if config.shuffle:
        yield f"{read.where('shuffle')}: documents always stand in one fixed, shuffled order."
    if config.random_init:
        yield f"{read.where('random_init')}: searches start from scored baselines."
    if config.apply_chat_template and not config.fewshot_as_multiturn:
        where = read.where("fewshot_as_multiturn")
        yield f"{where}: with a chat template, examples are always turns of their own."
    if genome.tokenizer_source not in {None, "base", genome.base_model}:
        where = read.where("genome", "tokenizer_source")
        yield f"{where}: engines keep the base's tokenizer; other models' rows are aligned to it."
    if genome.merge_method == "dare_ties":
        where = read.where("genome", "merge_method")
        yield f"{where}: masks are drawn anew for each candidate there; here one `seed` fixes them."


__all__ = ["MAX_FEVALS", "Imported", "flow", "import_evolve"]
