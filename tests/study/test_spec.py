"""What a study file may say; every mistake is named with its line and a remedy."""

import pytest

from evomerge.errors import NotFoundError, SpecError, UsageError
from evomerge.study.files import find_study, load_study, ready_studies
from tests.study.studies import SEARCHED, TUNED, content, write_study


def complaint(tmp_path, **changes):
    with pytest.raises(UsageError) as caught:
        load_study(write_study(tmp_path, **changes))
    return str(caught.value)


def test_models_of_a_study_are_paths_beside_its_file(tmp_path):
    spec = load_study(write_study(tmp_path))
    assert spec.bases[0].model == str(tmp_path / "b")
    assert spec.bases[0].label == "b"


def test_a_method_may_be_a_name_alone(tmp_path):
    spec = load_study(write_study(tmp_path))
    assert [entry.label for entry in spec.methods] == ["average", "task_arithmetic"]


@pytest.mark.parametrize("policy", ["tuned", "searched"])
def test_a_policy_that_tries_candidates_states_its_budget(tmp_path, policy):
    said = complaint(tmp_path, methods=[{"method": "ties", "policy": policy}])
    assert "needs a budget: candidates" in said


def test_published_values_have_no_budget(tmp_path):
    assert "tries nothing" in complaint(tmp_path, methods=[{"method": "ties", "candidates": 3}])


def test_a_parameter_that_the_method_lacks_is_named_with_those_it_has(tmp_path):
    said = complaint(tmp_path, methods=[{"method": "ties", "parameters": {"densty": 0.2}}])
    assert "no parameter 'densty'" in said
    assert "density" in said


def test_an_unknown_key_is_reported_with_its_line(tmp_path):
    file = write_study(tmp_path, subsets={"size": [2]})
    line = file.read_text().splitlines().index("subsets:") + 2
    with pytest.raises(SpecError) as caught:
        load_study(file)
    assert f"study.yml:{line}: subsets.size" in str(caught.value)
    assert "did you mean 'sizes'" in str(caught.value)


def test_an_unknown_method_is_reported_with_the_nearest_one(tmp_path):
    assert "did you mean 'ties'" in complaint(tmp_path, methods=["tiess"])


def test_an_expert_that_no_task_asks_is_a_mistake(tmp_path):
    tasks = content()["tasks"][1:]
    assert "no task asks for sort in de, which x learned" in complaint(tmp_path, tasks=tasks)


def test_subsets_larger_than_the_experts_are_a_mistake(tmp_path):
    said = complaint(tmp_path, subsets={"sizes": [2, 4]})
    assert "subsets of 4 experts, and a base has only 3" in said


def test_two_entries_need_two_names(tmp_path):
    assert "method named twice: ties" in complaint(tmp_path, methods=["ties", "ties"])


def test_a_zoo_gives_every_base_once_for_each_training(tmp_path):
    asked = []

    def zoo(name, seed):
        asked.append((name, seed))
        for model in "bxyz":
            (tmp_path / f"zoo-{seed}" / model).mkdir(parents=True)
        return tmp_path / f"zoo-{seed}"

    spec = load_study(write_study(tmp_path, zoo="languages", trainings=[0, 4]), zoo)
    assert asked == [("languages", 0), ("languages", 4)]
    assert [base.title for base in spec.bases] == ["b", "b, training 4"]
    models = [base.experts[2].model for base in spec.bases]
    assert models == [str(tmp_path / "zoo-0" / "z"), str(tmp_path / "zoo-4" / "z")]


def test_trainings_of_models_of_ones_own_are_bases_of_one_name(tmp_path):
    (base,) = content()["bases"]
    other = {**base, "name": "b", "model": "c", "training": 1}
    assert len(load_study(write_study(tmp_path, bases=[base, other])).bases) == 2
    assert "named twice: b, training 0" in complaint(tmp_path, bases=[base, {**base, "name": "b"}])
    assert "are of a zoo" in complaint(tmp_path, trainings=[0, 1])
    fewer = {**other, "experts": other["experts"][:2]}
    assert "differ in the skills" in complaint(tmp_path, bases=[base, fewer])


def test_an_entry_follows_one_that_stands_above_it(tmp_path):
    late = {**SEARCHED, "after": "dam"}
    assert "stands not above it" in complaint(tmp_path, methods=[late, "dam"])
    assert load_study(write_study(tmp_path, methods=["dam", late])).methods[1].after == "dam"


def test_a_space_that_is_not_there_is_found_before_anything_runs(tmp_path):
    with pytest.raises(NotFoundError, match="no search space named"):
        load_study(write_study(tmp_path, methods=[{**TUNED, "space": "nowhere"}]))


def test_a_space_belongs_to_its_entrys_method(tmp_path):
    said = complaint(tmp_path, methods=[{**TUNED, "space": "ties_global"}])
    assert "not of task_arithmetic" in said


def test_a_study_that_is_neither_a_file_nor_ready_lists_those_that_are():
    with pytest.raises(NotFoundError) as caught:
        find_study("realistc-small")
    assert "did you mean 'realistic-small'" in str(caught.value)
    assert set(ready_studies()) >= {"realistic", "scale", "dam"}


def test_a_file_that_is_no_yaml_is_reported_with_its_line(tmp_path):
    file = tmp_path / "study.yml"
    file.write_text("name: a\nbases: [\n")
    with pytest.raises(SpecError, match=r"study.yml:\d+: not valid YAML"):
        load_study(file)
