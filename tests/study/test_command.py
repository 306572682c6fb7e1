"""`evomerge study`: what it prints and writes, and what a person sees of a mistake."""

import json
import re

import pytest

from evomerge.cli.exits import run
from tests.study.studies import TUNED, write_study


@pytest.fixture
def evomerge(capsys):
    def call(*arguments):
        code = run([str(argument) for argument in arguments])
        return code, *capsys.readouterr()

    return call


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A finished study: its file and its folder."""
    home = tmp_path_factory.mktemp("study")
    methods = [{"name": "average", "method": "linear"}, "ties", TUNED, "nuslerp"]
    file = write_study(home, methods=methods, subsets={"sizes": [2, 3], "orders": 2})
    assert run(["study", str(file), "--inline", "--out", str(home / "out")]) == 0
    return file, home / "out"


def test_the_tables_relate_every_method_to_experts_and_base(evomerge, study):
    code, out, err = evomerge("study", study[0], "--inline", "--out", study[1])
    assert code == 0
    for heading in ("held-in / expert", "combinations", "held-out / base", "Prerequisites", "Cost"):
        assert heading in out
    assert "nuslerp merges exactly 2, not 3" in out
    assert "report.html" in err


@pytest.mark.parametrize("option", [["--json"], ["--format", "json"]])
def test_programs_get_one_json_value(evomerge, study, option):
    code, out, _ = evomerge("study", study[0], "--inline", "--out", study[1], *option)
    found = json.loads(out)
    assert code == 0
    assert {row["label"] for row in found["measures"]} > {"base", "average", "ties", "tuned"}
    assert found["measures"][0]["measures"]["held-out"]["value"] == 1.0
    assert found == json.loads((study[1] / "report.json").read_text())


def test_documents_get_markdown(evomerge, study):
    code, out, _ = evomerge(
        "study", study[0], "--inline", "--out", study[1], "--format", "markdown"
    )
    assert code == 0
    assert out.strip() in (study[1] / "report.md").read_text().strip()
    lines = [line for line in out.splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in lines[:3]}) == 1


def test_the_page_needs_no_network_and_draws_what_the_tables_say(study):
    page = (study[1] / "report.html").read_text()
    assert not re.findall(r'(?:src|href)="', page)
    assert page.count("<svg") >= 4
    assert "average 1." in page or "average 0." in page  # for those who cannot see the drawing
    embedded = re.search(r'<script type="application/json" id="study">(.*?)</script>', page, re.S)
    assert json.loads(embedded.group(1)) == json.loads((study[1] / "report.json").read_text())


def test_a_plan_is_printed_and_nothing_is_run(evomerge, study, tmp_path):
    code, out, err = evomerge("study", study[0], "--plan", "--out", tmp_path / "none")
    assert code == 0
    assert "11 merges" in out  # 3 methods on 3 subsets, one more on two of them
    assert "left out: nuslerp" in err
    assert not (tmp_path / "none").exists()


def test_a_mistake_has_a_line_and_a_remedy_and_no_traceback(evomerge, tmp_path):
    file = write_study(tmp_path, methods=["tiess"])
    code, out, err = evomerge("study", file)
    assert (code, out) == (2, "")
    assert "methods.0" in err
    assert "Traceback" not in err


def test_an_unknown_zoo_is_a_mistake(evomerge, tmp_path):
    code, _, err = evomerge("study", write_study(tmp_path, zoo="langages"))
    assert code == 2
    assert "did you mean 'languages'" in err
