"""A search file's problems are found all at once, each with file, line, field and remedy."""

from pathlib import Path

import jsonschema
import pytest
from ruamel.yaml import YAML

from evomerge.errors import EvomergeError, NotFoundError, Problems, SpecError
from evomerge.resources import resource_folder
from evomerge.space import Range
from evomerge.spec import SearchSpec, load_spec

GOOD = """\
name: support-bot
base_model: org/base
models: [org/support, org/code]
objective:
  tasks:
    - {task: sst2_local, metric: acc}
    - {task: gsm8k_local, metric: exact_match, at_least: base - 0.01}
"""


def written(folder: Path, text: str) -> Path:
    file = folder / "search.yml"
    file.write_text(text, encoding="utf-8")
    return file


def problem(folder: Path, text: str) -> EvomergeError:
    with pytest.raises(EvomergeError) as caught:
        load_spec(written(folder, text))
    assert caught.value.exit_code == 2
    return caught.value


def test_the_smallest_file_gets_sensible_defaults(tmp_path: Path) -> None:
    spec = load_spec(written(tmp_path, GOOD))
    assert spec.strategy.name == "auto"
    assert spec.space_spec.method == "ties"
    assert spec.objective.tasks[1].at_least == "base - 0.01"


def test_the_file_of_the_design_is_read(tmp_path: Path) -> None:
    spec = load_spec(
        written(
            tmp_path,
            GOOD
            + """\
space:
  method: {choice: [ties, dare_ties]}
  weight: {range: [0, 1.5], per: [model, layer_group, kind]}
  density: {range: [0.05, 1], scale: log, per: [model]}
  layer_groups: 8
strategy: {name: cma, sigma0: 0.25, population_size: auto, seed: 0}
budget: {candidates: 200, hours: 12}
workers: {max: 16, gpus: 1}
engine: {dtype: bfloat16, max_model_len: 4096, gpu_memory_utilization: 0.85}
""",
        )
    )
    assert spec.space_spec.methods == ("ties", "dare_ties")
    density = spec.space_spec.parameters["density"]
    assert isinstance(density, Range)
    assert density.scale == "log"


@pytest.mark.parametrize(
    ("text", "line", "field", "suggested"),
    [
        ("stratgy: {name: cma}", 8, "stratgy", "strategy"),
        ("strategy:\n  nam: cma", 9, "strategy.nam", "name"),
        ("budget:\n  candidate: 3", 9, "budget.candidate", "candidates"),
        ("space:\n  method: tiess\n  weight: 1", 9, "space.method", "ties"),
        ("space:\n  method: ties\n  weight: 1\n  densty: 1", 11, "space.densty", "density"),
        (
            "space:\n  method: ties\n  weight: 1\n  layer_group: 2",
            11,
            "layer_group",
            "layer_groups",
        ),
        ("engine: {gpu_memory: 0.5}", 8, "engine.gpu_memory", "gpu_memory_utilization"),
    ],
)
def test_a_misspelt_key_is_named_with_its_line_and_the_right_one(
    tmp_path: Path, text: str, line: int, field: str, suggested: str
) -> None:
    error = problem(tmp_path, GOOD + text + "\n")
    assert isinstance(error, SpecError)
    assert error.where is not None
    assert error.where.startswith(f"{tmp_path / 'search.yml'}:{line}: ")
    assert field in error.where
    assert f"did you mean {suggested!r}" in str(error)


def test_a_misspelt_key_inside_a_list_or_a_range_is_found_too(tmp_path: Path) -> None:
    in_task = problem(tmp_path, GOOD.replace("metric: acc", "metrc: acc"))
    assert ":6: objective.tasks.0.metrc" in str(in_task)
    assert "did you mean 'metric'" in str(in_task)
    text = "space:\n  method: ties\n  weight: {range: [0, 1], scal: log}\n"
    in_range = problem(tmp_path, GOOD + text)
    assert ":10: space.weight.scal" in str(in_range)
    assert "did you mean 'scale'" in str(in_range)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("space:\n  method: ties\n  weight: {range: [1, 0]}", "write the smaller value first"),
        ("space:\n  method: ties\n  weight: {range: [0, 1], scale: log}", "a range above 0"),
        ("space:\n  method: ties\n  weight: {range: [0, 1], step: 2}", "wider than the range"),
        ("space:\n  method: ties\n  weight: 1\n  density: 0", "density cannot be 0"),
        ("space:\n  method: ties\n  weight: 1\n  normalize: 1", "normalize is true or false"),
        ("space:\n  method: ties\n  weight: true", "weight is a number"),
        ("space:\n  method: ties\n  weight: much", "weight is a number"),
        ("space:\n  method: ties", "needs weight"),
        ("space:\n  method: slerp\n  t: {range: [0, 1], per: [model]}", "remove `model`"),
        ("strategy: {sigma0: 0}", "greater than 0"),
        ("strategy: {population_size: 1}", "greater than or equal to 2"),
        ("strategy: {name: cmaes}", "'cma'"),
        ("budget: {candidates: 0}", "greater than 0"),
        ("engine: {gpu_memory_utilization: 85}", "less than or equal to 1"),
        ("engine: fast", "valid dictionary"),
    ],
)
def test_a_bad_value_is_one_problem_that_says_what_to_write(
    tmp_path: Path, text: str, says: str
) -> None:
    error = problem(tmp_path, GOOD + text + "\n")
    assert isinstance(error, SpecError)
    assert says in str(error)
    assert error.remedy


def test_all_problems_of_a_file_are_reported_together(tmp_path: Path) -> None:
    text = GOOD.replace("metric: acc", "weight: -1") + "budget: {candidates: 0, hour: 3}\n"
    error = problem(tmp_path, text)
    assert isinstance(error, Problems)
    assert len(error.problems) == 3
    assert str(error).startswith("3 problems:")


def test_several_problems_of_one_space_each_have_their_line(tmp_path: Path) -> None:
    text = "space:\n  method: ties\n  weight: 1\n  density: 7\n  lamda: 1\n"
    error = problem(tmp_path, GOOD + text)
    assert isinstance(error, Problems)
    assert [f":{line}: " in str(one) for line, one in zip((11, 12), error.problems, strict=True)]


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("models: [org/support, org/code]\n", "", "models"),
        ("[org/support, org/code]", "[]", "at least 1 item"),
        ("[org/support, org/code]", "[org/code, org/code]", "model named twice: org/code"),
        ("[org/support, org/code]", "[org/base]", "model named twice: org/base"),
        ("gsm8k_local", "sst2_local", "task named twice"),
        ("base - 0.01", "base * 2", "`base - 0.01`"),
    ],
)
def test_models_and_tasks_that_make_no_sense_are_refused(
    tmp_path: Path, old: str, new: str, says: str
) -> None:
    assert says in str(problem(tmp_path, GOOD.replace(old, new)))


def test_shares_of_the_splits_add_up_to_one(tmp_path: Path) -> None:
    text = GOOD + "  splits: {search: 0.6, validation: 0.2, test: 0.3}\n"
    assert "add up to 1.1, not 1" in str(problem(tmp_path, text))


def test_an_unknown_preset_is_found_when_the_file_is_read(tmp_path: Path) -> None:
    error = problem(tmp_path, GOOD + "space: ties_per_layers\n")
    assert isinstance(error, NotFoundError)
    assert ":8: space" in str(error)
    assert "did you mean 'ties_per_layer'" in str(error)


def test_broken_yaml_names_the_line(tmp_path: Path) -> None:
    assert "search.yml:3" in str(problem(tmp_path, "name: a\nmodels: [a\nb: c\n"))


def test_a_key_given_twice_is_refused(tmp_path: Path) -> None:
    assert "search.yml:8" in str(problem(tmp_path, GOOD + "name: again\n"))


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "just words"])
def test_a_file_without_a_mapping_says_so(tmp_path: Path, text: str) -> None:
    assert "no mapping" in str(problem(tmp_path, text))


def test_a_missing_file_a_folder_and_a_binary_file_are_errors_of_ours(tmp_path: Path) -> None:
    (tmp_path / "binary.yml").write_bytes(b"\xff\xfe\x00\x80")
    for file in (tmp_path / "nowhere.yml", tmp_path, tmp_path / "binary.yml"):
        with pytest.raises(SpecError) as caught:
            load_spec(file)
        assert str(file) in str(caught.value)


def test_folders_are_taken_from_where_the_file_lies_and_hub_ids_stay(tmp_path: Path) -> None:
    (tmp_path / "models" / "base").mkdir(parents=True)
    (tmp_path / "deep").mkdir()
    text = GOOD.replace("org/base", "../models/base") + "  include_path: ../tasks\n"
    spec = load_spec(written(tmp_path / "deep", text))
    assert spec.base_model == str((tmp_path / "models" / "base").resolve())
    assert spec.models == ("org/support", "org/code")
    assert spec.objective.include_path == (tmp_path / "tasks").resolve()


def test_one_folder_written_in_two_ways_is_still_named_twice(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    text = GOOD.replace("org/base", "base").replace("org/code", "./base")
    assert "model named twice" in str(problem(tmp_path, text))


def test_a_spec_survives_json_as_the_store_keeps_it(tmp_path: Path) -> None:
    text = "space:\n  method: ties\n  weight: {range: [0, 1.5], per: [model]}\n  normalize: false\n"
    spec = load_spec(written(tmp_path, GOOD + text))
    assert SearchSpec.model_validate_json(spec.model_dump_json()) == spec


@pytest.mark.parametrize("preset", ["ties_per_layer", "slerp_per_layer_kind"])
def test_editors_accept_what_the_parser_accepts(preset: str) -> None:
    schema = SearchSpec.model_json_schema()
    data = YAML(typ="safe").load(GOOD)
    space = YAML(typ="safe").load(resource_folder("search_spaces") / f"{preset}.yml")
    for accepted in (data, {**data, "space": preset}, {**data, "space": space}):
        jsonschema.validate(accepted, schema)
    for refused in ({**data, "stratgy": {}}, {**data, "space": {**space, "wieght": 1}}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(refused, schema)
