"""Plans follow from sizes: published parameter counts, arithmetic of memory and time, refusals in words."""

import dataclasses
import json
import re
from pathlib import Path

import pytest

from evomerge.cli.exits import run
from evomerge.errors import CheckpointError, NotFoundError, UsageError
from evomerge.fitness import Split
from evomerge.planning import Assumed, find_gpu, gpu_names, gpu_of_size, make_plan
from evomerge.planning.memory import cache_bytes
from evomerge.planning.predict import steps_of
from evomerge.planning.probe import measure_speed
from evomerge.planning.shape import read_shape, shape_of_config
from evomerge.planning.workload import counted_workloads
from evomerge.spec import load_spec
from tests.evaluation import tiny
from tests.evaluation.conftest import make_spec
from tests.planning.configs import LARGE, MEDIUM, MIXTURE, SMALL, write_config, write_search
from tests.support import write_checkpoint

DOCS = Path(__file__).parents[2] / "docs"
SIZES = Assumed(documents=200, read=500, written=0)


@pytest.mark.parametrize(
    ("config", "billions"),
    [(SMALL, 1.24), (MEDIUM, 8.03), (LARGE, 70.6), (MIXTURE, 46.7)],
    ids=["1B", "8B", "70B", "8x7B"],
)
def test_parameters_follow_from_a_config_as_they_are_published(config, billions):
    assert shape_of_config("m", config).parameters / 1e9 == pytest.approx(billions, rel=0.005)


def test_a_token_passes_only_the_experts_that_it_is_routed_to():
    # Mixtral 8x7B: 12.9 B active parameters, embedding and head among them.
    shape = shape_of_config("m", MIXTURE)
    assert (shape.active + 2 * 32000 * 4096) / 1e9 == pytest.approx(12.9, rel=0.01)


def test_the_cache_of_a_token_is_that_of_grouped_heads():
    # 8B: 2 · 32 layers · 8 heads · 128 · 2 bytes = 128 KiB a token.
    assert cache_bytes(shape_of_config("m", MEDIUM), 2, 1) == 128 * 1024


def test_headers_go_before_the_config(tmp_path):
    folder = write_checkpoint(tmp_path / "m", 0)
    shape = read_shape(str(folder))
    assert shape.from_headers
    assert shape.stored == shape.parameters * 4


def test_a_config_of_another_kind_of_model_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="number of layers"):
        read_shape(write_config(tmp_path / "m", {"hidden_size": 8, "vocab_size": 9}))


def test_a_hub_model_that_is_not_here_is_not_downloaded():
    with pytest.raises(CheckpointError, match="not on this machine"):
        read_shape("nobody/nothing-of-that-name")


def test_gpus_are_found_by_their_beginnings():
    assert find_gpu("h100").name == "H100"
    assert find_gpu("a100").name == "A100-80GB"
    assert find_gpu("A100 40gb").name == "A100-40GB"
    assert gpu_of_size(24).memory == 24 * 2**30
    with pytest.raises(NotFoundError, match="GTX"):
        find_gpu("GTX")
    assert all(not find_gpu(name).measured for name in gpu_names())


def plan(tmp_path, config, gpu="H100", sizes=SIZES, **changes):
    spec = load_spec(write_search(tmp_path, config, **changes))
    return make_plan(spec, find_gpu(gpu), sizes)


def test_eight_billion_parameters_fit_on_a_large_gpu_with_experts_beside_it(tmp_path):
    found = plan(tmp_path, MEDIUM)
    assert found.fits is None
    assert found.memory.weights == pytest.approx(16.06e9, rel=0.01)
    assert found.memory.models == pytest.approx(4 * 16.06e9, rel=0.01)
    assert found.memory.models_on == "pinned"
    assert found.per_device <= 80 * 2**30


def test_small_experts_are_kept_on_the_gpu(tmp_path):
    assert plan(tmp_path, SMALL).memory.models_on == "device"


def test_what_does_not_fit_says_over_how_many_gpus_it_would(tmp_path):
    found = plan(tmp_path, LARGE)
    assert "tensor_parallel_size: 4" in found.fits
    more = plan(tmp_path / "four", LARGE, engine={"tensor_parallel_size": 4})
    assert more.fits is None
    assert more.gpu_hours == pytest.approx(4 * more.worker_hours)


def test_weights_are_counted_in_the_dtype_that_the_engine_takes(tmp_path):
    single = {**SMALL, "dtype": "float32"}
    auto = plan(tmp_path / "auto", single)
    full = plan(tmp_path / "full", single, engine={"dtype": "float32"})
    assert full.memory.weights == 2 * auto.memory.weights
    assert full.memory.models == auto.memory.models


def test_twice_the_documents_take_twice_the_forward_pass(tmp_path):
    one = plan(tmp_path / "one", MEDIUM)
    two = plan(tmp_path / "two", MEDIUM, sizes=dataclasses.replace(SIZES, documents=400))
    assert two.seconds.forward == pytest.approx(2 * one.seconds.forward, rel=0.15)
    assert two.seconds.merge == one.seconds.merge


def test_workers_share_the_hours_and_not_the_gpu_hours(tmp_path):
    budget = {"candidates": 1000}
    one = plan(tmp_path / "one", MEDIUM, budget=budget)
    four = plan(tmp_path / "four", MEDIUM, budget=budget, workers={"max": 4, "gpus": 1})
    assert four.hours == pytest.approx(one.hours / 4, rel=0.05)
    assert four.gpu_hours == pytest.approx(one.gpu_hours, rel=0.05)


@pytest.mark.parametrize(
    ("config", "gpu", "ranks", "in_layers", "all_of_it", "tflops", "link"),
    [
        # Parameters as Llama's papers and cards have them; TFLOP/s and GB/s of NVIDIA's data sheets.
        (SMALL, "L4", 1, 0.973e9, 1.236e9, 121, 32),
        (MEDIUM, "A100-80GB", 1, 6.98e9, 8.03e9, 312, 32),
        (LARGE, "H200", 4, 68.5e9, 70.55e9, 989, 64),
    ],
    ids=["1B", "8B", "70B"],
)
def test_seconds_are_those_of_arithmetic_by_hand(
    config, gpu, ranks, in_layers, all_of_it, tflops, link, tmp_path
):
    found = plan(tmp_path, config, gpu=gpu, engine={"tensor_parallel_size": ranks})
    pinned = {"pinned": 0.75, "mapped": 0.375}[found.memory.models_on]
    assert found.seconds.merge == pytest.approx(4 * 2 * all_of_it / (link * 1e9 * pinned), rel=0.1)
    products = 2 * in_layers * SIZES.documents * SIZES.read / (0.4 * tflops * 1e12 * ranks)
    assert products < found.seconds.forward < 1.15 * products


def sized_rows():
    """The rows of the table of GPU sizes in the documentation."""
    text = (DOCS / "planning.md").read_text(encoding="utf-8").split("## Sizes of GPUs")[1]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()]
    return [row for row in rows if len(row) == 10 and row[0].endswith(" B")]


@pytest.mark.parametrize("row", sized_rows(), ids=lambda row: f"{row[0]} on {row[1]}")
def test_the_sizes_of_gpus_in_the_documentation_are_what_a_plan_says(row, tmp_path):
    config = {"1.2 B": SMALL, "8.0 B": MEDIUM, "70.6 B": LARGE}[row[0]]
    ranks, gpu = row[1].split(" × ")
    settings = {
        "gpu": gpu,
        "engine": {"tensor_parallel_size": int(ranks), "gpu_memory_utilization": 0.85},
        "budget": {"candidates": 200},
    }
    choices = plan(tmp_path / "one", config, sizes=Assumed(500, 500, 0), **settings)
    answers = plan(tmp_path / "two", config, sizes=Assumed(500, 500, 200), **settings)
    assert choices.fits is None
    assert row[3].endswith(choices.memory.models_on)
    in_row = [float(re.match(r"[\d.]+", cell)[0]) for cell in row[2:]]
    assert in_row.pop(2) == pytest.approx(choices.seconds.merge, rel=0.06)
    gib = 2.0**30
    assert in_row == pytest.approx(
        [
            choices.per_device / gib,
            choices.memory.models
            / gib
            / (int(ranks) if choices.memory.models_on != "mapped" else 1),
            choices.seconds.total,
            answers.seconds.total,
            choices.gpu_hours,
            answers.gpu_hours,
            choices.disk.total / 1e9,
        ],
        rel=0.05,
        abs=0.05,
    )


def test_answers_that_are_written_take_steps_of_their_own(tmp_path):
    short = plan(tmp_path / "short", MEDIUM)
    long = plan(tmp_path / "long", MEDIUM, sizes=dataclasses.replace(SIZES, written=200))
    steps = [steps_of(found.workload, found.machine, 256, 10) for found in (short, long)]
    assert steps[0] < 20
    assert steps[1] >= 199 * 10
    assert long.seconds.forward > short.seconds.forward + 10


def test_requests_are_counted_as_the_engine_groups_them(tmp_path):
    """`letters` has choices of one token, which share a prompt; `words` of several, with one each."""
    models = tiny.write_models(tmp_path / "models", hidden=64)
    tasks = tiny.write_tasks(tmp_path / "tasks")
    found = {}
    for name in ("letters", "words", "say"):
        spec = make_spec(models, tasks, tasks=[name])
        found[name] = counted_workloads(spec.objective, tmp_path / "models" / "base")[Split.SEARCH]
    letters, words, say = found.values()
    assert letters.prompts == letters.documents
    assert (letters.scored, letters.written) == (0, 0)
    assert words.prompts > words.documents
    assert 0.9 * words.read < words.scored <= words.read
    assert say.prompts == say.documents
    assert say.written >= say.documents
    assert all(work.longest * work.prompts >= work.read for work in found.values())


def test_the_probe_knows_a_large_layer_from_a_small_one():
    small = measure_speed(
        shape_of_config(
            "m", {**SMALL, "hidden_size": 64, "intermediate_size": 64, "vocab_size": 64}
        ),
        "float32",
        1,
    )
    large = measure_speed(
        shape_of_config("m", {**SMALL, "hidden_size": 512, "vocab_size": 512}), "float32", 1
    )
    assert 0 < small.token < large.token
    assert large.flops > 1e8
    assert large.bandwidth > 1e8


def test_this_machine_is_timed_for_searches_without_gpus(tmp_path):
    config = {**SMALL, "hidden_size": 128, "intermediate_size": 128, "num_hidden_layers": 2}
    spec = load_spec(write_search(tmp_path, config, workers={"max": 2, "gpus": 0}))
    found = make_plan(spec, None, SIZES)
    assert found.machine.measured
    assert (found.per_device, found.gpu_hours) == (None, 0)
    assert found.memory.models_on == "mapped"
    assert found.cpu_hours == pytest.approx(found.worker_hours)


@pytest.fixture
def file(tmp_path):
    return str(write_search(tmp_path, MEDIUM))


ASSUME = ["--documents", "200", "--prompt-tokens", "500"]


def test_the_command_says_what_a_search_costs_and_where_figures_are_from(file, capsys):
    assert run(["plan", file, "--gpu", "H100", *ASSUME]) == 0
    said = capsys.readouterr()
    assert "GPU-hours" in said.out
    assert "pinned host memory" in said.out
    assert "not measured by us" in said.err


def test_json_has_the_sums_too(file, capsys):
    assert run(["plan", file, "--gib", "80", *ASSUME, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["seconds_per_candidate"] == pytest.approx(
        sum(found["seconds"][name] for name in ("merge", "forward", "overhead"))
    )
    assert found["memory_per_worker"] > found["memory"]["weights"]
    assert found["disk_bytes"] > found["disk"]["exported"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "--gpu"),
        (["--gpu", "H100", "--gib", "80"], "give one of them"),
        (["--gpu", "Voodoo"], "no GPU named"),
    ],
)
def test_an_unclear_machine_is_asked_for(file, given, said, capsys):
    assert run(["plan", file, *given, *ASSUME]) == 2
    assert said in capsys.readouterr().err


def test_tasks_that_cannot_be_loaded_can_be_described(tmp_path):
    tasks = tmp_path / "tasks"
    tasks.mkdir()
    (tasks / "mine.yaml").write_text("task: mine\ndataset_path: json\n")
    objective = {"include_path": str(tasks), "tasks": [{"task": "mine"}]}
    spec = load_spec(write_search(tmp_path, MEDIUM, objective=objective))
    with pytest.raises(UsageError, match="--documents"):
        make_plan(spec, find_gpu("H100"))
