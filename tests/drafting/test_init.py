"""`init` writes a search file that runs, with a reason for each choice, and never over another file."""

import io
import sys

import pytest

from evomerge.cli.exits import run
from evomerge.drafting import AskedTask, task_of
from evomerge.drafting.text import scalar
from evomerge.errors import UsageError
from evomerge.spec import load_spec
from tests.evaluation import tiny
from tests.inspection.models import star

AGREE = {"a": {"u": 1.0, "v": 0.2}, "b": {"u": 1.0, "w": 0.2}}
CONFLICT = {"a": {"u": 1.0}, "b": {"v": 1.0}, "c": {"w": 1.0}}
UNRELATED = {"a": {"u": 1.0, "v": 2.2}, "b": {"u": 1.0, "w": 2.2}}


def flags(models, *tasks, engine="fake"):
    given = ["--base", models["base"], "--engine", engine]
    given += [x for name in models if name != "base" for x in ("--model", models[name])]
    return given + [x for task in tasks for x in ("--task", task)]


@pytest.fixture
def no_terminal(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO())


class Terminal(io.StringIO):
    """Somebody who types these answers."""

    def isatty(self):
        return True


@pytest.mark.usefixtures("no_terminal")
@pytest.mark.parametrize(
    ("changes", "space"),
    [
        (AGREE, "linear_global"),
        (CONFLICT, "ties_global"),
        (UNRELATED, "task_arithmetic_global"),
        ({"a": {"u": 1.0}}, "one_model"),
        ({"a": {"u": 1.0}, "b": {}}, "ties_global"),
    ],
)
def test_the_space_follows_from_how_the_models_conflict(changes, space, tmp_path):
    models = star(tmp_path / "models", changes)
    file = tmp_path / "search.yml"
    assert run(["init", str(file), *flags(models, "alpha:acc")]) == 0
    spec = load_spec(file)
    assert spec.space == space
    assert "# Chosen because" in file.read_text()
    assert [task.task for task in spec.objective.tasks] == ["alpha"]


@pytest.mark.usefixtures("no_terminal")
def test_the_file_runs_as_it_is_written(tmp_path):
    models = star(tmp_path / "models", CONFLICT)
    file, store = tmp_path / "search.yml", str(tmp_path / "store.db")
    assert run(["init", str(tmp_path), *flags(models, "alpha", "beta"), "--candidates", "8"]) == 0
    assert load_spec(file).budget.candidates == 8
    assert "models/base" in file.read_text()
    assert str(tmp_path) not in file.read_text(), "paths below the file's folder are relative"
    assert run(["run", str(file), "--inline", "--store", store]) == 0


@pytest.mark.usefixtures("no_terminal")
def test_a_file_for_real_models_and_tasks_is_valid(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("psutil.virtual_memory", type("M", (), {"available": 1 << 40}))
    models = tiny.write_models(tmp_path / "models", hidden=64)
    tasks = tiny.write_tasks(tmp_path / "tasks")
    file = str(tmp_path / "search.yml")
    given = [*flags(models, "letters:acc", engine="vllm"), "--include-path", str(tasks)]
    assert run(["init", file, *given]) == 0
    assert "it is fine" in capsys.readouterr().err
    assert run(["validate", file]) == 0


@pytest.mark.usefixtures("no_terminal")
def test_without_a_terminal_it_says_which_flags_are_missing(tmp_path, capsys):
    assert run(["init", str(tmp_path / "search.yml"), "--base", "somewhere"]) == 2
    said = capsys.readouterr().err
    assert "--model --task" in said
    assert "--base MODEL --model MODEL … --task TASK" in said
    assert not (tmp_path / "search.yml").exists()


@pytest.mark.usefixtures("no_terminal")
def test_a_file_that_exists_is_overwritten_only_by_force(tmp_path, capsys):
    models = star(tmp_path / "models", AGREE)
    file = tmp_path / "search.yml"
    file.write_text("mine\n")
    assert run(["init", str(file), *flags(models, "alpha")]) == 2
    assert "--force" in capsys.readouterr().err
    assert file.read_text() == "mine\n"
    assert run(["init", str(file), *flags(models, "alpha"), "--force"]) == 0
    assert load_spec(file).base_model == models["base"]


def test_on_a_terminal_it_asks_three_questions_and_then_whether_to_write(tmp_path, monkeypatch):
    models = star(tmp_path / "models", AGREE)
    file = tmp_path / "search.yml"
    typed = [models["base"], models["a"], models["b"], "", "alpha:acc", "beta", "", "y"]
    monkeypatch.setattr(sys, "stdin", Terminal("\n".join(typed) + "\n"))
    assert run(["init", str(file), "--engine", "fake"]) == 0
    spec = load_spec(file)
    assert (spec.base_model, spec.models) == (models["base"], (models["a"], models["b"]))
    assert [(t.task, t.metric) for t in spec.objective.tasks] == [("alpha", "acc"), ("beta", None)]


def test_several_names_may_stand_on_one_line_and_task_files_are_found_beside_the_file(
    tmp_path, monkeypatch, capsys
):
    models = star(tmp_path / "models", AGREE)
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "mine.yaml").write_text("task: mine\n")
    odd = tmp_path / "with a blank"
    (tmp_path / "models" / "b").rename(odd)
    typed = [models["base"], models["a"], str(odd), "", "alpha:acc, beta gamma", "", "y"]
    monkeypatch.setattr(sys, "stdin", Terminal("\n".join(typed) + "\n"))
    assert run(["init", str(tmp_path / "search.yml"), "--engine", "fake"]) == 0
    spec = load_spec(tmp_path / "search.yml")
    assert spec.models == (models["a"], str(odd))
    assert [task.task for task in spec.objective.tasks] == ["alpha", "beta", "gamma"]
    assert spec.objective.include_path == tmp_path / "tasks"
    assert "task files are looked for in" in capsys.readouterr().err


def test_a_no_writes_nothing(tmp_path, monkeypatch):
    models = star(tmp_path / "models", AGREE)
    monkeypatch.setattr(sys, "stdin", Terminal("n\n"))
    assert run(["init", str(tmp_path / "search.yml"), *flags(models, "alpha")]) == 1
    assert not (tmp_path / "search.yml").exists()


@pytest.mark.usefixtures("no_terminal")
def test_models_that_do_not_fit_are_named_and_nothing_is_written(tmp_path, capsys):
    models = star(tmp_path / "models", {"a": {"u": 1.0}})
    models["odd"] = tiny.write_models(tmp_path / "other", hidden=64)["base"]
    assert run(["init", str(tmp_path / "search.yml"), *flags(models, "alpha")]) == 2
    assert "lacks tensors" in capsys.readouterr().err
    assert not (tmp_path / "search.yml").exists()


@pytest.mark.usefixtures("no_terminal")
def test_a_file_that_cannot_run_yet_is_written_with_what_is_wrong(tmp_path, capsys):
    models = tiny.write_models(tmp_path / "models", hidden=64)
    tasks = tiny.write_tasks(tmp_path / "tasks")
    file = tmp_path / "search.yml"
    given = flags(models, "letters:f1", engine="vllm")
    assert run(["init", str(file), *given, "--include-path", str(tasks)]) == 2
    assert file.exists()
    assert "f1" in capsys.readouterr().err


def test_tasks_are_written_with_or_without_a_metric():
    assert task_of("gsm8k") == AskedTask("gsm8k")
    assert task_of("mine:exact_match") == AskedTask("mine", "exact_match")
    for wrong in (":acc", "mine:", ""):
        with pytest.raises(UsageError):
            task_of(wrong)


@pytest.mark.parametrize("text", ["a: b", "yes", "# no", "null", "two words", "über", "1e3", "-x"])
def test_strings_that_yaml_would_take_for_something_else_are_quoted(text):
    from ruamel.yaml import YAML

    assert YAML(typ="safe").load(f"x: {scalar(text)}") == {"x": text}
