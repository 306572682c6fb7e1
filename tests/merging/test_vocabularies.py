"""Rows of embeddings and heads are merged token by token, never cropped, and never in silence."""

import json

import pytest
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer

from evomerge.errors import CheckpointError, RecipeError
from evomerge.merging.merge import MergeSource
from evomerge.merging.offline import merge_to_folder
from evomerge.merging.statistics import StatisticsCache
from evomerge.recipe import Recipe, Source, Token, constant
from evomerge.recipe import Tokenizer as Block
from tests.merging.adapters import PREFIX, factors, linear, save_adapter
from tests.merging.checkpoints import recipe
from tests.merging.tokenizers import model, row

ONLY_A = {"a": 1.0, "b": 0.0}
EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"


class Models:
    """Three models: `a` knows the base's words in another order, and one more; `b` one more yet."""

    def __init__(self, folder, **options):
        self.folder = folder
        self.paths = {name: folder / name for name in ("base", "a", "b")}
        words = {
            "base": ["red", "green", "blue"],
            "a": ["blue", "red", "pink", "grey"],
            "b": ["red", "green", "blue", "pink"],
        }
        made = {
            name: model(self.paths[name], words[name], seed, **options)
            for seed, name in enumerate(words)
        }
        self.tokenizers = {name: tokenizer for name, (tokenizer, _) in made.items()}
        self.weights = {name: weights for name, (_, weights) in made.items()}

    def merge(self, name, block, weights=None, said=None):
        """Merge into a folder: its tensors by name, its tokenizer, its config."""
        made = recipe("linear", {m: {"weight": w} for m, w in (weights or {"a": 1.0}).items()})
        made = made.model_copy(update={"tokenizer": block, "dtype": "float32"})
        out = self.folder / name
        merge_to_folder(made, out, models=self.paths, notify=said)
        tokenizer = Tokenizer.from_file(str(out / "tokenizer.json"))
        config = json.loads((out / "config.json").read_text())
        return load_file(out / "model.safetensors"), tokenizer, config

    def row(self, name, token, tensor=HEAD):
        return row(self.tokenizers[name], self.weights[name], token, tensor)


@pytest.fixture
def models(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return Models(tmp_path)


def test_with_the_bases_tokenizer_a_models_rows_stand_where_the_bases_tokens_do(models):
    tensors, tokenizer, config = models.merge("out", Block(source="base"))
    assert tokenizer.get_vocab() == models.tokenizers["base"].get_vocab()
    assert config["vocab_size"] == 6
    for name in (EMBEDDING, HEAD):
        assert tensors[name].shape == (6, 4)
        for token in ("<unk>", "<s>", "red", "blue"):
            assert torch.equal(row(tokenizer, tensors, token, name), models.row("a", token, name))
        # `a` does not know green: it has the base's row for it
        assert torch.equal(
            row(tokenizer, tensors, "green", name), models.row("base", "green", name)
        )
    inner = "model.layers.0.mlp.up_proj.weight"
    assert torch.equal(tensors[inner], models.weights["a"][inner])


def test_a_union_has_the_bases_tokens_first_and_then_new_ones_in_the_recipes_order(models):
    both = {"a": 0.5, "b": 0.5}
    tensors, tokenizer, config = models.merge("out", Block(source="union"), both)
    ids = tokenizer.get_vocab()
    assert sorted(ids, key=ids.get) == [
        *("<unk>", "<s>", "</s>", "red", "green", "blue"),
        *("pink", "grey"),
    ]
    assert config["vocab_size"] == 8 == len(tensors[HEAD])
    wanted = {
        "red": (models.row("a", "red") + models.row("b", "red")) / 2,
        "green": (models.row("base", "green") + models.row("b", "green")) / 2,
        "pink": (models.row("a", "pink") + models.row("b", "pink")) / 2,
        "grey": models.row("a", "grey"),  # one donor: b has the same row, and so has the mean
    }
    for token, exact in wanted.items():
        assert torch.allclose(row(tokenizer, tensors, token), exact, atol=1e-7), token


def test_a_delta_of_a_row_that_only_one_model_has_is_zero(models):
    """The donor's row fills in for the base as well, so task arithmetic leaves it as it is."""
    made = Recipe(
        merge_method="task_arithmetic",
        base_model="base",
        models=tuple(Source(model=m, parameters={"weight": constant(0.7)}) for m in "ab"),
        tokenizer=Block(source="union"),
    )
    merge_to_folder(made, models.folder / "out", models=models.paths)
    tokenizer = Tokenizer.from_file(str(models.folder / "out/tokenizer.json"))
    tensors = load_file(models.folder / "out/model.safetensors")
    assert torch.equal(row(tokenizer, tensors, "grey"), models.row("a", "grey"))


def test_a_token_that_several_have_but_not_the_base_is_their_average_elsewhere(models):
    tensors, tokenizer, _ = models.merge(
        "out", Block(source="union"), {"base": 1.0, "a": 0, "b": 0}
    )
    mean = (models.row("a", "pink") + models.row("b", "pink")) / 2
    assert torch.allclose(row(tokenizer, tensors, "pink"), mean, atol=1e-7)


def test_another_models_tokenizer_can_be_taken(models):
    tensors, tokenizer, config = models.merge("out", Block(source="a"), {"b": 1.0})
    assert tokenizer.get_vocab() == models.tokenizers["a"].get_vocab()
    assert config["vocab_size"] == 7
    assert torch.equal(row(tokenizer, tensors, "blue"), models.row("b", "blue"))
    assert torch.equal(row(tokenizer, tensors, "pink"), models.row("b", "pink"))
    # of the merged models none has grey: the tokenizer's own model gives its row
    assert torch.equal(row(tokenizer, tensors, "grey"), models.row("a", "grey"))


def test_a_recipe_says_where_rows_of_single_tokens_come_from(models):
    tokens = {
        "red": Token(model="b", force=True),
        "green": Token(model="b"),
        "blue": Token(force=True),
        "<end>": Token(model="a", token="</s>"),
        "<pad>": Token(model="b", token_id=3),
        "<zero>": Token(),
    }
    tensors, tokenizer, config = models.merge("out", Block(source="base", tokens=tokens), ONLY_A)
    wanted = {
        "red": models.row("b", "red"),
        "green": models.row("b", "green"),
        "blue": torch.zeros(4),
        "<end>": models.row("a", "</s>"),
        "<pad>": models.weights["b"][HEAD][3],
        "<zero>": torch.zeros(4),
        "<s>": models.row("a", "<s>"),
    }
    for token, exact in wanted.items():
        assert torch.equal(row(tokenizer, tensors, token), exact), token
    assert config["vocab_size"] == 9


def test_without_force_a_model_that_has_the_token_keeps_its_row(models):
    tokens = {"red": Token(model="b")}
    tensors, tokenizer, _ = models.merge("out", Block(source="base", tokens=tokens), ONLY_A)
    assert torch.equal(row(tokenizer, tensors, "red"), models.row("a", "red"))


def test_a_token_that_its_model_lacks_is_refused_by_name(models):
    with pytest.raises(RecipeError, match="grey"):
        models.merge(
            "out", Block(source="base", tokens={"<x>": Token(model="b", token="grey")}), ONLY_A
        )
    with pytest.raises(RecipeError, match="no row for 99"):
        models.merge(
            "out", Block(source="base", tokens={"<x>": Token(model="b", token_id=99)}), ONLY_A
        )
    assert not (models.folder / "out").exists()


def test_padding_rows_are_the_mean_of_all_others(models):
    tensors, _, config = models.merge("out", Block(source="union", pad_to_multiple_of=16))
    assert config["vocab_size"] == 16
    for name in (EMBEDDING, HEAD):
        mean = tensors[name][:8].mean(dim=0)
        assert torch.allclose(tensors[name][8:], mean.expand(8, 4), atol=1e-6)


def test_rows_beyond_the_bases_tokens_stay_the_bases(tmp_path):
    """Padding is never cropped, and adds nothing to a delta."""
    (tmp_path / "x").mkdir()
    padded = Models(tmp_path / "x", padding=5)
    tensors, _, config = padded.merge("out", Block(source="base"))
    assert config["vocab_size"] == 11
    assert torch.equal(tensors[HEAD][6:], padded.weights["base"][HEAD][6:])


def test_special_ids_follow_the_tokenizer(models):
    for name, ids in (("base", {"eos_token_id": 2}), ("a", {"eos_token_id": [6, 2]})):
        for file in ("config.json", "generation_config.json"):
            path = models.paths[name] / file
            content = json.loads(path.read_text()) if path.is_file() else {"top_p": 0.5}
            path.write_text(json.dumps({**content, **ids}))
    for source, wanted in (("base", 2), ("union", 2), ("a", [6, 2])):
        _, _, config = models.merge(f"out-{source}", Block(source=source), {"b": 1.0})
        generation = json.loads(
            (models.folder / f"out-{source}" / "generation_config.json").read_text()
        )
        assert config["eos_token_id"] == generation["eos_token_id"] == wanted
        assert generation["top_p"] == 0.5


def test_special_tokens_of_other_models_stay_special(tmp_path):
    model(tmp_path / "base", ["red"], 0)
    model(tmp_path / "chat", ["red"], 1, special=["<|im_end|>"])
    made = recipe("linear", {"chat": {"weight": 1.0}})
    made = made.model_copy(update={"tokenizer": Block(source="union")})
    folders = {"base": tmp_path / "base", "chat": tmp_path / "chat"}
    merge_to_folder(made, tmp_path / "out", models=folders)
    found = Tokenizer.from_file(str(tmp_path / "out/tokenizer.json"))
    assert found.encode("red<|im_end|>").tokens == ["red", "<|im_end|>"]
    assert found.decode([3, 4], skip_special_tokens=True) == "red"


def test_transformers_loads_the_union(models):
    from transformers import AutoTokenizer

    models.merge("out", Block(source="union"))
    loaded = AutoTokenizer.from_pretrained(models.folder / "out")
    assert len(loaded) == 8
    assert loaded.convert_tokens_to_ids(["red", "grey"]) == [3, 7]


def test_other_sizes_without_a_tokenizer_block_are_refused_with_the_remedy(models):
    with pytest.raises(CheckpointError, match=r"\[7, 4\].*\[6, 4\]") as caught:
        models.merge("out", None)
    assert "tokenizer: {source: union}" in caught.value.remedy


def test_equal_sizes_with_other_tokens_are_said_aloud(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    model(tmp_path / "base", ["red", "green", "blue"], 0)
    _, weights = model(tmp_path / "a", ["green", "red", "blue"], 1)
    said = []
    folders = {"base": tmp_path / "base", "a": tmp_path / "a"}
    merge_to_folder(
        recipe("linear", {"a": {"weight": 1}}), tmp_path / "out", models=folders, notify=said.append
    )
    assert [text for text in said if "2 tokens" in text and "'green'" in text] == said
    assert len(said) == 1
    assert torch.equal(load_file(tmp_path / "out/model.safetensors")[HEAD], weights[HEAD])


def test_the_same_vocabulary_changes_nothing_and_says_nothing(tmp_path):
    for seed, name in enumerate(("base", "a")):
        model(tmp_path / name, ["red", "green"], seed, padding=3, dtype=torch.bfloat16)
    folders = {name: tmp_path / name for name in ("base", "a")}
    said = []
    made = recipe("ties", {"a": {"weight": 1.0, "density": 0.5}})
    with MergeSource(folders, cache=StatisticsCache(on_disk=False), notify=said.append) as source:
        plain = dict(source.merge(made))
        for origin in ("base", "union", "a"):
            block = made.model_copy(update={"tokenizer": Block(source=origin)})
            assert source.aligned(block).checkpoints["a"] is source.checkpoints["a"]
            again = dict(source.merge(block))
            assert all(torch.equal(again[name], plain[name]) for name in plain)
    assert not said


def test_one_model_without_a_tokenizer_is_taken_to_have_the_others_order(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    model(tmp_path / "base", ["red", "green"], 0)
    model(tmp_path / "a", ["red", "green"], 1, tokenizer=False)
    folders = {name: tmp_path / name for name in ("base", "a")}
    for block in (None, Block(source="base")):
        said = []
        made = recipe("linear", {"a": {"weight": 1.0}}).model_copy(update={"tokenizer": block})
        merge_to_folder(made, tmp_path / f"out{block is None}", models=folders, notify=said.append)
        assert len(said) == 1
        assert "no tokenizer in a" in said[0]


def test_models_without_any_tokenizer_merge_and_say_so_once(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for seed, name in enumerate(("base", "a")):
        model(tmp_path / name, ["red"], seed, tokenizer=False)
    folders = {name: tmp_path / name for name in ("base", "a")}
    said = []
    merge_to_folder(
        recipe("linear", {"a": {"weight": 1}}), tmp_path / "out", models=folders, notify=said.append
    )
    assert said == ["the merged model has no tokenizer, as its base has none"]
    block = recipe("linear", {"a": {"weight": 1}}).model_copy(
        update={"tokenizer": Block(source="union")}
    )
    with pytest.raises(RecipeError, match="tokenizer is known"):
        merge_to_folder(block, tmp_path / "out2", models=folders)


def test_tied_embeddings_are_aligned_once(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    tied = Models(tmp_path, tied=True)
    tensors, tokenizer, _ = tied.merge("out", Block(source="base"))
    assert HEAD not in tensors
    assert torch.equal(row(tokenizer, tensors, "blue", EMBEDDING), tied.row("a", "blue", EMBEDDING))


def test_models_of_several_dtypes_are_aligned(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    model(tmp_path / "base", ["red", "green"], 0, dtype=torch.float32)
    _, weights = model(tmp_path / "a", ["green"], 1, dtype=torch.bfloat16)
    folders = {name: tmp_path / name for name in ("base", "a")}
    made = recipe("linear", {"a": {"weight": 1}}).model_copy(
        update={"tokenizer": Block(source="base")}
    )
    merge_to_folder(made, tmp_path / "out", models=folders)
    found = load_file(tmp_path / "out/model.safetensors")[HEAD]
    assert found.dtype == torch.float32
    assert torch.equal(found[4], weights[HEAD][3].float())


def test_candidates_of_several_vocabularies_do_not_disturb_each_other(models):
    made = recipe("ties", {"b": {"weight": 1.0, "density": 0.5}})
    blocks = [Block(source="base"), Block(source="union"), Block(source="a")]
    recipes = [made.model_copy(update={"tokenizer": block}) for block in blocks]

    def fresh():
        return MergeSource(models.paths, cache=StatisticsCache(on_disk=False))

    with fresh() as source:
        streams = [source.merge(one) for one in recipes]
        together = [dict(stream) for stream in streams]
    for one, found in zip(recipes, together, strict=True):
        with fresh() as source:
            alone = dict(source.merge(one))
        assert all(torch.equal(alone[name], found[name]) for name in alone)


def test_a_tokenizer_alone_can_be_the_source(models):
    folder = models.folder / "words"
    folder.mkdir()
    (folder / "tokenizer.json").write_bytes((models.paths["b"] / "tokenizer.json").read_bytes())
    models.paths["words"] = folder
    tensors, tokenizer, config = models.merge("out", Block(source="words"))
    assert config["vocab_size"] == 7
    assert torch.equal(row(tokenizer, tensors, "pink"), models.row("a", "pink"))


def test_an_adapter_that_brings_tokens_of_its_own_is_aligned(tmp_path, monkeypatch):
    """PEFT saves the resized embeddings and the tokenizer beside the factors."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    _, weights = model(tmp_path / "base", ["red", "green"], 0)
    wide, own = model(tmp_path / "wide", ["red", "green"], 1, special=["<call>"])
    saved = {f"{PREFIX}{name}": own[name] for name in (EMBEDDING, HEAD)}
    up = "model.layers.0.mlp.up_proj"
    adapter = save_adapter(tmp_path / "lora", saved | linear(up, *factors((6, 4), 4, 1)))
    wide.save(str(adapter / "tokenizer.json"))
    folders = {"base": tmp_path / "base", "lora": adapter}
    plain = recipe("linear", {"base+lora": {"weight": 1.0}})
    with pytest.raises(CheckpointError, match="union") as caught:
        merge_to_folder(plain, tmp_path / "out", models=folders)
    assert caught.value.where == "base+lora"
    for source, rows in (("union", 6), ("base", 5), ("base+lora", 6)):
        block = plain.model_copy(update={"tokenizer": Block(source=source)})
        out = tmp_path / f"out-{source}"
        merge_to_folder(block, out, models=folders)
        tensors = load_file(out / "model.safetensors")
        assert torch.equal(tensors[HEAD], own[HEAD][:rows])
        tokens = Tokenizer.from_file(str(out / "tokenizer.json")).get_vocab()
        assert ("<call>" in tokens) == (rows == 6)
        assert not torch.equal(tensors[f"{up}.weight"], weights[f"{up}.weight"])


def test_an_engines_vocabulary_that_is_not_known_leaves_rows_where_they_are(tmp_path):
    for seed, name in enumerate(("base", "a")):
        model(tmp_path / name, ["red"], seed, tokenizer=False)
    folders = {name: tmp_path / name for name in ("base", "a")}
    cache = StatisticsCache(on_disk=False)
    with MergeSource(folders, cache=cache, vocabulary_from="base") as source:
        aligned = source.aligned(recipe("linear", {"a": {"weight": 1.0}}))
        assert aligned.tokenizer is None
        assert aligned.checkpoints["a"] is source.checkpoints["a"]


def test_a_recipe_of_one_expert_still_has_the_engines_vocabulary(models):
    """Tokens that the expert lacks come from the model that the engine was started with."""
    only = Source(model="a", parameters={"weight": constant(1.0)})
    made = Recipe(merge_method="linear", base_model="a", models=(only,))
    cache = StatisticsCache(on_disk=False)
    with MergeSource(models.paths, cache=cache, vocabulary_from="base") as source:
        tensors = dict(source.merge(made))
    base = models.tokenizers["base"]
    assert torch.equal(row(base, tensors, "blue"), models.row("a", "blue"))
    assert torch.equal(row(base, tensors, "green"), models.row("base", "green"))
