"""Exported models: complete, documented, and all or nothing."""

import json

import pytest
from ruamel.yaml import YAML
from safetensors.numpy import load_file

from evomerge.controller.events import ignore
from evomerge.errors import EvomergeError, NotFoundError, ResourceError
from evomerge.export.candidates import export_candidate, find_candidate
from evomerge.export.card import Provenance, card_text, public_name
from evomerge.merging.mergekit_yaml import dump_recipe, load_recipe
from evomerge.recipe import Recipe, Source, constant
from evomerge.results import read_results
from evomerge.service import check_search, make_dispatcher, run_search, submit_search
from evomerge.store import open_store
from tests.support import fake_spec


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    folder = tmp_path_factory.mktemp("export")
    store = open_store(folder / "s.db")
    spec = fake_spec(folder)
    search = submit_search(store, check_search(spec, store.url), search_id="found")
    run_search(store, search.id, make_dispatcher(spec, store.url, inline=True), ignore)
    yield store, store.search(search.id)
    store.close()


@pytest.fixture(scope="module")
def exported(searched, tmp_path_factory):
    store, search = searched
    out = tmp_path_factory.mktemp("models") / "winner"
    return export_candidate(store, find_candidate(store, search.id), out)


def front_matter(folder):
    text = (folder / "README.md").read_text(encoding="utf-8")
    return YAML(typ="safe").load(text.split("---\n")[1])


def test_the_model_has_weights_config_tokenizer_recipe_and_card(exported):
    assert {path.name for path in exported.iterdir()} == {
        *("model.safetensors", "config.json", "tokenizer.json", "mergekit_config.yml", "README.md"),
    }
    assert json.loads((exported / "config.json").read_text("utf-8"))["model_type"] == "llama"


def test_the_card_has_the_front_matter_that_the_hub_reads(exported):
    assert front_matter(exported) == {
        "base_model": ["b", "x", "y", "z"],
        "base_model_relation": "merge",
        "library_name": "transformers",
        "tags": ["mergekit", "merge"],
    }


def test_the_card_shows_scores_by_split_and_how_the_recipe_was_found(searched, exported):
    text = (exported / "README.md").read_text("utf-8")
    assert "| test | alpha | acc |" in text
    assert "| search | beta | acc |" in text
    assert "seed 7" in text
    assert text.startswith("---\n")
    assert "# winner\n" in text


def test_the_winners_card_says_what_the_report_says_of_it(searched, exported, tmp_path):
    store, search = searched
    results = read_results(store, search)
    text = (exported / "README.md").read_text("utf-8")
    assert results.sentence in text
    assert results.optimism.sentence in text
    another = next(c for c in store.candidates(search.id) if c.id != results.winner.candidate_id)
    export_candidate(store, another, tmp_path / "other")
    assert results.sentence not in (tmp_path / "other" / "README.md").read_text("utf-8")


def test_the_configuration_is_the_candidates_recipe(searched, exported):
    store, search = searched
    recipe = load_recipe(exported / "mergekit_config.yml")
    assert recipe.recipe_id == find_candidate(store, search.id).recipe_id


def test_a_search_name_means_its_winner(searched):
    store, search = searched
    winner = read_results(store, search).winner
    assert find_candidate(store, "found").id == winner.candidate_id
    assert find_candidate(store, f"found:{winner.number}").id == winner.candidate_id
    assert find_candidate(store, str(winner.candidate_id)).number == winner.number


@pytest.mark.parametrize("name", ["nope", "found:999", "found:x", "987654"])
def test_a_candidate_that_is_not_there_is_refused(searched, name):
    with pytest.raises(NotFoundError):
        find_candidate(searched[0], name)


def test_the_base_exported_alone_is_the_base(searched, tmp_path):
    store, search = searched
    export_candidate(store, find_candidate(store, "found:0"), tmp_path / "base")
    weights = load_file(tmp_path / "base" / "model.safetensors")
    original = load_file(f"{search.spec.base_model}/model.safetensors")
    assert weights.keys() == original.keys()
    assert all((weights[name] == original[name]).all() for name in weights)


def test_a_folder_with_something_in_it_is_refused_and_left_alone(searched, tmp_path):
    (tmp_path / "mine.txt").write_text("keep", encoding="utf-8")
    with pytest.raises(ResourceError, match="not empty"):
        export_candidate(searched[0], find_candidate(searched[0], "found"), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_an_empty_folder_is_taken(searched, tmp_path):
    (tmp_path / "out").mkdir()
    export_candidate(searched[0], find_candidate(searched[0], "found:1"), tmp_path / "out")
    assert (tmp_path / "out" / "README.md").is_file()


@pytest.mark.parametrize("broken", ["write_card", "merge_recipe"])
def test_nothing_is_left_behind_when_an_export_fails(searched, tmp_path, monkeypatch, broken):
    def fail(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(f"evomerge.export.candidates.{broken}", fail)
    with pytest.raises(KeyboardInterrupt):
        export_candidate(searched[0], find_candidate(searched[0], "found"), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_is_gone_is_refused_and_nothing_is_left_behind(searched, tmp_path):
    store, _ = searched
    spec = fake_spec(tmp_path / "models", strategy={"seed": 8}, budget={"candidates": 2})
    search = submit_search(store, check_search(spec, store.url))
    run_search(store, search.id, make_dispatcher(spec, store.url, inline=True), ignore)
    (tmp_path / "models" / "y" / "model.safetensors").unlink()
    with pytest.raises(EvomergeError):
        export_candidate(store, find_candidate(store, search.id), tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["models"]


def test_progress_reaches_the_end(searched, tmp_path):
    seen = []
    export_candidate(
        searched[0],
        find_candidate(searched[0], "found"),
        tmp_path / "out",
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen[-1][0] == seen[-1][1] > 0


def test_hub_ids_keep_their_owner_and_lose_their_revision():
    assert public_name("org/model@abc123") == "org/model"
    assert public_name("/data/models/mine") == "mine"
    assert public_name("./mine") == "mine"


def test_an_adapter_is_named_beside_its_model():
    names = ("org/base@abc", "org/base@abc+/data/helper", "org/base@abc+org/lora@def")
    assert [public_name(name) for name in names] == [
        "org/base",
        "org/base + helper",
        "org/base + org/lora",
    ]
    recipe = Recipe(merge_method="linear", models=tuple(Source(model=name) for name in names))
    front = YAML(typ="safe").load(card_text("mine", recipe, "").split("---\n")[1])
    assert front["base_model"] == ["org/base", "helper", "org/lora"]


def test_a_card_without_a_search_has_recipe_and_models_alone():
    recipe = Recipe(
        merge_method="linear",
        models=(Source(model="org/a", parameters={"weight": constant(1.0)}),),
    )
    text = card_text("mine", recipe, dump_recipe(recipe))
    assert "## Scores" not in text
    assert "- `org/a`" in text


def test_odd_names_are_quoted_in_the_front_matter():
    recipe = Recipe(
        merge_method="linear",
        models=(Source(model="/m/1: odd #name", parameters={"weight": constant(1.0)}),),
    )
    provenance = Provenance("s", "candidate 1", "cma", 0, 3)
    text = card_text("mine", recipe, dump_recipe(recipe), provenance)
    assert YAML(typ="safe").load(text.split("---\n")[1])["base_model"] == ["1: odd #name"]
