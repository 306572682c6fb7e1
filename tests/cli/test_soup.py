"""`soup`: steps, results, recipe and model, and the same again after a pause."""

import pytest
from safetensors.numpy import load_file

from evomerge.merging.mergekit_yaml import load_recipe
from tests.cli.conftest import write_search


@pytest.fixture
def made(evomerge, tmp_path, monkeypatch):
    """A soup of two models, with its recipe and its checkpoint."""
    monkeypatch.chdir(tmp_path)
    file = write_search(tmp_path)
    done = evomerge(
        *("soup", file, "--inline", "--store", tmp_path / "s.db", "--search-id", "a-soup"),
        *("--out", tmp_path / "model"),
    )
    assert done.code == 0, done.err
    return done


def test_the_steps_stand_above_the_results(made):
    lines = [line.split() for line in made.out.splitlines()]
    steps = [line for line in lines if line[:1] in (["1"], ["2"])]
    assert steps[0][-1] == "kept"
    assert {line[1] for line in steps} == {"x", "y"}
    assert made.out.index("averaged") < made.out.index("winner's lead")
    assert "evomerge resume a-soup" in made.err.splitlines()[0]
    assert "baselines 5/5" in made.err


def test_the_recipe_and_the_model_lie_where_they_are_said_to(made, tmp_path):
    recipe = load_recipe(tmp_path / "evomerge-a-soup.yml")
    assert recipe.merge_method == "linear"
    models = [load_file(f"{source.model}/model.safetensors") for source in recipe.models]
    soup = load_file(tmp_path / "model/model.safetensors")
    for name, tensor in soup.items():
        mean = sum(model[name].astype(float) for model in models) / len(models)
        assert abs(tensor - mean).max() < 1e-6
    assert (tmp_path / "model/README.md").is_file()


def test_other_commands_take_it_for_a_search(evomerge, made, tmp_path):
    store = ("--store", tmp_path / "s.db")
    status = evomerge("status", "a-soup", *store, "--format", "json").json
    assert status["done"] == {"baselines": 5, "search": 1, "validation": 1, "test": 5}
    assert evomerge("report", "a-soup", *store, "-o", tmp_path / "r.html").code == 0
    wanted = tmp_path / "evomerge-a-soup.yml"
    assert evomerge("recipe", "diff", "a-soup", wanted, *store).code == 0
    assert "steps" not in evomerge("best", *store, "--format", "json").out


def test_programs_get_the_steps_too(evomerge, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = ("--inline", "--store", tmp_path / "s.db", "--format", "json")
    found = evomerge("soup", write_search(tmp_path), *options, "--recipe", "r.yml").json
    assert [step["size"] for step in found["steps"]] == [1, 2]
    assert found["steps"][0]["kept"] is True
    assert found["recipe_file"] == str(tmp_path / "r.yml")
    assert found["winner"]["label"].endswith("(greedy soup)")


def test_a_search_file_may_ask_for_a_soup_and_resume_shows_its_steps(evomerge, tmp_path):
    from evomerge.cli.stores import store_at
    from evomerge.service import check_search, submit_search
    from evomerge.spec import load_spec

    file = write_search(tmp_path, strategy={"name": "greedy_soup"}, budget={"candidates": 1})
    store = tmp_path / "s.db"
    with store_at(str(store), create=True) as opened:
        submit_search(opened, check_search(load_spec(file)), search_id="paused-one")
    done = evomerge("resume", "paused-one", "--inline", "--store", store)
    assert done.code == 0
    assert "averaged" in done.out
    assert "averaged" in evomerge("run", file, "--inline", "--store", store).out
