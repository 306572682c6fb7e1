"""`plan`: what a search will cost."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from evomerge.cli.options import FormatOption, SearchFile
from evomerge.cli.output import Format, note, print_json, print_table
from evomerge.errors import UsageError

if TYPE_CHECKING:
    from evomerge.planning import Assumed, Machine, Plan

_GIB = float(1 << 30)


def plan(
    file: SearchFile,
    gpu: Annotated[
        str | None, typer.Option("--gpu", metavar="NAME", help="Plan for this GPU, as `H100`.")
    ] = None,
    gib: Annotated[
        float | None, typer.Option("--gib", min=1, help="Or for a GPU with so much memory.")
    ] = None,
    host_gib: Annotated[
        float | None,
        typer.Option("--host-gib", min=1, help="Host memory for each worker with GPUs."),
    ] = None,
    documents: Annotated[
        int | None,
        typer.Option("--documents", min=1, metavar="N", help="Of each task's search split."),
    ] = None,
    prompt_tokens: Annotated[
        int, typer.Option("--prompt-tokens", min=1, metavar="N", help="With --documents.")
    ] = 500,
    answer_tokens: Annotated[
        int, typer.Option("--answer-tokens", min=0, metavar="N", help="With --documents.")
    ] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
    format: FormatOption = Format.TABLE,
) -> None:
    """Predict memory, time and disk of a search, from configs and task files alone."""
    from evomerge.planning import Assumed, make_plan
    from evomerge.spec import load_spec

    spec = load_spec(file)
    sizes = None if documents is None else Assumed(documents, prompt_tokens, answer_tokens)
    machine = _machine(gpu, gib, spec.workers.gpus)
    if machine is not None and host_gib is not None:
        machine = replace(machine, host=host_gib * _GIB)
    found = make_plan(spec, machine, sizes)
    if as_json or format is Format.JSON:
        print_json({**vars(found), **_sums(found)})
        return
    _show(found, sizes)


def _machine(gpu: str | None, gib: float | None, gpus: float) -> Machine | None:
    """The GPU to plan for; None for this machine's CPU."""
    from evomerge.planning import find_gpu, gpu_names, gpu_of_size

    if gpu is not None and gib is not None:
        raise UsageError("names two GPUs", where="--gpu, --gib", remedy="give one of them")
    if gpu is not None:
        return find_gpu(gpu)
    if gib is not None:
        return gpu_of_size(gib)
    if gpus > 0:
        raise UsageError(
            "the workers have GPUs, and which is not said",
            where="workers.gpus",
            remedy=f"add --gpu {'|'.join(gpu_names())}, or --gib N",
        )
    return None


def _sums(found: Plan) -> dict[str, float]:
    return {
        "memory_per_worker": found.memory.own,
        "seconds_per_candidate": found.seconds.total,
        "disk_bytes": found.disk.total,
    }


def _show(found: Plan, assumed: Assumed | None) -> None:
    rows = [*_memory(found), *_time(found), *_disk(found)]
    title = f"{found.name} on {found.machine.name}: a prediction"
    print_table(["", "", "of which"], rows, title=title, right=[])
    for text in _notes(found, assumed):
        note(text)


def _memory(found: Plan) -> list[tuple[str, str, str]]:
    memory = found.memory
    cache = "cache" if found.per_device is None else "cache (what is left)"
    parts = {
        "weights": memory.weights,
        cache: memory.cache,
        "activations": memory.activations,
        "runtime": memory.runtime,
    }
    inside = ", ".join(f"{name} {_size(size)}" for name, size in parts.items())
    rows = [("memory of a worker", _size(memory.own), inside)]
    if found.per_device is not None:
        rows.append(("on each GPU", _size(found.per_device), ""))
    where = {
        "mapped": "mapped files, shared by the workers of a node and given back when memory is short",
        "pinned": "pinned host memory, of which a node needs twice as much",
        "device": "on the device",
    }
    rows.append(("base and experts", _size(memory.models), where[memory.models_on]))
    return rows


def _time(found: Plan) -> list[tuple[str, str, str]]:
    seconds, work = found.seconds, found.workload
    parts = f"merge {seconds.merge:.2g}, forward {seconds.forward:.2g}, rest {seconds.overhead:.2g}"
    amounts = f"{work.prompts:,} prompts, {work.read:,} tokens read, {work.written:,} written"
    counts = (
        f"{found.candidates} candidates, {found.others} baselines and finals, one start a worker"
    )
    hours = (
        [("GPU-hours", f"{found.gpu_hours:.3g}", counts)]
        if found.gpu_hours
        else [("CPU-hours", f"{found.cpu_hours:.3g}", counts)]
    )
    return [
        ("documents of a candidate", f"{work.documents:,}", amounts),
        ("seconds of a candidate", f"{seconds.total:.3g}", parts),
        ("start of a worker", f"{found.start_seconds:.0f} s", ""),
        *hours,
        ("hours", f"{found.hours:.3g}", "all workers busy, no candidate dropped by a race"),
    ]


def _disk(found: Plan) -> list[tuple[str, str, str]]:
    disk = found.disk
    inside = f"store {_size(disk.store)}, exported winner {_size(disk.exported)}"
    staged = f", staged models {_size(disk.staged)}" if disk.staged else ""
    return [("disk", _size(disk.total), inside + staged)]


def _notes(found: Plan, assumed: Assumed | None) -> list[str]:
    notes = [f"speed: {found.machine.source}"]
    if not found.machine.measured:
        notes[0] += ", and assumed shares of its peaks; not measured by us"
    if assumed is not None:
        notes.append("documents and tokens are as you named them")
    notes += found.notes
    if found.fits is not None:
        notes.append(f"does not fit: {found.fits}")
    return notes


def _size(amount: float) -> str:
    if amount >= 0.1 * _GIB:
        return f"{amount / _GIB:.3g} GiB"
    return f"{amount / (1 << 20):.3g} MiB"
