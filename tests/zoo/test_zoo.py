"""The zoo of the demo, drastically shortened: what it writes loads, repeats itself and is honest."""

import json
import random
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from evomerge.spec import load_spec
from evomerge.zoo import ExpertConfig, StageConfig, Zoo, ZooConfig, build_zoo, default_folder
from evomerge.zoo.config import SKILLED
from evomerge.zoo.skills import SKILLS, is_held_out
from evomerge.zoo.tasks import task_names

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

TINY = ZooConfig(
    hidden_size=64,
    layers=1,
    heads=2,
    mlp_size=64,
    batch_size=8,
    stages=(StageConfig(SKILLED, 2, 0.02, 5e-3),),
    experts=(
        ExpertConfig("sort", "sort", "sort", 2, 1e-3),
        ExpertConfig("decoy", "sort", "sort_down", 1, 1e-3, replay=0.0),
    ),
    documents=60,
)


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Zoo:
    return build_zoo(tmp_path_factory.mktemp("zoo") / "zoo", config=TINY)


def _weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


def _documents(zoo: Zoo) -> list[dict[str, object]]:
    files = sorted(zoo.tasks.glob("*.jsonl"))
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def test_every_model_loads_with_transformers(zoo: Zoo) -> None:
    for folder in (zoo.base, *zoo.experts):
        model = transformers.AutoModelForCausalLM.from_pretrained(folder)
        assert isinstance(model, transformers.LlamaForCausalLM)
        assert model.config.head_dim == 32


def test_each_character_is_one_token_and_comes_back(zoo: Zoo) -> None:
    tokenizer = transformers.AutoTokenizer.from_pretrained(zoo.base)
    ids = tokenizer("R:abcd>dcba<eos>")["input_ids"]
    assert len(ids) == 12
    assert ids[-1] == tokenizer.eos_token_id
    assert tokenizer.decode(ids, skip_special_tokens=True) == "R:abcd>dcba"


def test_prompt_and_answer_tokenise_apart_as_together(zoo: Zoo) -> None:
    tokenizer = transformers.AutoTokenizer.from_pretrained(zoo.base)
    whole = tokenizer("S:mnxp>mnpx")["input_ids"]
    assert whole == tokenizer("S:mnxp>")["input_ids"] + tokenizer("mnpx")["input_ids"]


def test_experts_differ_from_the_base_and_from_one_another(zoo: Zoo) -> None:
    everyone = (zoo.base, *zoo.experts)
    assert len({_weights(folder) for folder in everyone}) == len(everyone)


def test_the_same_configuration_yields_the_same_bytes(zoo: Zoo, tmp_path: Path) -> None:
    random.seed(3)
    torch.manual_seed(3)
    again = build_zoo(tmp_path / "again", config=TINY)
    for first, second in zip((zoo.base, *zoo.experts), (again.base, *again.experts), strict=True):
        assert _weights(first) == _weights(second)


def test_training_leaves_the_global_generator_alone(tmp_path: Path) -> None:
    before = torch.get_rng_state()
    build_zoo(tmp_path / "zoo", config=TINY)
    assert torch.equal(before, torch.get_rng_state())


def test_a_finished_zoo_is_not_trained_again(zoo: Zoo) -> None:
    told: list[str] = []
    again = build_zoo(zoo.base.parent, lambda what, _share: told.append(what), TINY)
    assert again == zoo
    assert told == []


def test_a_zoo_of_another_configuration_is_replaced(tmp_path: Path) -> None:
    place = tmp_path / "zoo"
    place.mkdir()
    (place / "manifest.json").write_text('{"hash": "of another one"}')
    zoo = build_zoo(place, config=TINY)
    assert json.loads((place / "manifest.json").read_text())["hash"] == TINY.hash
    assert zoo.base.is_dir()


def test_a_build_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    def stop(_what: str, _share: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_zoo(tmp_path / "zoo", stop, TINY)
    assert list(tmp_path.iterdir()) == []


def test_progress_rises_to_one(tmp_path: Path) -> None:
    shares: list[float] = []
    build_zoo(tmp_path / "zoo", lambda _what, share: shares.append(share), TINY)
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_no_task_asks_about_a_string_that_was_trained_on(zoo: Zoo) -> None:
    for document in _documents(zoo):
        string = str(document["prompt"]).split(":")[1].split(">")[0]
        assert is_held_out(string)


def test_no_string_is_in_two_documents(zoo: Zoo) -> None:
    strings = [str(document["prompt"]).split(">")[0] for document in _documents(zoo)]
    assert len(set(strings)) == len(strings)


def test_answers_are_right_and_choices_hold_them(zoo: Zoo) -> None:
    skills = {skill.symbol: skill for skill in SKILLS.values()}
    for document in _documents(zoo):
        head, known = str(document["prompt"]).split(">")
        symbol, string = head.split(":")
        answer = skills[symbol].answer(string)
        if "answer" in document:
            assert document["answer"] == answer
        else:
            choices, gold = document["choices"], document["gold"]
            assert isinstance(choices, list) and isinstance(gold, int)
            assert known + choices[gold] == answer[: len(known) + 1]


def test_task_files_name_their_documents_by_absolute_path(zoo: Zoo) -> None:
    for name in task_names():
        task = YAML(typ="safe").load((zoo.tasks / f"{name}.yaml").read_text())
        data = Path(task["dataset_kwargs"]["data_files"]["test"])
        assert task["task"] == name
        assert data.is_absolute()
        assert len(data.read_text().splitlines()) == TINY.documents


def test_the_search_file_is_one_that_evomerge_reads(zoo: Zoo) -> None:
    spec = load_spec(zoo.search_file)
    assert spec.base_model == str(zoo.base)
    assert spec.models == tuple(map(str, zoo.experts))
    assert {task.task for task in spec.objective.tasks} == set(task_names())


def test_the_folder_follows_the_cache_setting_and_the_configuration(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_folder(TINY) == tmp_path / "evomerge" / f"zoo-{TINY.hash}"
    assert default_folder() != default_folder(TINY)
