"""Running a study on the fake engine: policies, what is kept, what a kill costs."""

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest

from evomerge.evaluation.fake import FakeEvaluator
from evomerge.fitness import References, Split, compute_fitness
from evomerge.store import open_store
from evomerge.study import load_study, make_plan
from evomerge.study.bench import Where
from evomerge.study.recipes import default_recipe
from evomerge.study.roles import Role
from evomerge.study.run import run_study
from evomerge.study.tables import Tables
from tests.study.studies import SEARCHED, TUNED, content, write_study
from tests.support import write_checkpoint


@contextmanager
def at(folder):
    store = open_store(str(folder / "study.db"), create=True)
    try:
        yield Where(store)
    finally:
        store.close()


def run(file, folder, **named):
    folder.mkdir(exist_ok=True)
    with at(folder) as where:
        return run_study(load_study(file), folder, where, **named)


def by_label(result):
    return {cell.cell.entry.label: cell for cell in result.bases[0].cells}


@pytest.fixture
def counted(monkeypatch):
    """Every evaluation that an engine makes; raises KeyboardInterrupt at the one numbered `stop`."""
    calls, plain = [], FakeEvaluator.evaluate

    def evaluate(self, recipe, split, race=None):
        if len(calls) == evaluate.stop:
            raise KeyboardInterrupt
        calls.append((recipe.recipe_id, split))
        return plain(self, recipe, split, race)

    evaluate.stop = None
    monkeypatch.setattr(FakeEvaluator, "evaluate", evaluate)
    return calls, evaluate


def test_published_values_are_those_of_the_papers_and_the_files_own_go_before_them(tmp_path):
    methods = ["ties", {"name": "ours", "method": "ties", "parameters": {"density": 0.7}}]
    spec = load_study(write_study(tmp_path, methods=methods))
    one, ours = (default_recipe(cell, None) for cell in make_plan(spec).cells)
    assert one.models[0].parameters["density"][0].value == 0.2
    assert ours.models[0].parameters["density"][0].value == 0.7
    assert one.parameters["lambda"][0].value == 1.0


def test_tuning_takes_the_best_candidate_on_the_validation_split(tmp_path, counted):
    calls, _ = counted
    result = run(write_study(tmp_path, methods=[TUNED]), tmp_path / "out")
    tried = [name for name, split in calls if split is Split.VALIDATION]
    assert len(set(tried)) == TUNED["candidates"]
    with at(tmp_path / "out") as where:
        (bench,) = [s for s in where.store.searches() if len(s.spec.objective.tasks) == 3]
        evaluations = where.store.evaluations(bench.id, Split.VALIDATION)
        recipes = {c.id: c.recipe for c in where.store.candidates(bench.id)}
        objective = bench.spec.objective
    fitness = {
        recipes[e.candidate_id].recipe_id: compute_fitness(objective, e.scores, References()).value
        for e in evaluations
    }
    chosen = by_label(result)["tuned"].choice
    assert chosen.recipe.recipe_id == max(fitness, key=fitness.get)
    assert chosen.spent.candidates == TUNED["candidates"]


def test_choosing_sees_no_test_document_and_no_task_that_was_not_trained_for(tmp_path, counted):
    run(write_study(tmp_path, methods=[TUNED, SEARCHED]), tmp_path / "out")
    with at(tmp_path / "out") as where:
        for search in where.store.searches():
            tasks = {task.task for task in search.spec.objective.tasks}
            splits = {e.split for e in where.store.evaluations(search.id) if e.costs}
            if tasks != {"sort_de", "reverse_fr", "rotate_en"}:
                assert splits == {Split.TEST}
            elif not search.id.startswith("study-"):
                assert splits == {Split.VALIDATION}


def test_a_searched_cell_is_the_winner_of_its_search(tmp_path):
    result = run(write_study(tmp_path, methods=[SEARCHED]), tmp_path / "out")
    choice = by_label(result)["searched"].choice
    with at(tmp_path / "out") as where:
        (search,) = [s for s in where.store.searches() if s.id.startswith("study-")]
        assert choice.recipe.recipe_id in {c.recipe_id for c in where.store.candidates(search.id)}
        assert search.spec.budget.candidates == SEARCHED["candidates"]


def test_a_search_begins_at_what_the_entry_before_it_found(tmp_path):
    after = {**SEARCHED, "name": "after", "after": "tuned"}
    result = run(write_study(tmp_path, methods=[TUNED, after]), tmp_path / "out")
    with at(tmp_path / "out") as where:
        (search,) = [s for s in where.store.searches() if s.id.startswith("study-")]
        (given,) = search.spec.strategy.start.recipes
    assert given == by_label(result)["tuned"].choice.recipe


def test_a_finished_study_asks_no_engine_again(tmp_path, counted):
    calls, _ = counted
    file = write_study(tmp_path, methods=["linear", TUNED, SEARCHED])
    first = run(file, tmp_path / "out")
    count = len(calls)
    again = run(file, tmp_path / "out")
    assert len(calls) == count
    assert Tables(again).rows == Tables(first).rows


@pytest.mark.parametrize("stop", [1, 6, 14])
def test_an_interrupted_study_goes_on_and_repeats_nothing(tmp_path, counted, stop):
    calls, evaluate = counted
    file = write_study(tmp_path, methods=["linear", TUNED, SEARCHED, "ties"])
    whole = run(file, tmp_path / "undisturbed")
    undisturbed = sorted(calls)
    calls.clear()
    evaluate.stop = stop
    with pytest.raises(KeyboardInterrupt):
        run(file, tmp_path / "out")
    evaluate.stop = None
    again = run(file, tmp_path / "out")
    assert sorted(calls) == undisturbed
    assert Tables(again).rows == Tables(whole).rows


def test_a_killed_study_finds_the_same(tmp_path):
    methods = ["linear", TUNED, SEARCHED, "ties"]
    slow = {"name": "fake", "fake_seconds": 0.1}
    file = write_study(tmp_path, methods=methods, engine=slow)
    folder = tmp_path / "out"
    command = [
        sys.executable,
        "-m",
        "evomerge",
        "study",
        str(file),
        "--inline",
        "--out",
        str(folder),
    ]
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not (folder / "choices").is_dir() or len(list((folder / "choices").iterdir())) < 2:
        assert child.poll() is None
        time.sleep(0.05)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    again = run(file, folder)
    file = write_study(tmp_path, methods=methods)
    assert Tables(again).rows == Tables(run(file, tmp_path / "undisturbed")).rows


def test_a_task_that_is_added_later_changes_no_choice(tmp_path, counted):
    calls, _ = counted
    run(write_study(tmp_path, methods=[TUNED, SEARCHED]), tmp_path / "out")
    calls.clear()
    file = write_study(tmp_path, methods=[TUNED, SEARCHED])
    text = file.read_text().replace(
        "methods:", "- {task: copy_fr, skill: copy, factor: fr}\nmethods:"
    )
    file.write_text(text)
    run(file, tmp_path / "out")
    assert {split for _, split in calls} == {Split.TEST}


def test_a_merge_that_fails_is_reported_and_stops_nothing(tmp_path):
    broken = {"name": "none", "method": "linear", "parameters": {"weight": 0.0}}
    result = run(write_study(tmp_path, methods=["linear", broken]), tmp_path / "out")
    tables = Tables(result)
    assert [label for label, _ in tables.failures] == ["none on b, experts 1+2+3"]
    assert "cancel" in tables.failures[0][1]
    assert "linear" in {row.label for row in tables.rows}


def test_an_expert_alone_is_as_good_as_itself(tmp_path):
    result = run(write_study(tmp_path), tmp_path / "out")
    rows = {row.label: row for row in Tables(result).rows}
    assert rows["base"].measures[Role.HELD_OUT].value == 1.0
    assert rows["average"].cells == 1
    assert set(rows["task_arithmetic"].leads) == set(Role)
    assert not rows["average"].leads


def test_trainings_of_one_base_are_one_row_each_with_leads_within_its_training(tmp_path):
    (base,) = content()["bases"]
    experts = [{**one, "model": f"{one['model']}2"} for one in base["experts"]]
    for seed, name in enumerate(["b2", "x2", "y2", "z2"], start=10):
        write_checkpoint(tmp_path / name, seed)
    other = {"name": "b", "model": "b2", "training": 1, "experts": experts}
    tables = Tables(run(write_study(tmp_path, bases=[base, other]), tmp_path / "out"))
    alone = Tables(run(write_study(tmp_path), tmp_path / "alone"))
    rows, once = ({row.label: row for row in found.rows} for found in (tables, alone))
    assert rows["average"].cells == 2 * once["average"].cells == 2
    assert rows["an expert alone (mean)"].cells == 6
    assert [row.label for row in tables.rows] == [row.label for row in alone.rows]
    assert {row.training for row in tables.task_scores} == {0, 1}
    # The fake engine knows models by their places: both trainings score the same, and differ in nothing.
    for label, row in rows.items():
        for kind in ("measures", "leads"):
            ours, theirs = getattr(row, kind), getattr(once[label], kind)
            assert ours.keys() == theirs.keys()
            for role in ours:
                assert vars(ours[role]) == pytest.approx(vars(theirs[role]))
