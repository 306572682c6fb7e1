"""Searches over methods that use data: texts from the search split, measured before the engine starts."""

import json
from contextlib import closing
from pathlib import Path

import pytest

from evomerge.calibration.sets import load_set
from evomerge.calibration.store import StatisticStore
from evomerge.errors import SpecError, TaskError
from evomerge.evaluation.calibrated import work_of
from evomerge.evaluation.calibration_texts import texts_of, wanted
from evomerge.evaluation.tasks import load_tasks
from evomerge.fitness import Split
from evomerge.preflight import preflight
from evomerge.service import (
    check_search,
    check_unchanged,
    make_dispatcher,
    run_search,
    submit_search,
)
from evomerge.space import SpaceSpec
from evomerge.spec import SearchSpec, load_preset
from evomerge.store import open_store
from evomerge.store.types import SearchStatus
from tests.evaluation import tiny
from tests.support import fake_spec


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> dict[str, str]:
    return tiny.write_models(tmp_path_factory.mktemp("models"), hidden=64)


@pytest.fixture(scope="module")
def tasks(tmp_path_factory) -> Path:
    return tiny.write_tasks(tmp_path_factory.mktemp("tasks"))


def spec_of(models, tasks: Path, **changes) -> SearchSpec:
    return SearchSpec.model_validate(
        {
            "base_model": models["base"],
            "models": [models["one"], models["two"]],
            "space": "regmean_global",
            "objective": {
                "include_path": tasks,
                "tasks": [{"task": "letters"}, {"task": "text"}],
                "splits": {"search": 0.3, "validation": 0.3, "test": 0.4},
            },
            "strategy": {"name": "random", "asynchronous": False},
            "budget": {"candidates": 3},
            "engine": {"name": "hf", "dtype": "float32"},
            **changes,
        }
    )


@pytest.mark.engine
def test_a_search_measures_its_models_and_its_winner_is_merged_from_its_recipe(
    models, tasks, tmp_path
) -> None:
    spec = spec_of(models, tasks)
    with closing(open_store(str(tmp_path / "s.db"), create=True)) as store:
        search = submit_search(store, check_search(spec))
        name = search.spec.calibration.set
        assert name is not None and name.startswith("set:")
        work = work_of(search.spec)
        assert work is not None
        assert not any(StatisticStore().has(one) for one in work.requests())
        dispatcher = make_dispatcher(search.spec, store.url, inline=True)
        try:
            assert run_search(store, search.id, dispatcher) is SearchStatus.FINISHED
        finally:
            dispatcher.close()
        assert all(StatisticStore().has(one) for one in work.requests())
        found = [c for c in store.candidates(search.id) if c.recipe.merge_method == "regmean"]
        assert len(found) >= 3
        assert {c.recipe.calibration.data for c in found} == {name}
        evaluations = [e for e in store.evaluations(search.id) if e.candidate_id == found[-1].id]
        assert any(e.fitness is not None for e in evaluations)
        from evomerge.export.candidates import export_candidate, find_candidate

        export_candidate(store, find_candidate(store, search.id), tmp_path / "out")
    assert (tmp_path / "out" / "model.safetensors").is_file()


def test_texts_are_documents_of_the_search_split_with_their_answers_and_no_others(
    models, tasks
) -> None:
    spec = spec_of(models, tasks, calibration={"examples": 1000})
    found = {(one.prompt, one.text) for one in texts_of(spec).examples}
    expected = set()
    for loaded in load_tasks(spec.objective):
        for number in loaded.splits[Split.SEARCH]:
            document = loaded.documents[number]
            if loaded.name == "letters":
                answer = document["choices"][document["answer"]]
                expected.add((f"Question: {document['question']} Answer:", f" {answer}"))
            else:
                expected.add(("", document["question"]))
        hidden = {
            loaded.documents[number]["question"]
            for split in (Split.VALIDATION, Split.TEST)
            for number in loaded.splits[split]
        }
        shown = {loaded.documents[n]["question"] for n in loaded.splits[Split.SEARCH]}
        for question in hidden - shown:
            assert not any(question == text or question in prompt for prompt, text in found)
    assert found == expected


def test_a_model_may_have_a_task_or_a_file_of_its_own(models, tasks, tmp_path) -> None:
    file = tmp_path / "one.txt"
    file.write_text("mine alone\n")
    spec = spec_of(models, tasks, calibration={"own": {"one": str(file), "two": "letters"}})
    texts = texts_of(spec)
    assert [one.text for one in texts.of(models["one"])] == ["mine alone"]
    assert all(one.prompt.startswith("Question") for one in texts.of(models["two"]))


def test_mistakes_in_the_block_are_found_before_anything_starts(models, tasks) -> None:
    for block, problem in (
        ({"data": "nowhere.txt"}, "neither a file nor a task"),
        ({"own": {"three": "letters"}}, "none of the models"),
        ({"own": {"one": "lettres"}}, "neither a file nor a task"),
    ):
        with pytest.raises((SpecError, TaskError), match=problem):
            preflight(spec_of(models, tasks, calibration=block))


def test_texts_that_changed_since_submission_stop_a_resume(models, tasks, tmp_path) -> None:
    file = tmp_path / "texts.jsonl"
    file.write_text(json.dumps({"text": "red blue"}) + "\n")
    with closing(open_store(str(tmp_path / "s.db"), create=True)) as store:
        spec = spec_of(models, tasks, calibration={"data": str(file)})
        search = submit_search(store, check_search(spec))
        check_unchanged(search)
        file.write_text(json.dumps({"text": "red green"}) + "\n")
        with pytest.raises(SpecError, match="texts have changed"):
            check_unchanged(search)
        with pytest.raises(SpecError, match="not those that the search began with"):
            work_of(search.spec)


def test_a_set_is_made_again_on_a_worker_that_lacks_it(
    models, tasks, monkeypatch, tmp_path
) -> None:
    pinned = check_search(spec_of(models, tasks)).spec
    monkeypatch.setenv("EVOMERGE_CALIBRATION", str(tmp_path))
    assert pinned.calibration.set is not None
    assert work_of(pinned) is not None
    assert load_set(pinned.calibration.set).name == pinned.calibration.set


def test_statistics_follow_from_the_methods_and_options_that_a_space_leaves_open() -> None:
    assert wanted(load_preset("ties_per_layer")) == ()
    assert wanted(load_preset("passthrough_layers")) == ()
    assert wanted(load_preset("regmean_global")) == ("input_grams",)
    open_space = {"method": "mats", "objective": {"choice": ["covariance", "fisher"]}}
    assert wanted(SpaceSpec.model_validate(open_space)) == ("fisher", "input_grams")
    both = {"method": {"choice": ["sens_ties", "linear"]}, "weight": {"range": [0, 1]}}
    assert wanted(SpaceSpec.model_validate(both)) == ("logits", "sensitivity")
    narrowed = {"method": "m_smoe", "hidden": {"range": [0.5, 1.0]}}
    assert wanted(SpaceSpec.model_validate(narrowed)) == ("activations", "routing")


def test_the_fake_engine_needs_no_texts(tmp_path) -> None:
    spec = fake_spec(tmp_path, space={"method": "regmean", "alpha": {"range": [0, 1]}})
    checked = check_search(spec)
    assert checked.spec.calibration.set is None
    with closing(open_store(str(tmp_path / "s.db"), create=True)) as store:
        search = submit_search(store, checked)
        dispatcher = make_dispatcher(search.spec, store.url, inline=True)
        assert run_search(store, search.id, dispatcher) is SearchStatus.FINISHED


def test_searches_without_such_methods_pin_no_texts(models, tasks) -> None:
    assert check_search(spec_of(models, tasks, space="ties_global")).spec.calibration.set is None


def test_a_recipe_that_names_a_file_is_not_merged_before_its_texts_are_pinned(
    models, tmp_path, monkeypatch
) -> None:
    from evomerge.calibration.recipes import pinned
    from evomerge.errors import NotFoundError, RecipeError
    from evomerge.merging.merge import merge_tensors
    from evomerge.recipe import Calibration, Recipe, Source

    (tmp_path / "x.txt").write_text("red\n")
    monkeypatch.chdir(tmp_path)
    names = [models["one"], models["two"]]
    recipe = Recipe(
        merge_method="fisher",
        models=tuple(Source(model=name) for name in names),
        calibration=Calibration(data="x.txt"),
    )
    folders = {name: Path(name) for name in names}
    with pytest.raises(RecipeError, match="not named by their content"):
        dict(merge_tensors(recipe, folders))
    with pytest.raises(NotFoundError, match="not measured yet"):
        dict(merge_tensors(pinned(recipe), folders))


def test_a_search_file_reads_no_text_from_the_working_folder(
    models, tasks, tmp_path, monkeypatch
) -> None:
    (tmp_path / "x.txt").write_text("red\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SpecError, match="neither a file nor a task"):
        texts_of(spec_of(models, tasks, calibration={"data": "x.txt"}))


@pytest.mark.engine
def test_what_the_command_measured_for_a_search_file_the_search_finds(
    models, tasks, tmp_path
) -> None:
    from evomerge.evaluation.calibrated import calibrate
    from evomerge.evaluation.calibration_works import works_of_file
    from evomerge.spec import load_spec

    spec = spec_of(models, tasks, space="fisher_global").model_dump(mode="json")
    del spec["calibration"]
    file = tmp_path / "search.yml"
    file.write_text(json.dumps(spec, default=str))  # JSON is YAML
    (work,) = works_of_file(file, ())
    assert calibrate(work, device="cpu") == 2
    submitted = work_of(check_search(load_spec(file)).spec)
    assert submitted is not None
    assert all(StatisticStore().has(one) for one in submitted.requests())
