"""What a search will cost before it is started: memory, time, GPU-hours and disk.

From configs, headers and task files alone: no weight is read, no engine is started. This machine's
speed is measured in a second; GPUs come from a table of data sheets.
"""

from typing import TYPE_CHECKING

from evomerge.planning.machines import find_gpu, gpu_names, gpu_of_size
from evomerge.planning.types import Disk, Machine, Memory, Plan, Seconds, Workload
from evomerge.planning.workload import Assumed

if TYPE_CHECKING:
    from evomerge.spec import SearchSpec

CPU_BATCH = 4096
"""Tokens that vLLM reads in one step on a CPU."""


def make_plan(
    spec: "SearchSpec", machine: Machine | None = None, assumed: Assumed | None = None
) -> Plan:
    """Predict what a search costs.

    Args:
        machine: a GPU from the table; None measures this machine's CPU, with the worker's threads.
        assumed: sizes of documents, for tasks that cannot be loaded here.

    Raises UsageError where sizes can neither be read nor are given.
    """
    from evomerge.planning.predict import cpu_speeds, gather, gpu_speeds, plan_search

    planned = gather(spec, assumed)
    if machine is not None:
        speeds = gpu_speeds(planned.base, machine, spec.engine.tensor_parallel_size)
        return plan_search(planned, machine, speeds)
    from evomerge.planning.memory import engine_dtype
    from evomerge.planning.probe import measure_speed

    dtype = engine_dtype(spec, planned.base)
    threads = max(int(spec.workers.cpus), 1)
    found = measure_speed(planned.base, dtype, threads)
    noun = "thread" if threads == 1 else "threads"
    here = Machine(
        f"this CPU, {threads} {noun}",
        found.flops,
        found.bandwidth,
        None,
        None,
        CPU_BATCH,
        True,
        "timed just now",
    )
    speeds = cpu_speeds(planned.base, here, found.token, found.step, found.head)
    return plan_search(planned, here, speeds)


__all__ = [
    "Assumed",
    "Disk",
    "Machine",
    "Memory",
    "Plan",
    "Seconds",
    "Workload",
    "find_gpu",
    "gpu_names",
    "gpu_of_size",
    "make_plan",
]
