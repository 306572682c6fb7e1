"""Pages that are followed to the letter: their files are written, their commands are run, in their order.

Models are tiny checkpoints under the names that the page uses. Search files get the fake engine, `run` gets
`--inline`, and what needs another machine is left out (LEFT_OUT); everything else is as the page has it.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from evomerge.cli.exits import run
from evomerge.evaluation.tasks import check_tasks
from evomerge.fitness import Objective
from tests.docs.blocks import ROOT, blocks_of
from tests.support import write_checkpoint

WALKS = {
    "docs/start.md": ("models/base", "models/support", "models/code"),
    "docs/how_to/several_objectives.md": ("org/base", "org/support", "org/code"),
    "docs/how_to/costs.md": ("org/base", "org/support", "org/code"),
}
LEFT_OUT = ("make", "psql", "pip", "evomerge init")
ENDS = {"evomerge resume": 2}
"""Exit codes other than 0: what is finished cannot be resumed, as the page says."""
ANY_SEARCH = """\
name: any
base_model: org/base
models: [org/support, org/code]
space: task_arithmetic_global
objective: {tasks: [{task: support_answers}, {task: german_reading}]}
budget: {candidates: 10}
"""


def written(name: str, text: str) -> str:
    """A file of a page as the walk needs it."""
    if not name.startswith("search"):
        return text
    return text + "\nengine: {name: fake}\n"


def walk(page: Path, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Write the files and run the commands of a page in the working folder; returns what was run."""
    done = []
    for block in blocks_of(page):
        named = re.match(r"# (\S+\.ya?ml)\n", block.text)
        if block.language == "yaml" and named:
            Path(named[1]).parent.mkdir(exist_ok=True)
            Path(named[1]).write_text(written(named[1], block.text), encoding="utf-8")
        for line in block.text.splitlines() if block.language == "sh" else ():
            if not line.startswith(LEFT_OUT):
                follow(line, capsys)
                done.append(line)
    return done


def follow(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Run one command line, with `> FILE` as a shell would have it."""
    words = shlex.split(line, comments=True)
    target = words[words.index(">") + 1] if ">" in words else None
    words = words[: words.index(">")] if target else words
    assert words[0] == "evomerge", line
    inline = ["--inline"] if words[1] == "run" else []
    capsys.readouterr()
    code = run([*words[1:], *inline])
    said = capsys.readouterr()
    assert code == ENDS.get(" ".join(words[:2]), 0), f"{line}\n{said.err}"
    if target:
        Path(target).write_text(said.out, encoding="utf-8")


@pytest.mark.parametrize("page", WALKS)
def test_a_page_can_be_followed_to_its_end(
    page: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EVOMERGE_STORE", str(tmp_path / "store.db"))
    for seed, name in enumerate(WALKS[page]):
        write_checkpoint(tmp_path / name, seed)
    (tmp_path / "tasks").mkdir()
    (tmp_path / "search.yml").write_text(written("search.yml", ANY_SEARCH), encoding="utf-8")
    done = walk(ROOT / page, capsys)
    assert len(done) >= 3
    if page == "docs/start.md":
        assert (tmp_path / "merged" / "mergekit_config.yml").exists()
        assert (tmp_path / "best.yml").read_text(encoding="utf-8").count("merge_method:") == 1
        assert "<html" in (tmp_path / "report.html").read_text(encoding="utf-8")[:200]


def test_the_page_on_tasks_gives_tasks_that_lm_eval_loads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its document and its task files, in a folder, with the objective that it shows."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "tasks"
    folder.mkdir()
    found = list(blocks_of(ROOT / "docs" / "how_to" / "own_tasks.md"))
    (document,) = [block.text for block in found if block.language == "text"]
    exercise = '{"question": "1 + 1 =", "answer": "2"}\n'
    for name, line in (("support_answers", document), ("code_exercises", exercise)):
        lines = [line.replace('question": "', f'question": "{number}. ') for number in range(40)]
        (folder / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")
    objective = None
    for block in found:
        if named := re.match(r"# (tasks/\S+\.yaml)\n", block.text):
            (tmp_path / named[1]).write_text(block.text, encoding="utf-8")
        elif block.language == "yaml":
            objective = YAML(typ="safe").load(block.text)["objective"]
    assert objective is not None
    spec = Objective.model_validate({**objective, "include_path": folder})
    assert [str(problem) for problem in check_tasks(spec)] == []
