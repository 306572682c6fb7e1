"""What a search will cost, from shapes of models, sizes of tasks, and the speed of a machine.

A candidate is a merge and a pass over the documents. The merge moves what it reads and writes through
memory. The pass is matrix products, a price for each token in each layer (attention, norms), one for each
step of the engine, and one for each request and document, which are Python's. docs/planning.md has the
formulas and how near they came.
"""

import math
from dataclasses import dataclass
from pathlib import Path

from evomerge.controller.baselines import fixed_baselines
from evomerge.errors import UsageError
from evomerge.fitness import Split
from evomerge.hub import model_folders, parts_of
from evomerge.planning.memory import fits, per_device, worker_memory
from evomerge.planning.shape import ModelShape, adapter_bytes, read_shape
from evomerge.planning.types import Disk, Machine, Plan, Seconds, Workload
from evomerge.planning.workload import Assumed, assumed_workload, counted_workloads
from evomerge.racing import layout_of
from evomerge.spec import SearchSpec

TOUCHED = 60
"""Entries of a token's hidden state that a layer's norms, attention and activation read and write,
in multiples of the hidden size."""
PRODUCTS = 1.2
"""How much longer products take in an engine than timed by themselves, as other data passes the caches."""
TOKEN_SECONDS, STEP_SECONDS = 2e-6, 2.5e-4
"""On a CPU, for each layer: of a token, of a step, whatever their size."""
GPU_STEP_SECONDS = 0.01
"""Of a whole step on a GPU, in which the host schedules: assumed, not measured by us."""
REQUEST_SECONDS, DOCUMENT_SECONDS, TENSOR_SECONDS = 2.9e-4, 5e-5, 1e-4
"""The host's, whatever the device: scheduling and reading answers; lm-eval's scoring; one tensor's merge."""
START_SECONDS, LOAD_BANDWIDTH = 30.0, 1e9
"""An engine's start: imports and setting up; then bytes of weights per second."""
OUTCOME_BYTES, CANDIDATE_BYTES, STORE_BYTES = 10.0, 3500.0, 190e3
"""On disk: of a document's outcome, of a candidate, of an empty store."""
SCORED_BYTES = 4
"""Of each entry of a token's log-probabilities: fp32, read once and written once."""
_TENSORS_IN_LAYER = 9


@dataclass(frozen=True)
class Speeds:
    """Of one machine on one model, for each layer: seconds of a token, and of a step. head: of one token."""

    token: float
    step: float
    head: float


@dataclass(frozen=True)
class Planned:
    """A search file with everything that predictions start from. workloads: of the splits that are known."""

    spec: SearchSpec
    base: ModelShape
    others: tuple[ModelShape, ...]
    workloads: dict[Split, Workload]
    notes: tuple[str, ...]


def gather(spec: SearchSpec, assumed: Assumed | None = None) -> Planned:
    """Read configs, headers and tasks. Raises UsageError where sizes are neither there nor given."""
    base = read_shape(spec.base_model)
    others = tuple(read_shape(model) for model in spec.models)
    notes = []
    if any(not shape.from_headers for shape in (base, *others)):
        notes.append("sizes from config.json alone: biases and norms are left out")
    if assumed is not None or spec.engine.name == "fake":
        given = assumed or Assumed(100, 1, 0)
        one = assumed_workload(given, len(spec.objective.tasks))
        shares = spec.objective.splits
        workloads = {
            split: scaled(one, getattr(shares, split.value) / shares.search) for split in Split
        }
    else:
        workloads = _counted(spec)
        notes.append("answers are taken to be as long as the documents' own targets")
    return Planned(spec, base, others, workloads, tuple(notes))


def _counted(spec: SearchSpec) -> dict[Split, Workload]:
    try:
        (folder,) = model_folders([parts_of(spec.base_model)[0]]).values()
        return counted_workloads(spec.objective, Path(folder))
    except UsageError as error:
        raise type(error)(
            error.message,
            where=error.where,
            remedy=f"{error.remedy}; or name sizes: --documents, --prompt-tokens, --answer-tokens",
        ) from error


def scaled(work: Workload, share: float) -> Workload:
    """The same kind of documents, fewer or more of them."""
    amounts = {
        name: round(getattr(work, name) * share)
        for name in ("documents", "prompts", "read", "written", "scored")
    }
    return Workload(**{**vars(work), **amounts})


def plan_search(planned: Planned, machine: Machine, speeds: Speeds) -> Plan:
    """Predict a search on workers of one kind."""
    spec, work = planned.spec, planned.workloads[Split.SEARCH]
    memory = worker_memory(planned.spec, planned.base, planned.others, work, machine)
    seconds = candidate_seconds(planned, work, machine, speeds, memory.models_on)
    others, other_seconds = _others(planned, machine, speeds, memory.models_on)
    start = START_SECONDS + planned.base.stored / LOAD_BANDWIDTH
    workers = spec.workers.max
    busy = spec.budget.candidates * seconds.total + other_seconds
    hours = (busy + workers * start) / 3600
    gpus = max(spec.workers.gpus, spec.engine.tensor_parallel_size if machine.is_gpu else 0)
    return Plan(
        name=spec.name,
        machine=machine,
        parameters=planned.base.parameters,
        models=len(planned.others),
        candidates=spec.budget.candidates,
        others=others,
        workload=work,
        memory=memory,
        per_device=per_device(spec, memory, machine),
        seconds=seconds,
        start_seconds=start,
        worker_hours=hours,
        gpu_hours=hours * gpus,
        cpu_hours=hours * spec.workers.cpus,
        hours=hours / workers,
        disk=_disk(planned),
        fits=fits(spec, planned.base, memory, work, machine),
        notes=planned.notes,
    )


def candidate_seconds(
    planned: Planned, work: Workload, machine: Machine, speeds: Speeds, models_on: str
) -> Seconds:
    """Of a candidate that answers all of `work`."""
    if planned.spec.engine.name == "fake":
        return Seconds(0.0, planned.spec.engine.fake_seconds, DOCUMENT_SECONDS * work.documents)
    forward = forward_seconds(planned, work, machine, speeds)
    overhead = REQUEST_SECONDS * work.prompts + DOCUMENT_SECONDS * work.documents
    return Seconds(merge_seconds(planned, machine, models_on), forward, overhead)


def steps_of(work: Workload, machine: Machine, most: int, calls: int) -> int:
    """Steps of the engine: prompts are read in batches, answers grow by a token in each."""
    reading = max(math.ceil(work.read / machine.batch), math.ceil(work.prompts / most), calls)
    # Documents with answers stand beside others in a batch: a wave lasts as long as its longest.
    share = min(1.0, work.written / max(work.prompts * work.longest_answer, 1))
    waves = max(math.ceil(share * work.prompts / most), calls if work.written else 0)
    return reading + waves * max(work.longest_answer - 1, 0)


def forward_seconds(planned: Planned, work: Workload, machine: Machine, speeds: Speeds) -> float:
    """Of the engine's passes over prompts and answers."""
    spec, shape = planned.spec, planned.base
    layout = layout_of(spec)
    steps = steps_of(work, machine, spec.engine.max_num_seqs, layout.blocks if layout else 1)
    tokens = work.read + work.written
    context = work.longest / 2
    attention = 4.0 * context * shape.width / machine.flops
    layers = shape.layers * (tokens * (speeds.token + attention) + steps * speeds.step)
    heads = work.prompts + work.written + work.scored
    logits = SCORED_BYTES * 3 * shape.vocabulary / machine.bandwidth
    return layers + heads * (speeds.head + logits)


def merge_seconds(planned: Planned, machine: Machine, models_on: str) -> float:
    """Bytes of base and experts read, and of the merge written, at the speed of where they lie."""
    read = planned.base.stored + sum(shape.stored for shape in planned.others)
    written = planned.base.stored
    speed = machine.bandwidth
    if machine.is_gpu and models_on != "device" and machine.link:
        # Pageable memory takes a second copy on its way.
        speed = machine.link if models_on == "pinned" else machine.link / 2
    tensors = planned.base.layers * _TENSORS_IN_LAYER
    # Ranks of one engine read whole tensors side by side, which is no faster than one alone.
    return read / speed + written / machine.bandwidth + tensors * TENSOR_SECONDS


def gpu_speeds(shape: ModelShape, machine: Machine, ranks: int) -> Speeds:
    """Products at the rate that is assumed to be reached, and for each step the weights read once."""
    work = 2.0 * shape.active / max(shape.layers, 1)
    weights = shape.active / max(shape.layers, 1) * 2
    step = weights / machine.bandwidth / ranks + GPU_STEP_SECONDS / max(shape.layers, 1)
    head = 2.0 * shape.hidden * shape.vocabulary / machine.flops / ranks
    return Speeds(work / machine.flops / ranks, step, head)


def cpu_speeds(
    shape: ModelShape, machine: Machine, token: float, step: float, head: float
) -> Speeds:
    """Products as they were timed, and the rest of a layer."""
    touched = TOUCHED * shape.hidden * 4 / machine.bandwidth
    return Speeds(PRODUCTS * token + touched + TOKEN_SECONDS, step + STEP_SECONDS, head)


def _others(
    planned: Planned, machine: Machine, speeds: Speeds, models_on: str
) -> tuple[int, float]:
    """Evaluations that are no candidates of the search, and their seconds: baselines and finals."""
    spec = planned.spec
    # Fixed ones, and the greedy soup's trials: one for each model but the first.
    baselines = len(fixed_baselines(spec.base_model, spec.models)) + len(spec.models) - 1
    counts = {
        Split.SEARCH: baselines,
        Split.VALIDATION: spec.selection.top + 1,
        Split.TEST: baselines + 1,
    }
    spent = [
        count * candidate_seconds(planned, work, machine, speeds, models_on).total
        for split, count in counts.items()
        if (work := planned.workloads.get(split)) is not None and work.documents
    ]
    return sum(counts[s] for s in counts if s in planned.workloads), sum(spent)


def _disk(planned: Planned) -> Disk:
    spec = planned.spec
    baselines = len(fixed_baselines(spec.base_model, spec.models)) + len(spec.models) - 1
    documents = {split: work.documents for split, work in planned.workloads.items()}
    outcomes = (
        (spec.budget.candidates + baselines) * documents.get(Split.SEARCH, 0)
        + (spec.selection.top + 1) * documents.get(Split.VALIDATION, 0)
        + (baselines + 1) * documents.get(Split.TEST, 0)
    )
    rows = spec.budget.candidates + baselines
    store = STORE_BYTES + OUTCOME_BYTES * outcomes + CANDIDATE_BYTES * rows
    held = planned.base.stored + sum(
        adapter_bytes(name) or shape.stored
        for name, shape in zip(spec.models, planned.others, strict=True)
    )
    staged = float(held) if spec.workers.stage == "always" else 0.0
    return Disk(store, float(planned.base.stored), staged)
