"""`merge`: a drop-in for `mergekit-yaml`, with its options.

Options that change nothing here are taken all the same, so that existing scripts keep working; the
ones a user may rely on are answered with a line that says so.
"""

from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evomerge.cli.output import note
from evomerge.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from evomerge.merging.chain import Merged
    from evomerge.merging.offline import Progress

_PANEL = "Accepted for mergekit's sake, without effect"


def _ignored(*names: str) -> Any:
    return typer.Option(*names, rich_help_panel=_PANEL, help="No effect.")


def merge(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="A mergekit configuration.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="A new or empty folder.")],
    copy_tokenizer: Annotated[
        bool, typer.Option("--copy-tokenizer/--no-copy-tokenizer", help="Copy the tokenizer.")
    ] = True,
    out_shard_size: Annotated[
        str, typer.Option("--out-shard-size", help="Bytes a file, as 500M or 5B.")
    ] = "5B",
    random_seed: Annotated[
        int | None, typer.Option("--random-seed", min=0, help="Overrides the configuration's.")
    ] = None,
    cuda: Annotated[bool, typer.Option("--cuda/--no-cuda", help="Compute on the GPU.")] = False,
    device: Annotated[
        str | None, typer.Option("--device", help="Where to compute: cpu, cuda, cuda:1, auto.")
    ] = None,
    intermediate_dir: Annotated[
        Path | None,
        typer.Option("--intermediate-dir", "-I", metavar="FOLDER", help="Keep what others use."),
    ] = None,
    num_threads: Annotated[
        int | None, typer.Option("--num-threads", "-j", min=1, help="Threads for arithmetic.")
    ] = None,
    write_model_card: Annotated[
        bool, typer.Option("--write-model-card/--no-write-model-card", help="Write README.md.")
    ] = True,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no notes.")] = False,
    verbosity: Annotated[int, typer.Option("-v", count=True, help="Say more.")] = 0,
    trust_remote_code: Annotated[
        bool, typer.Option("--trust-remote-code/--no-trust-remote-code", help="Refused.")
    ] = False,
    safe_serialization: Annotated[
        bool, typer.Option("--safe-serialization/--no-safe-serialization", help="Always safe.")
    ] = True,
    allow_crimes: Annotated[bool, _ignored("--allow-crimes/--no-allow-crimes")] = False,
    lazy_unpickle: Annotated[bool, _ignored("--lazy-unpickle/--no-lazy-unpickle")] = False,
    low_cpu_memory: Annotated[bool, _ignored("--low-cpu-memory/--no-low-cpu-memory")] = False,
    clone_tensors: Annotated[bool, _ignored("--clone-tensors/--no-clone-tensors")] = False,
    read_to_gpu: Annotated[bool, _ignored("--read-to-gpu/--no-read-to-gpu")] = False,
    multi_gpu: Annotated[bool, _ignored("--multi-gpu/--no-multi-gpu")] = False,
    async_write: Annotated[bool, _ignored("--async-write/--no-async-write")] = False,
    write_threads: Annotated[int | None, _ignored("--write-threads")] = None,
    transformers_cache: Annotated[
        Path | None,
        typer.Option("--transformers-cache", help="Refused: set HF_HOME to move the hub's cache."),
    ] = None,
    lora_merge_cache: Annotated[Path | None, _ignored("--lora-merge-cache")] = None,
) -> None:
    """Merge models as a mergekit configuration says; takes the options of mergekit-yaml."""
    _refuse(trust_remote_code, safe_serialization, transformers_cache)
    place = _device(device, cuda)
    if allow_crimes and not quiet:
        note("--allow-crimes has no effect: models must share their shapes")
    for merged in _merge(
        config, out, place, out_shard_size, random_seed, intermediate_dir, num_threads, quiet
    ):
        if not copy_tokenizer:
            _drop_tokenizer(merged.folder)
        if write_model_card:
            from evomerge.export.card import write_card

            write_card(merged.folder, merged.recipe)
        if not quiet:
            made = f"{merged.recipe.merge_method}, {merged.recipe.recipe_id}"
            note(f"{merged.folder} holds the merged model ({made})")


def _merge(
    config: Path,
    out: Path,
    device: str,
    shard_size: str,
    seed: int | None,
    intermediate: Path | None,
    threads: int | None,
    quiet: bool,
) -> "list[Merged]":
    if not config.is_file():
        raise UsageError("no such file", where=str(config), remedy="name a mergekit configuration")
    max_shard = parse_size(shard_size)
    from evomerge.merging.chain import Options, merge_file
    from evomerge.merging.device import use_threads

    if threads is not None:
        use_threads(threads)
    return merge_file(
        config,
        out,
        Options(seed, device, max_shard, intermediate),
        meter=lambda title: _bar(title, quiet),
        notify=None if quiet else note,
    )


@contextmanager
def _bar(title: str, quiet: bool) -> "Iterator[Callable[[Progress], None] | None]":
    if quiet:
        yield None
        return
    from evomerge.cli.progress import counted

    with counted(title) as count:
        yield lambda progress: count(progress.bytes_done, progress.bytes_total)


def _refuse(remote_code: bool, safe: bool, cache: Path | None) -> None:
    if remote_code:
        raise UsageError(
            "code from model folders is never run: a merge needs weights and configs alone",
            where="--trust-remote-code",
            remedy="leave it out",
        )
    if not safe:
        raise UsageError(
            "only safetensors are written", where="--no-safe-serialization", remedy="leave it out"
        )
    if cache is not None:
        raise UsageError(
            "the hub's cache is not ours to move",
            where="--transformers-cache",
            remedy=f"set the environment: HF_HOME={cache}",
        )


def parse_size(text: str) -> int:
    """mergekit's sizes: `5B`, `500M`, `1000k`, `123`; it calls them parameters and counts bytes."""
    units = {"k": 1_000, "m": 1_000_000, "b": 1_000_000_000, "g": 1_000_000_000}
    number, factor = text.strip().lower(), 1
    if number and number[-1] in units:
        number, factor = number[:-1], units[number[-1]]
    try:
        size = int(float(number) * factor)
    except ValueError:
        size = 0
    if size <= 0:
        raise UsageError(
            f"{text!r} is no size", where="--out-shard-size", remedy="write 500M or 5B"
        )
    return size


def _device(device: str | None, cuda: bool) -> str:
    from evomerge.merging.device import choose_device

    where = "--device" if device else "--cuda"
    return choose_device(device or ("cuda" if cuda else "cpu"), where)


def _drop_tokenizer(out: Path) -> None:
    from evomerge.layout import TOKENIZER_FILES

    for name in TOKENIZER_FILES:
        (out / name).unlink(missing_ok=True)
