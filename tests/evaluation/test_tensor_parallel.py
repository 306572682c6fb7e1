"""Two ranks that share a model merge only what each of them owns, and answer as one rank does."""

import json
import sys

import numpy as np
import pytest

from tests.evaluation.test_against_fresh_engines import run


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("parallel")
    run([sys.executable, "-m", "tests.evaluation.tensor_parallel", str(folder)])
    return json.loads((folder / "found.json").read_text())


@pytest.mark.engine
@pytest.mark.slow
def test_ranks_merge_their_own_slices(found):
    assert all(count > 0 for count in found["places"])
    assert found["in place"] == found["loaded"]
    assert found["base again"]
    assert np.allclose(found["canary"], found["one rank"], atol=1e-4)


@pytest.mark.engine
@pytest.mark.slow
def test_a_recipe_has_the_same_scores_bit_for_bit_however_often_it_is_scored(found):
    assert len(set(found["scores"])) == 1
