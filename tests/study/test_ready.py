"""The ready studies: each one is a study, and speaks of models and tasks that there are."""

import pytest

from evomerge.study import load_study, make_plan, ready_studies
from evomerge.study.files import find_study
from evomerge.zoo.families import FAMILIES

SMALL = [name for name in ready_studies() if name.endswith("-small")]
REAL = [name for name in ready_studies() if not name.endswith("-small")]


def test_every_small_study_has_one_for_real_models():
    assert (
        SMALL
        == [f"{name}-small" for name in REAL]
        == ["dam-small", "realistic-small", "scale-small"]
    )


@pytest.mark.parametrize("name", ready_studies())
def test_a_ready_study_is_valid_and_leaves_no_method_out(name):
    spec = load_study(find_study(name))
    plan = make_plan(spec)
    assert spec.name == name
    assert plan.cells
    assert not plan.skipped


@pytest.mark.parametrize("name", SMALL)
def test_a_small_study_speaks_of_what_its_zoo_trains(name):
    spec = load_study(find_study(name))
    family = FAMILIES[spec.zoo]
    pairs = {pair.name for pair in family.pairs}
    for base in spec.bases:
        size, _, what = base.model.partition("/")
        assert size in {one.name for one in family.sizes}
        assert what == "base"
        for expert in base.experts:
            assert expert.model == f"{size}/{expert.skill}_{expert.factor}"
            assert expert.model.partition("/")[2] in pairs
    assert {task.task for task in spec.tasks} <= {pair.name for pair in family.tasks}


def test_studies_of_real_models_name_tasks_that_lm_eval_has():
    lm_eval = pytest.importorskip("lm_eval.tasks")
    known = set(lm_eval.TaskManager().all_tasks)  # takes some ten seconds
    asked = {task.task for name in REAL for task in load_study(find_study(name)).tasks}
    assert asked - known == set()


@pytest.mark.parametrize("name", REAL)
def test_a_study_of_published_test_sets_says_so(name):
    assert load_study(find_study(name)).evaluation.accept_benchmark_tests
