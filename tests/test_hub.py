"""A name becomes a folder in one way everywhere: paths first, then the hub at a pinned revision."""

from pathlib import Path

import pytest

from evomerge.errors import CheckpointError
from evomerge.hub import local_folder, model_folders, parts_of, pin, split_model
from evomerge.spec import resolve_model

OLD, NEW = "a" * 40, "b" * 40


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the hub with `org/base` at two commits and `org/lora` at one, and no network."""
    for name, commits in (("base", (OLD, NEW)), ("lora", (OLD,))):
        home = tmp_path / "hub" / f"models--org--{name}"
        for commit in commits:
            (home / "snapshots" / commit).mkdir(parents=True)
            (home / "snapshots" / commit / "config.json").write_text("{}")
        (home / "refs").mkdir()
        (home / "refs" / "main").write_text(commits[-1])
        (home / "refs" / "v1").write_text(commits[0])
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_hub_ids_are_found_at_their_revision(hub: Path) -> None:
    assert local_folder("org/base").name == NEW
    assert local_folder("org/base@v1").name == OLD
    assert local_folder(f"org/base@{OLD}").name == OLD


def test_a_pin_is_the_commit_of_today_and_stays(hub: Path) -> None:
    assert pin("org/base") == f"org/base@{NEW}"
    assert pin("org/base@v1+org/lora") == f"org/base@{OLD}+org/lora@{OLD}"
    assert pin(pin("org/base")) == pin("org/base")
    (hub / "local").mkdir()
    assert pin("./local+org/lora") == f"./local+org/lora@{OLD}"


def test_what_cannot_be_pinned_is_left_for_preflight_to_report(hub: Path) -> None:
    assert pin("org/none") == "org/none"
    assert pin("org/base+nowhere") == f"org/base@{NEW}+nowhere"


def test_what_is_nowhere_is_named_with_what_to_do(hub: Path) -> None:
    for name in ("org/none", "org/base@nothing", "./none", "/nowhere/model", "a b"):
        with pytest.raises(CheckpointError, match="no such model folder") as caught:
            local_folder(name)
        assert caught.value.where == name
        assert caught.value.remedy
    with pytest.raises(CheckpointError) as caught:
        model_folders(["org/base+org/none"])
    assert caught.value.where == "org/none"


def test_folders_go_before_the_hub(hub: Path) -> None:
    (hub / "org/base").mkdir(parents=True)
    assert local_folder("org/base") == Path("org/base")
    assert pin("org/base") == "org/base"


def test_paths_start_from_the_file_that_names_them_and_from_home(
    hub: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (hub / "deep/m").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(hub / "deep"))
    assert local_folder("m", hub / "deep") == hub / "deep/m"
    assert local_folder("~/m") == hub / "deep/m"


def test_a_plus_parts_a_model_from_its_adapter_unless_a_folder_has_it(hub: Path) -> None:
    for name in ("base", "lora", "c++", "c++/m"):
        (hub / name).mkdir()
    assert parts_of("base+lora") == ("base", "lora")
    assert parts_of("c++/m+lora") == ("c++/m", "lora")
    assert parts_of("c++") == ("c++",)
    assert parts_of("org/base@v1+org/lora@main") == ("org/base@v1", "org/lora@main")
    (hub / "base+lora").mkdir()
    assert parts_of("base+lora") == ("base+lora",)
    assert split_model("a+b", {"a", "b"}.__contains__) == ("a", "b")


def test_both_halves_in_a_search_file_become_absolute_paths(hub: Path) -> None:
    for name in ("base", "lora"):
        (hub / name).mkdir()
    assert resolve_model("base+./lora", hub) == f"{hub}/base+{hub}/lora"
    assert resolve_model("org/base+lora", hub) == f"org/base+{hub}/lora"
