"""What a plan says, as plain data. Bytes, seconds and tokens; sums are over the whole search."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Machine:
    """What a worker runs on.

    flops: of dense matrix products in the engine's dtype, per second, as a model reaches them.
    bandwidth: bytes that a copy reads and writes per second. memory: bytes of a GPU; None on a CPU.
    link: bytes per second from host memory to a GPU. host: bytes of a node's memory that one worker may
    count on. batch: tokens that the engine reads in one step.
    measured: whether these are measurements of this machine; source: of the others.
    """

    name: str
    flops: float
    bandwidth: float
    memory: float | None
    link: float | None
    batch: int
    measured: bool
    source: str
    host: float = float(1 << 40)

    @property
    def is_gpu(self) -> bool:
        return self.memory is not None


@dataclass(frozen=True)
class Workload:
    """One split of all tasks, as an engine sees it.

    prompts: requests. read: tokens of all prompts. written: tokens that answers are expected to have.
    longest: tokens of the longest prompt and its answer. longest_answer: steps that an answer takes.
    scored: tokens whose log-probability over the whole vocabulary is asked for. assumed: whether any
    of it was named by the user instead of counted.
    """

    documents: int
    prompts: int
    read: int
    written: int
    longest: int
    longest_answer: int
    scored: int
    assumed: bool = False


@dataclass(frozen=True)
class Memory:
    """Bytes that one worker needs.

    models: what base and experts take to be merged, and where; each rank of an engine holds them all.
    """

    weights: float
    cache: float
    activations: float
    runtime: float
    models: float
    models_on: str

    @property
    def own(self) -> float:
        """What no other process can use; mapped files are shared, and given back when memory is short."""
        held = 0.0 if self.models_on == "mapped" else self.models
        return self.weights + self.cache + self.activations + self.runtime + held


@dataclass(frozen=True)
class Seconds:
    """Of one candidate that answers all documents of the search split."""

    merge: float
    forward: float
    overhead: float

    @property
    def total(self) -> float:
        return self.merge + self.forward + self.overhead


@dataclass(frozen=True)
class Disk:
    """Bytes. exported: the winner's checkpoint, if it is exported. staged: a node's copies of the models."""

    store: float
    exported: float
    staged: float

    @property
    def total(self) -> float:
        return self.store + self.exported + self.staged


@dataclass(frozen=True)
class Plan:
    """A search, predicted.

    worker_hours: of all workers together, with every document answered: races make it less.
    gpu_hours, cpu_hours: the same times what each worker holds. hours: if all workers are busy.
    per_device: bytes on each GPU; None on a CPU. fits: in words, where something does not; else None.
    """

    name: str
    machine: Machine
    parameters: int
    models: int
    candidates: int
    others: int
    workload: Workload
    memory: Memory
    per_device: float | None
    seconds: Seconds
    start_seconds: float
    worker_hours: float
    gpu_hours: float
    cpu_hours: float
    hours: float
    disk: Disk
    fits: str | None
    notes: tuple[str, ...] = ()
