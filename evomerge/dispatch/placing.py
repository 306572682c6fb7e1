"""What a worker asks of a cluster: resources, one node for a whole engine, and its own environment.

An engine that is spread over several GPUs has to have them on one node. Its worker is therefore placed
into a group of its own (STRICT_PACK), which also keeps the place when the worker dies: the next one
starts where the models lie already. A worker that finds no room stays pending, and a group that finds
none too: that is the demand which Ray's autoscaler answers with new nodes.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import ray
from ray.util.placement_group import PlacementGroup, placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from evomerge.errors import ResourceError
from evomerge.spec import ANY_ACCELERATOR, SearchSpec, WorkersSpec

_A_LITTLE = 0.001
"""Of the resource by which a node says its type of accelerator: Ray gives each node 1."""
_NAMES = {"CPU": "workers.cpus", "GPU": "workers.gpus"}


def needed(needs: WorkersSpec) -> dict[str, float]:
    """The resources of one worker, as Ray names them."""
    wanted = {"CPU": needs.cpus, "GPU": needs.gpus, **needs.resources}
    if needs.accelerator_type not in {None, ANY_ACCELERATOR}:
        wanted[f"accelerator_type:{needs.accelerator_type}"] = _A_LITTLE
    return {name: amount for name, amount in wanted.items() if amount > 0}


def check_fits(needs: WorkersSpec) -> None:
    """Raise ResourceError where no node of the cluster could ever hold one worker.

    A cluster that grows (`workers.autoscale`) is trusted to bring what it does not have yet.
    """
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    wanted = needed(needs)
    if needs.autoscale or any(_holds(node, wanted) for node in nodes):
        return
    for name, amount in wanted.items():
        most = max((node.get(name, 0.0) for node in nodes), default=0.0)
        if amount > most:
            raise ResourceError(
                f"each worker asks for {amount:g} {name}, no node of the cluster has more than {most:g}",
                where=_NAMES.get(name, "workers.resources"),
                remedy=f"ask for less, or run on a cluster with a {name}; "
                "where nodes are added on demand, set workers.autoscale",
            )
    raise ResourceError(
        f"no node of the cluster has all of {_listed(wanted)} at once",
        where="workers",
        remedy="ask for less, or add a node that has them together",
    )


def reserve(spec: SearchSpec) -> PlacementGroup | None:
    """A place on one node for an engine of several ranks; None for an engine of one."""
    if spec.engine.tensor_parallel_size == 1:
        return None
    return placement_group([needed(spec.workers)], strategy="STRICT_PACK")


def give_back(group: PlacementGroup | None) -> None:
    """End a reservation, and what runs in it."""
    if group is not None:
        remove_placement_group(group)


def options(spec: SearchSpec, group: PlacementGroup | None) -> dict[str, Any]:
    """Ray's options for one worker's actor."""
    wanted = needed(spec.workers)
    chosen: dict[str, Any] = {
        "num_cpus": wanted.pop("CPU", 0),
        "num_gpus": wanted.pop("GPU", 0),
        "resources": wanted,
        "runtime_env": runtime_env(spec.workers),
    }
    if group is not None:
        # The ranks are processes of the worker's own: nothing else is to be put into the group.
        chosen["scheduling_strategy"] = PlacementGroupSchedulingStrategy(
            group, placement_group_bundle_index=0, placement_group_capture_child_tasks=False
        )
    return chosen


def runtime_env(needs: WorkersSpec, *, threads: bool = True) -> dict[str, Any]:
    """The search's own runtime environment, with the variables that every worker has."""
    from evomerge.telemetry.handing_on import variables

    own = {"OMP_NUM_THREADS": str(max(1, int(needs.cpus)))} if threads else {}
    given = dict(needs.runtime_env)
    return {**given, "env_vars": {**variables(), **own, **given.get("env_vars", {})}}


def _holds(node: Mapping[str, float], wanted: Mapping[str, float]) -> bool:
    return all(node.get(name, 0.0) >= amount for name, amount in wanted.items())


def _listed(wanted: Mapping[str, float]) -> str:
    parts: Iterable[str] = (f"{amount:g} {name}" for name, amount in wanted.items())
    return ", ".join(parts)
