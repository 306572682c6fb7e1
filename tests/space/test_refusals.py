"""What a space refuses, and what it says to do instead."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from evomerge.errors import EvomergeError, SpecError
from evomerge.methods import METHODS
from evomerge.space import SearchSpace, SpaceSpec, model_limits
from evomerge.spec import load_spec
from tests.space.families import index_of

FILE = """\
base_model: org/base
models: [{models}]
objective:
  tasks:
    - {{task: sst2_local}}
space: {{{space}}}
"""


def refusal(folder: Path, space: str, models: str = "org/a, org/b") -> str:
    file = folder / "search.yml"
    file.write_text(FILE.format(space=space, models=models), encoding="utf-8")
    with pytest.raises(EvomergeError) as caught:
        load_spec(file)
    assert caught.value.exit_code == 2
    assert "→" in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("space", "says"),
    [
        ("method: ties, weight: 1, election: max", "election cannot be 'max'"),
        ("method: ties, weight: 1, election: {choice: [sum, max]}", "write sum or count"),
        ("method: ties, weight: 1, election: {range: [0, 1]}", "{choice: [sum, count]}"),
        ("method: ties, weight: 1, election: true", "election is sum or count"),
        ("method: ties, weight: 1, normalize: {range: [0, 1]}", "{choice: [true, false]}"),
        ("method: ties, weight: 1, normalize: {choice: [yes, no]}", "normalize is true or false"),
        ("method: ties, weight: 1, density: {choice: [0.5, 2]}", "density cannot be 2"),
        ("method: ties, weight: {choice: [a, b]}", "weight is a number"),
        ("method: ties, weight: {choice: []}", "at least 1 item"),
        ("method: ties, weight: {choice: [0.5, 0.5]}", "stands twice"),
        ("method: ties, weight: [0, 1]", "{range: [low, high]} (given: [0, 1])"),
        ("method: [ties, dare_ties], weight: 1", "{choice: [one, other]}"),
        ("method: passthrough, layers: {scale: 1}", "{range: [low, high]} (given: 1)"),
        ("method: passthrough, layers: {repeat: 2}", "did you mean 'repeats'"),
        ("method: ties, weight: {choise: [0.5, 1]}", "did you mean 'choice'"),
        ("method: karcher, max_iter: {range: [1, 8.5]}", "max_iter cannot be 8.5"),
        ("method: karcher, max_iter: {range: [1, 9], step: 2}", "whole numbers, one apart"),
        ("method: karcher, max_iter: 2.5", "a whole number"),
        ("method: ties, weight: {range: [0.5, 2], integer: true}", "whole numbers as ends"),
        ("method: ties, weight: {range: [0, 2], integer: true, step: 1}", "remove step"),
        ("method: ties, weight: {range: [0, 1], per: [filter]}", "needs filters"),
        ("method: ties, weight: {range: [0, 1], filters: {a: x}}", "add filter to per"),
        (
            "method: ties, weight: {range: [0, 1], per: [kind, tensor]}",
            "by kind and by tensor: keep one",
        ),
        (
            "method: ties, weight: {range: [0, 1], per: [filter], filters: {a: 're:('}}",
            "no regular expression",
        ),
        ("method: {choice: [ties, linear]}, weight: 1, across_layers: cubic", "'spline'"),
        ("method: {choice: [ties, slerp]}, weight: 1", "slerp needs t"),
        ("method: {choice: [ties, sce, dare_ties]}", "ties and dare_ties need weight"),
        ("method: {choice: [ties, true]}, weight: 1", "unknown merge method 'True'"),
        (
            "method: {choice: [ties, breadcrumbs]}, weight: 1, scope: {choice: [tensor, model]}",
            "scope cannot be 'model' in breadcrumbs",
        ),
        (
            "method: {choice: [della, ram]}, weight: 1, density: 0.5, "
            "epsilon: {range: [0.1, 0.2], per: [model]}",
            "one value for all models in ram",
        ),
    ],
)
def test_what_a_method_does_not_take_is_refused_with_what_to_write(
    tmp_path: Path, space: str, says: str
) -> None:
    message = refusal(tmp_path, space)
    assert says in message
    assert "search.yml:6" in message


@pytest.mark.parametrize(
    ("space", "says"),
    [
        ("density: {range: [0.05, 0.9]}, epsilon: 0.1", "write `density: {range: [0.11, 0.89]}`"),
        ("density: {range: [0.3, 0.7]}, epsilon: {range: [0, 0.3]}", "[0.31, 0.69]"),
        ("density: 0.9, epsilon: 0.1", "runs from 0.8 to 1 "),
        ("density: 0.5, epsilon: 0.5", "write `density: {range: [0.3, 0.7]}` and `epsilon:"),
        ("epsilon: 0.1", "runs from 0.9 to 1.1"),
        ("density: {choice: [0.5, 0.9]}", "runs from 0.35 to 1.05"),
    ],
)
@pytest.mark.parametrize("method", ["della", "della_linear"])
def test_densities_of_della_that_are_no_chances_are_refused_with_ones_that_are(
    tmp_path: Path, method: str, space: str, says: str
) -> None:
    message = refusal(tmp_path, f"method: {method}, weight: 1, {space}")
    assert says in message
    assert f"in {method}" in message


@given(st.floats(0.01, 0.99), st.floats(0, 0.5))
def test_della_is_accepted_exactly_where_all_chances_lie_between_0_and_1(
    density: float, epsilon: float
) -> None:
    fields = {"method": "della", "weight": 1, "density": density, "epsilon": epsilon}
    try:
        SpaceSpec.model_validate(fields)
        accepted = True
    except ValidationError:
        accepted = False
    tight = min(abs(density - epsilon), abs(density + epsilon - 1)) < 1e-12
    assert tight or accepted == (density - epsilon > 0 and density + epsilon < 1)


@pytest.mark.parametrize(
    ("space", "models", "says"),
    [
        ("method: slerp, t: 0.5", "org/a, org/b", "slerp merges exactly 1 model with the base"),
        ("method: nearswap, t: 0.5", "org/a, org/b", "nearswap merges exactly 1 model"),
        ("method: nuslerp, weight: 1", "org/a", "nuslerp takes exactly 2 models, not 1"),
        ("method: arcee_fusion", "org/a, org/b", "arcee_fusion takes exactly 1 model, not 2"),
        ("method: passthrough, scale: 1", "org/a, org/b", "passthrough takes exactly 1 model"),
        ("method: model_stock", "org/a", "list at least 2 models in models"),
        (
            "method: {choice: [ties, slerp]}, weight: 1, t: 0.5",
            "org/a, org/b",
            "take slerp out of space.method",
        ),
        ("method: karcher, max_iter: 3", None, ""),
    ],
)
def test_another_number_of_models_than_a_method_merges_is_refused_at_its_line(
    tmp_path: Path, space: str, models: str | None, says: str
) -> None:
    if models is None:
        load_any_number(tmp_path, space)
        return
    message = refusal(tmp_path, space, models)
    assert says in message
    assert "search.yml:2: models" in message


def load_any_number(folder: Path, space: str) -> None:
    file = folder / "search.yml"
    for models in ("org/a", "org/a, org/b, org/c"):
        file.write_text(FILE.format(space=space, models=models), encoding="utf-8")
        load_spec(file)


def test_a_space_that_is_bound_directly_counts_its_models_too() -> None:
    spec = SpaceSpec(method="slerp", parameters={"t": 0.5})
    with pytest.raises(SpecError, match="exactly 1 model with the base"):
        SearchSpace(spec, "base", ("a", "b"), index_of("llama", 2))


def test_the_limits_of_every_method_leave_room_for_some_number_of_models() -> None:
    for method in METHODS.values():
        least, most = model_limits(method)
        assert 1 <= least <= (most or least)
