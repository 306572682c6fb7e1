"""What can be wrong between a space and the models it shall be searched over.

Found from the file and the base's headers alone, before anything is decoded.
"""

from collections.abc import Iterator, Mapping, Sequence

from evomerge.errors import Problems, SpecError
from evomerge.layout import CheckpointIndex
from evomerge.methods import Method, get_method
from evomerge.recipe import Rule
from evomerge.space.areas import owners
from evomerge.space.outputs import stacking_problems
from evomerge.space.searched import Range
from evomerge.space.spec import SpaceSpec


def check_binding(spec: SpaceSpec, models: Sequence[str], index: CheckpointIndex) -> None:
    """Raise the one SpecError there is, or Problems."""
    problems = list(binding_problems(spec, models, index))
    if problems:
        raise problems[0] if len(problems) == 1 else Problems(problems)


def binding_problems(
    spec: SpaceSpec, models: Sequence[str], index: CheckpointIndex
) -> Iterator[SpecError]:
    """Everything that keeps `spec` from being searched over `models` and the base of `index`."""
    if spec.layers is not None:
        yield from stacking_problems(spec.layers, len(models), index)
        return
    yield from count_problems(spec, len(models))
    for name, value in spec.parameters.items():
        if isinstance(value, Range) and value.filters:
            yield from _filter_problems(f"space.{name}.filters", value.filters, index)


def model_limits(method: Method) -> tuple[int, int | None]:
    """How many entries of `models` a method takes at least and at most, the base not counted."""
    itself = int(method.base == "endpoint")
    most = None if method.max_models is None else method.max_models - itself
    return max(method.min_models - itself, 1), most


def count_problems(spec: SpaceSpec, count: int) -> Iterator[SpecError]:
    """Methods that cannot merge `count` models."""
    if spec.layers is not None:
        return
    for method in map(get_method, spec.methods):
        least, most = model_limits(method)
        if count < least or (most is not None and count > most):
            yield SpecError(
                f"{method.name} merges {_amount(least, most)} with the base model, not {count}"
                if method.base == "endpoint"
                else f"{method.name} takes {_amount(least, most)}, not {count}",
                where="models",
                remedy=_count_remedy(spec, method, least, most, count),
            )


def _amount(least: int, most: int | None) -> str:
    exact = least == most
    noun = "model" if least == 1 and exact else "models"
    return f"exactly {least} {noun}" if exact else f"at least {least} {noun}"


def _count_remedy(spec: SpaceSpec, method: Method, least: int, most: int | None, count: int) -> str:
    if len(spec.methods) > 1:
        return f"take {method.name} out of space.method, or list {_amount(least, most)} in models"
    if count < least:
        return f"list {_amount(least, most)} in models, or choose another space"
    return (
        f"list {_amount(least, most)} in models (one search for each choice of them), "
        "or choose a method for any number, such as linear or ties"
    )


def _filter_problems(
    where: str, filters: Mapping[str, str], index: CheckpointIndex
) -> Iterator[SpecError]:
    owner = owners(filters, index)
    used = set(owner.values())
    for name, text in filters.items():
        if name in used:
            continue
        hidden = any(Rule(filter=text, value=0.0).matches(tensor) for tensor in index.tensors)
        yield SpecError(
            f"every tensor that {name} ({text!r}) matches belongs to a filter above it"
            if hidden
            else f"{name} ({text!r}) matches no tensor of the base model",
            where=where,
            remedy="move it up: the first filter that matches wins"
            if hidden
            else f"tensors are named like {_example(index)}",
        )
    lost = [tensor for tensor, name in owner.items() if name is None]
    if lost:
        yield SpecError(
            f"no filter matches {lost[0]}" + (f" and {len(lost) - 1} more" if lost[1:] else ""),
            where=where,
            remedy='add a last one for everything else: `rest: "*"`',
        )


def _example(index: CheckpointIndex) -> str:
    names = sorted(index.tensors)
    return names[len(names) // 2]
