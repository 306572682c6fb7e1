"""Search files from strangers: read safely, kept to what the server allows."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from evomerge.api.intake import check_yaml, is_path, read_submission
from evomerge.api.settings import ServerSettings
from evomerge.errors import SpecError, UsageError
from tests.cli.conftest import write_search
from tests.support import write_checkpoint


@pytest.fixture
def house(tmp_path):
    """Models that the server allows, and others beside them that it does not."""
    models = tmp_path / "models"
    models.mkdir()
    file = write_search(models)
    write_checkpoint(tmp_path / "secret", 9)
    (models / "link").symlink_to(tmp_path / "secret")
    (tmp_path / "models-too").mkdir()
    write_checkpoint(tmp_path / "models-too" / "b", 9)
    return tmp_path, YAML(typ="safe").load(file)


def submission(house, settings=None, **changes):
    import json

    folder, content = house
    chosen = settings or ServerSettings(model_folders=(folder / "models",))
    return read_submission(json.dumps({**content, **changes}), chosen)


def test_relative_names_are_folders_of_the_servers_models(house):
    folder, _ = house
    assert submission(house).base_model == str(folder / "models" / "b")


@pytest.mark.parametrize(
    "name",
    [
        "../secret",
        "x/../../secret",
        "/etc",
        "~/secret",
        "~root",
        "link",
        "./../models-too/b",
        "b+../secret",
        "x/../../../../../../../../etc/passwd",
        "\\\\host\\share",
        "b\u0000",
    ],
)
def test_no_name_leads_out_of_the_servers_folders(house, name):
    with pytest.raises(UsageError):
        submission(house, models=[name, "y"])


def test_absolute_paths_outside_are_refused_and_inside_are_not(house):
    folder, _ = house
    with pytest.raises(SpecError, match="not below a folder"):
        submission(house, models=[str(folder / "secret"), "y"])
    with pytest.raises(SpecError, match="not below a folder"):
        submission(house, models=[str(folder / "models-too" / "b"), "y"])
    assert submission(house, models=[str(folder / "models" / "x"), "y"])


@pytest.mark.parametrize(
    "changes",
    [
        {"objective": {"tasks": [{"task": "a"}], "include_path": "/etc"}},
        {"objective": {"tasks": [{"task": "a"}], "include_path": "../secret"}},
        {"strategy": {"start": {"recipes": ["../secret/config.json"]}}},
        {"strategy": {"start": {"recipes": ["/etc/passwd"]}}},
        {"calibration": {"data": "/etc/passwd"}},
        {"calibration": {"data": "../secret/config.json"}},
        {"calibration": {"own": {"x": "../secret/config.json"}}},
        {"space": "../../../../etc/passwd"},
        {"space": "/etc/passwd"},
        {"objective": {"tasks": [{"task": "../../etc/passwd"}]}},
    ],
    ids=str,
)
def test_no_other_field_leads_out_either(house, changes):
    with pytest.raises(UsageError):
        submission(house, **changes)


def test_instructions_for_models_may_say_anything(house):
    said = "/think, then answer +/- as in ../ notation"
    tasks = [{"task": "a"}]
    found = submission(house, objective={"tasks": tasks, "system_instruction": said})
    assert found.objective.system_instruction == said


def test_an_adapter_may_lie_no_further_out_than_a_model(house):
    folder, _ = house
    with pytest.raises(SpecError, match="not below a folder"):
        submission(house, models=[f"{folder}/models/x+{folder}/secret", "y"])
    with pytest.raises(UsageError):
        submission(house, models=["x+../secret", "y"])


def test_recipes_to_start_from_name_the_searchs_models_alone(house):
    recipe = {
        "merge_method": "linear",
        "models": [{"model": "org/other", "parameters": {"weight": [{"value": 1.0}]}}],
    }
    with pytest.raises(SpecError, match="none of the search's models"):
        submission(house, strategy={"start": {"recipes": [recipe]}})


def test_folders_beside_the_servers_program_are_no_hub_models(house, monkeypatch):
    folder, _ = house
    (folder / "org" / "model").mkdir(parents=True)
    monkeypatch.chdir(folder)
    with pytest.raises(SpecError):
        submission(house, models=["org/model", "y"])


def test_the_hub_can_be_closed(house):
    folder, _ = house
    closed = ServerSettings(model_folders=(folder / "models",), hub=False)
    assert submission(house, models=["org/model", "y"]).models[0] == "org/model"
    with pytest.raises(SpecError, match="own folders alone"):
        submission(house, closed, models=["org/model", "y"])


@pytest.mark.parametrize(
    ("changes", "permission"),
    [
        ({"engine": {"name": "fake", "trust_remote_code": True}}, "trust_remote_code"),
        ({"workers": {"runtime_env": {"pip": ["evil"]}}}, "runtime_env"),
        (
            {"objective": {"custom": "theirs", "tasks": [{"task": "a"}]}},
            "entry_points",
        ),
    ],
    ids=lambda x: x if isinstance(x, str) else "",
)
def test_code_runs_only_where_the_operator_said_so(house, changes, permission):
    folder, _ = house
    with pytest.raises(SpecError, match="code that this server does not allow"):
        submission(house, **changes)
    allowed = ServerSettings(model_folders=(folder / "models",), **{permission: True})
    assert submission(house, allowed, **changes)


BOMBS = {
    "aliases": "a: &a [x, x]\nb: [*a, *a]\n",
    "billion laughs": "a: &a [l, l, l, l, l, l, l, l, l]\n"
    + "".join(
        f"{n}: &{n} [{', '.join([f'*{p}'] * 9)}]\n"
        for p, n in zip("abcdefgh", "bcdefghi", strict=True)
    ),
    "merge keys": "a: &a {x: 1}\nb: {<<: *a}\n",
    "python tags": "a: !!python/object/apply:os.system ['true']\n",
    "own tags": "a: !evil x\n",
    "depth": "[" * 5000 + "]" * 5000,
    "depth of mappings": "".join(f"{' ' * n}a:\n" for n in range(300)),
    "many values": "a: [" + "1, " * 60_000 + "1]",
    "long line": "a: '" + "x" * 50_000 + "'",
    "documents": "a: 1\n---\nb: 2\n",
    "a huge number": "seed: " + "9" * 10_000,
    "control letters": "a: \x00\x01",
    "surrogates": "a: '\ud800'",
    "a directive": "%YAML 9.9\n---\na: 1\n",
    "nothing": "",
    "a list": "- a\n- b\n",
    "a scalar": "hello",
    "broken": "a: [1, 2",
    "tabs": "a:\n\t- b\n",
    "a date": "a: 99999-99-99",
    "a set": "? a\n? b\n",
    "infinite": "budget: {hours: .inf}",
    "not a number": "strategy: {sigma0: .nan}",
}


@pytest.mark.parametrize("name", BOMBS)
def test_what_yaml_can_do_beyond_plain_values_is_refused_at_once(name):
    before = time.monotonic()
    with pytest.raises(UsageError):
        read_submission(BOMBS[name], ServerSettings())
    assert time.monotonic() - before < 5


def test_anchors_and_depth_are_told_with_their_line():
    with pytest.raises(SpecError, match="anchor or an alias") as caught:
        check_yaml("a: 1\nb: &x 2\n")
    assert caught.value.where == "search file:2"


@given(st.text(max_size=300))
def test_whatever_is_sent_the_answer_is_an_error_for_people(text):
    with pytest.raises(UsageError):
        read_submission(text, ServerSettings())


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)
FIELDS = [
    "name", "base_model", "models", "space", "objective", "strategy", "racing", "budget",
    "workers", "engine", "selection", "calibration", "out_dtype",
]  # fmt: skip


@given(st.dictionaries(st.sampled_from(FIELDS), plain, min_size=1))
def test_whatever_the_fields_hold_the_answer_is_an_error_for_people(content):
    import json

    with pytest.raises(UsageError):
        read_submission(json.dumps(content), ServerSettings())


@pytest.mark.parametrize(
    ("text", "leads"),
    [
        ("/etc", True),
        ("~", True),
        ("a/../b", True),
        ("..", True),
        ("re:^model", False),
        ("org/model@main", False),
        ("a..b", False),
        ("fitness.per/kind", False),
    ],
)
def test_what_counts_as_a_path(text, leads):
    assert is_path(text) is leads
