"""What is wrong with an objective's tasks is found without an engine, and said with a remedy."""

import subprocess
import sys

import pytest

from evomerge.errors import Problems, TaskError
from evomerge.evaluation import tasks
from evomerge.evaluation.fake import pin_fake
from evomerge.evaluation.public_tests import public_dataset, public_test
from tests.evaluation.conftest import make_spec

NAMES = {"base": "base", "one": "one", "two": "two"}


def pinned(spec):
    return [loaded.objective for loaded in tasks.load_tasks(spec.objective)]


def problems(task_folder, *wanted, **objective):
    return tasks.check_tasks(make_spec(NAMES, task_folder, wanted, **objective).objective)


def test_good_tasks_have_no_problem(task_folder):
    assert problems(task_folder, "letters", "words", "say", "text") == ()


def test_metrics_and_directions_are_pinned_as_lm_eval_has_them(task_folder):
    spec = make_spec(NAMES, task_folder)
    found = [(task.metric, task.direction) for task in pinned(spec)]
    assert found == [
        ("acc", "max"),
        ("acc", "max"),
        ("exact_match,first-word", "max"),
        ("word_perplexity", "min"),
    ]


@pytest.mark.parametrize(
    ("task", "written", "meant"),
    [
        ("letters", "acc_norm", "acc_norm"),
        ("letters", "acc_norm,none", "acc_norm"),
        ("letters", "gold_prob", "gold_prob"),
        ("say", "exact_match", "exact_match,first-word"),
        ("say", "exact_match,whole", "exact_match,whole"),
    ],
)
def test_a_metric_may_be_written_as_lm_eval_shows_it(task_folder, task, written, meant):
    spec = make_spec(NAMES, task_folder, [{"task": task, "metric": written}])
    assert pinned(spec)[0].metric == meant


def test_a_direction_that_the_user_gives_is_kept(task_folder):
    spec = make_spec(NAMES, task_folder, [{"task": "text", "direction": "max"}])
    assert pinned(spec)[0].direction == "max"


def test_the_fake_engine_pins_without_lm_eval(task_folder):
    spec = make_spec(NAMES, task_folder, ["anything"], engine={"name": "fake"})
    assert pin_fake(spec.objective).tasks[0].metric == "acc"


def test_a_misspelt_metric_is_answered_with_the_nearest(task_folder):
    (problem,) = problems(task_folder, {"task": "letters", "metric": "acc_nrom"})
    assert "acc_nrom" in problem.message
    assert "did you mean 'acc_norm'" in problem.remedy
    assert problem.where == "objective.tasks[0].metric"


def test_margins_are_for_multiple_choice_alone(task_folder):
    (problem,) = problems(task_folder, {"task": "say", "metric": "margin"})
    assert "no metric 'margin'" in problem.message


def test_an_empty_split_names_task_and_split(task_folder):
    splits = {"search": 0.998, "validation": 0.001, "test": 0.001}
    (problem,) = problems(task_folder, "letters", splits=splits)
    assert "'validation' of 'letters' is empty" in problem.message


def test_a_split_without_a_share_may_be_empty(task_folder):
    assert problems(task_folder, "letters", splits={"search": 1, "validation": 0, "test": 0}) == ()


def test_all_problems_come_together(task_folder):
    spec = make_spec(
        NAMES, task_folder, [{"task": "letters", "metric": "x"}, {"task": "say", "metric": "y"}]
    )
    with pytest.raises(Problems, match="2 problems"):
        pinned(spec)


def test_a_missing_include_path_is_named(tmp_path):
    (problem,) = problems(tmp_path / "nowhere", "letters")
    assert problem.where == "objective.include_path"


class FakeManager:
    """lm-eval's own list takes ten seconds to read; these tests need none of it."""

    all_tasks = ("gsm8k", "mmlu_anatomy", "my_task")

    def __init__(self, kind="TASK"):
        entry = type("Entry", (), {"kind": type("Kind", (), {"name": kind})})
        self.task_index = dict.fromkeys(self.all_tasks, entry)


@pytest.fixture
def lm_eval_list(monkeypatch):
    """Replace lm-eval's own list; folders are read as ever."""
    real = tasks._manager

    def use(kind="TASK"):
        monkeypatch.setattr(
            tasks, "_manager", lambda path: real(path) if path else FakeManager(kind)
        )

    return use


def test_an_unknown_task_is_answered_with_the_nearest_of_the_folder(task_folder, lm_eval_list):
    lm_eval_list()
    (problem,) = problems(task_folder, "leters")
    assert "did you mean 'letters'" in problem.remedy


def test_an_unknown_task_is_answered_with_the_nearest_of_lm_eval(task_folder, lm_eval_list):
    lm_eval_list()
    (problem,) = problems(task_folder, "gsm8")
    assert "'gsm8k'" in problem.remedy


def test_groups_are_refused_by_name(task_folder, lm_eval_list):
    lm_eval_list("GROUP")
    (problem,) = problems(task_folder, "my_task")
    assert "is a group of tasks" in problem.message


def test_a_public_test_set_is_no_fitness_function(task_folder, lm_eval_list):
    lm_eval_list()
    (problem,) = problems(task_folder, "gsm8k")
    assert "public benchmark" in problem.message
    assert "accept_benchmark_tests" in problem.remedy


def test_every_task_of_lm_evals_own_is_a_benchmark_known_by_name_or_not(task_folder, lm_eval_list):
    lm_eval_list()
    (problem,) = problems(task_folder, "my_task")
    assert "one of lm-eval's own benchmarks" in problem.message


def test_a_benchmark_read_under_another_name_is_known_by_its_dataset(task_folder, monkeypatch):
    monkeypatch.setattr(
        tasks, "public_dataset", lambda path, split: "gsm8k" if path == "json" else None
    )
    (problem,) = problems(task_folder, "letters")
    assert "'letters' reads 'test' of json, the public benchmark gsm8k" in problem.message
    assert problems(task_folder, "letters", accept_benchmark_tests=True) == ()


@pytest.mark.parametrize(
    ("path", "split", "benchmark"),
    [
        ("openai/gsm8k", "test", "gsm8k"),
        ("allenai/ai2_arc", "validation", "ai2_arc"),
        ("Rowan/hellaswag", "validation", "hellaswag"),
        ("cais/mmlu", "test[:100]", "mmlu"),
        ("openai/gsm8k", "train", None),
        ("openai/gsm8k", "train[90%:]", None),
        ("our-team/support", "test", None),
        ("json", "test", None),
        ("./gsm8k", "test", None),
        ("/data/gsm8k", "test", None),
    ],
)
def test_datasets_of_benchmarks_are_recognised_and_their_training_documents_are_free(
    path, split, benchmark
):
    assert public_dataset(path, split) == benchmark


@pytest.mark.parametrize(
    ("name", "benchmark"),
    [
        ("gsm8k", "gsm8k"),
        ("mmlu_anatomy", "mmlu"),
        ("mmlu_pro_math", "mmlu_pro"),
        ("arc_challenge", "arc"),
        ("my_support_bot", None),
        ("arcade_games", None),
    ],
)
def test_variants_of_a_benchmark_are_recognised(name, benchmark):
    assert public_test(name) == benchmark


def test_code_that_the_model_wrote_is_never_run(task_folder):
    task = type("Task", (), {"OUTPUT_TYPE": "generate_until", "UNSAFE_CODE": True})
    with pytest.raises(TaskError, match="runs code"):
        tasks._check_kind("coder", task, "objective.tasks[0]")


def test_importing_the_package_loads_no_engine():
    check = "import sys, evomerge.evaluation, evomerge.evaluation.tasks; print(*sys.modules)"
    modules = subprocess.run(
        [sys.executable, "-c", check], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"torch", "vllm", "lm_eval", "transformers", "ray"} & set(modules)
