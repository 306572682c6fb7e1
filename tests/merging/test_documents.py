"""Several merges in one file: order, circles, unknown names, and where the results lie."""

import pytest
import torch

from evomerge.cli.exits import run
from evomerge.errors import RecipeError, ResourceError, UsageError
from evomerge.merging.chain import Options, merge_file
from evomerge.merging.checkpoint import open_checkpoint
from evomerge.merging.documents import load_documents, read_documents, results_of
from tests.merging.checkpoints import llama, random_weights, save, tuned

STEPS = """\
merge_method: linear
models:
  - {model: soup, parameters: {weight: 3}}
  - {model: c, parameters: {weight: 1}}
---
name: soup
merge_method: linear
models:
  - {model: a, parameters: {weight: 1}}
  - {model: b, parameters: {weight: 1}}
"""
SINKS = STEPS.replace("merge_method: linear\n", "name: final\nmerge_method: linear\n", 1) + (
    "---\nname: other\nmerge_method: passthrough\nmodels: [{model: soup}]\n"
)
Q = "model.layers.0.self_attn.q_proj.weight"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    weights = random_weights(llama(), 0)
    for seed, name in enumerate("abc"):
        save(tmp_path / name, tuned(weights, seed))
    (tmp_path / "m.yml").write_text(STEPS)
    return tmp_path


def weight(folder, name=Q):
    checkpoint = open_checkpoint(folder)
    return checkpoint.tensor(checkpoint.index.tensors[name])


def test_merges_come_after_those_that_they_use(folder):
    documents = load_documents(folder / "m.yml")
    assert [document.name for document in documents] == ["soup", None]
    assert documents[1].uses == ("soup",)
    assert [document.name for document in results_of(documents)] == [None]


def test_the_final_merge_is_made_of_the_ones_before_and_those_vanish(folder):
    (merged,) = merge_file(folder / "m.yml", folder / "out", Options())
    assert merged.folder == folder / "out"
    a, b, c = (weight(folder / name) for name in "abc")
    soup = ((a.float() + b.float()) / 2).to(torch.bfloat16)
    assert torch.equal(weight(folder / "out"), ((3 * soup.float() + c.float()) / 4).bfloat16())
    left = {path.name for path in folder.iterdir()} - {"cache"}
    assert left == {"a", "b", "c", "m.yml", "out"}


def test_a_result_carries_the_configurations_of_all_it_was_made_from(folder):
    (merged,) = merge_file(folder / "m.yml", folder / "out", Options())
    written = (folder / "out/mergekit_config.yml").read_text()
    assert written == merged.config
    again = read_documents(written, "again", folder)
    assert [x.recipe for x in again] == [x.recipe for x in load_documents(folder / "m.yml")]


def test_several_final_merges_get_a_folder_each(folder):
    (folder / "m.yml").write_text(SINKS)
    merged = merge_file(folder / "m.yml", folder / "out", Options())
    assert [one.folder for one in merged] == [folder / "out/final", folder / "out/other"]
    assert {path.name for path in (folder / "out").iterdir()} == {"final", "other"}


def test_results_that_are_kept_are_used_again_while_their_configuration_is_the_same(folder):
    kept = Options(intermediate=folder / "steps")
    said = []
    merge_file(folder / "m.yml", folder / "out", kept, notify=said.append)
    assert (folder / "steps/soup/model.safetensors").is_file()
    merge_file(folder / "m.yml", folder / "out2", kept, notify=said.append)
    assert [line for line in said if "already" in line] == [
        f"{folder / 'steps/soup'} holds this merge already"
    ]
    changed = STEPS.replace(
        "model: a, parameters: {weight: 1}", "model: a, parameters: {weight: 2}"
    )
    (folder / "m.yml").write_text(changed)
    with pytest.raises(ResourceError, match="not empty"):
        merge_file(folder / "m.yml", folder / "out3", kept)


def test_the_seed_of_the_command_line_is_every_merges_seed(folder):
    merged = merge_file(folder / "m.yml", folder / "out", Options(random_seed=7))
    assert merged[0].config.count("random_seed: 7") == 2


def test_an_existing_folder_and_a_missing_model_are_found_before_any_merge(folder):
    (folder / "full").mkdir()
    (folder / "full/x").touch()
    with pytest.raises(ResourceError, match="not empty"):
        merge_file(folder / "m.yml", folder / "full", Options())
    (folder / "m.yml").write_text(STEPS.replace("model: c", "model: ./c2"))
    with pytest.raises(UsageError, match=r"\./c2"):
        merge_file(folder / "m.yml", folder / "out", Options())
    assert not list(folder.glob(".out*"))


def test_an_error_midway_leaves_nothing_behind(folder):
    save(folder / "d", random_weights(llama(hidden=6), 0))
    (folder / "m.yml").write_text(STEPS.replace("model: c", "model: d"))
    with pytest.raises(UsageError, match="shape"):
        merge_file(folder / "m.yml", folder / "out", Options())
    assert not list(folder.glob("*out*"))


def test_a_merge_may_get_an_adapter_and_a_folder_may_have_a_plus(folder):
    (folder / "c").rename(folder / "c+c")
    text = STEPS.replace("model: soup", "model: soup+org/ad@v2").replace("model: c", "model: c+c")
    assert read_documents(text, "m.yml", folder)[1].uses == ("soup",)


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("model: a,", "model: soup,", 6, "circle: soup → soup"),
        ("model: soup,", "model: soop,", 3, "did you mean 'soup'"),
        ("model: soup,", "model: soup@v1,", 3, "no revisions"),
        ("name: soup", "name: ../soup", 6, "cannot name a folder"),
        ("name: soup", "name: 7", 6, "write it as text"),
        ("name: soup\n", "", 6, "two documents have no name"),
        ("merge_method", "name: soup\nmerge_method", 7, "'soup' is taken"),
        ("model: soup", "model: org/soup", 1, "no name for its folder"),
        ("name: soup", "name: soup\nbase_modle: x", 7, "base_model"),
    ],
)
def test_mistakes_are_named_with_file_line_and_remedy(folder, old, new, line, words):
    (folder / "m.yml").write_text(STEPS.replace(old, new, 1))
    with pytest.raises(RecipeError) as caught:
        results_of(load_documents(folder / "m.yml"))
    assert caught.value.where == f"{folder / 'm.yml'}:{line}"
    assert words in str(caught.value)


def test_the_command_writes_cards_and_keeps_steps_where_it_is_told(folder, capsys):
    (folder / "m.yml").write_text(SINKS)
    steps = folder / "steps"
    code = run(["merge", str(folder / "m.yml"), str(folder / "out"), "-I", str(steps)])
    assert code == 0
    assert "name: soup" in (folder / "out/other/README.md").read_text()
    assert (steps / "soup/config.json").is_file()
    assert capsys.readouterr().err.count("holds the merged model") == 2
