"""The reading says in words what the figures show, each sentence with its source."""

import json
import re
from xml.etree import ElementTree

import pytest

from evomerge.cli.exits import run
from evomerge.inspection import inspect_models
from evomerge.inspection.plot import draw_page, draw_svg
from evomerge.inspection.reading import percent
from tests.inspection.models import star


def texts(tmp_path, changes):
    models = star(tmp_path, changes)
    found = inspect_models([models[name] for name in changes], models["base"])
    assert all(remark.source for remark in found.reading)
    return " ".join(remark.text for remark in found.reading)


def test_models_that_agree_may_just_be_averaged(tmp_path):
    said = texts(tmp_path, {"a": {"u": 1.0, "v": 0.2}, "b": {"u": 1.0, "w": 0.2}})
    assert "These two agree" in said
    assert "averaging may do" in said


def test_unrelated_models_are_said_to_be_so(tmp_path):
    # About 30 % of opposite signs: half of what is unrelated, the rest shared.
    said = texts(tmp_path, {"a": {"u": 1.0, "v": 2.2}, "b": {"u": 1.0, "w": 2.2}})
    assert "little to do with each other" in said


def test_signs_as_by_chance_point_to_ties(tmp_path):
    assert "TIES" in texts(tmp_path, {"a": {"u": 1.0}, "b": {"v": 1.0}})


def test_a_model_that_undoes_another_is_named(tmp_path):
    said = texts(tmp_path, {"a": {"u": 1.0}, "b": {"u": -0.5, "v": 0.2}})
    assert re.search("a and b undo each other", said)


def test_a_model_that_conflicts_with_all_others_stands_apart(tmp_path):
    alike = {name: {"u": 1.0, name: 0.8} for name in ("a", "b")}
    said = texts(tmp_path, {**alike, "c": {"w": 1.0}})
    assert "c stands apart" in said
    assert "a stands apart" not in said


def test_a_copy_of_the_base_is_to_be_left_out(tmp_path):
    assert "b equals the base" in texts(tmp_path, {"a": {"u": 1.0}, "b": {}})


def test_a_model_far_away_is_pointed_out(tmp_path):
    assert "a is far from the base" in texts(tmp_path, {"a": {"u": 40.0}})


def test_small_changes_are_what_dare_was_made_for(tmp_path):
    assert "DARE" in texts(tmp_path, {"a": {"u": 1.0}})
    assert "DARE" not in texts(tmp_path / "more", {"a": {"u": 5.0}})


def test_small_shares_keep_their_digits():
    assert [percent(x) for x in (None, 0.00123, 0.0123, 0.123)] == ["–", "0.12 %", "1.2 %", "12 %"]


def test_every_figure_of_the_picture_is_written_in_its_cell(tmp_path):
    models = star(tmp_path, {"a": {"u": 1.0}, "b": {"u": -1.0}})
    found = inspect_models([models["a"], models["b"]], models["base"])
    root = ElementTree.fromstring(draw_svg(found.geometry))
    written = [e.text for e in root.iter("{http://www.w3.org/2000/svg}text")]
    assert written.count("-1.00") == 2
    for region in found.geometry.regions:
        for distance in region.distance.values():
            assert percent(distance) in written
    assert "<svg" in draw_page(found, found.geometry)


@pytest.fixture
def models(tmp_path):
    return star(tmp_path, {"a": {"u": 1.0}, "b": {"v": 1.0}})


def test_the_command_prints_tables_and_draws(models, tmp_path, capsys):
    picture = tmp_path / "conflicts.svg"
    names = [models["a"], models["b"], "--base", models["base"]]
    assert run(["inspect", *names, "--plot", str(picture)]) == 0
    out = capsys.readouterr().out
    assert "a · b" in out
    assert "Reading" in out
    assert picture.read_text().startswith("<svg")


def test_json_has_every_region_and_nothing_else_on_stdout(models, capsys):
    assert run(["inspect", models["a"], models["b"], "--base", models["base"], "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["geometry"]["models"] == [models["a"], models["b"]]
    (pair,) = found["geometry"]["whole"]["pairs"]
    assert pair["models"] == [models["a"], models["b"]]
    assert -1 <= pair["cosine"] <= 1


def test_a_picture_of_nothing_is_refused(models, tmp_path, capsys):
    picture = str(tmp_path / "x.svg")
    assert run(["inspect", models["a"], models["b"], "--plot", picture]) == 2
    assert "--base" in capsys.readouterr().err
    assert run(["inspect", models["a"], "--plot", "x.png"]) == 2
