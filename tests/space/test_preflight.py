"""Spaces that do not fit their models, or their engine, are found before a search starts."""

from pathlib import Path

import pytest

from evomerge.errors import UsageError
from evomerge.layout import read_index
from evomerge.preflight.checks import preflight
from evomerge.preflight.machine import _weights
from tests.support import LAYERS, fake_spec

FILTERED = {
    "method": "ties",
    "weight": {"range": [0, 1], "per": ["filter"], "filters": {"a": "nowhere", "b": "mlp"}},
}
STACKED = {"method": "passthrough", "layers": {"max_layers": LAYERS + 2}}


def test_all_problems_of_a_space_are_reported_at_once(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        preflight(fake_spec(tmp_path, space=FILTERED))
    assert "2 problems" in str(caught.value)
    assert "a ('nowhere') matches no tensor" in str(caught.value)
    assert "no filter matches" in str(caught.value)


def test_one_problem_of_a_space_is_reported_by_itself(tmp_path: Path) -> None:
    space = {"method": "passthrough", "layers": {"max_layers": LAYERS - 1}}
    with pytest.raises(UsageError, match="below the base model's 4 layers"):
        preflight(fake_spec(tmp_path, space=space))


def test_stacks_are_searched_with_vllm_and_refused_with_hf(tmp_path: Path) -> None:
    assert preflight(fake_spec(tmp_path, space=STACKED)).space.dimension == 2 * 4 * LAYERS
    with pytest.raises(UsageError, match="cannot run stacks of others"):
        preflight(fake_spec(tmp_path, space=STACKED, engine={"name": "hf"}))


def test_the_memory_of_deeper_engines_is_counted(tmp_path: Path) -> None:
    spec = fake_spec(tmp_path, space=STACKED)
    base = read_index(Path(spec.base_model))
    outer = sum(base.tensors[name].end - base.tensors[name].start for name in base.outer_tensors)
    per_layer = (base.num_bytes - outer) / LAYERS
    assert _weights(spec, base) == pytest.approx(base.num_bytes + 2 * per_layer)
    assert _weights(fake_spec(tmp_path), base) == base.num_bytes
