"""The zoos that have a name: what their shapes promise, without training them."""

from pathlib import Path

import pytest

from evomerge.layout import read_index
from evomerge.preflight.checks import bind_space
from evomerge.spec import SearchSpec, load_spec
from evomerge.zoo import ZOOS, ExpertConfig, StageConfig, ZooConfig, build_zoo
from evomerge.zoo.config import SKILLED
from evomerge.zoo.search_file import write_search_file
from evomerge.zoo.skills import SKILLS

pytest.importorskip("torch")


def _search(name: str, folder: Path) -> SearchSpec:
    file = folder / "search.yml"
    write_search_file(file, folder, ZOOS[name])
    return load_spec(file)


def test_the_demo_is_the_zoo_that_was_measured() -> None:
    assert ZOOS["demo"] == ZooConfig()
    assert ZOOS["demo"].hash == "ab26fc1926ac"


def test_every_named_zoo_is_another_one() -> None:
    assert len({config.hash for config in ZOOS.values()}) == len(ZOOS)


@pytest.mark.parametrize("name", ZOOS)
def test_every_expert_has_a_name_of_its_own_and_a_skill_that_there_is(name: str) -> None:
    experts = ZOOS[name].experts
    assert len({expert.name for expert in experts}) == len(experts)
    assert {skill for expert in experts for skill in (expert.asked, expert.answered)} <= set(SKILLS)


@pytest.mark.parametrize("name", ZOOS)
def test_every_named_zoo_has_a_search_file_that_evomerge_reads(name: str, tmp_path: Path) -> None:
    spec = _search(name, tmp_path)
    assert len(spec.models) == len(ZOOS[name].experts)
    assert spec.space_spec.layer_groups == max(1, ZOOS[name].layer_groups)


def test_a_zoo_with_layer_groups_is_searched_group_by_group(tmp_path: Path) -> None:
    config = ZooConfig(
        hidden_size=64,
        layers=2,
        heads=2,
        mlp_size=64,
        batch_size=8,
        stages=(StageConfig(SKILLED, 1, 0.02, 5e-3),),
        experts=(
            ExpertConfig("sort", "sort", "sort", 1, 1e-3),
            ExpertConfig("reverse", "reverse", "reverse", 1, 1e-3),
        ),
        documents=40,
        layer_groups=2,
    )
    zoo = build_zoo(tmp_path / "zoo", config=config)
    space = bind_space(load_spec(zoo.search_file), read_index(zoo.base))
    embedding_and_two_groups = 3
    assert len(space.cells) == len(zoo.experts) * embedding_and_two_groups


def test_twins_come_in_pairs_that_differ_in_steps_alone() -> None:
    experts = ZOOS["twins"].experts
    for one, other in zip(experts[::2], experts[1::2], strict=True):
        assert other.name == f"{one.name}_twin"
        assert (one.asked, one.answered, one.lr, one.replay) == (
            other.asked,
            other.answered,
            other.lr,
            other.replay,
        )
        assert one.steps < other.steps
