"""The command line as a process: what it loads, and how it ends when it is told to."""

import json
import os
import signal
import subprocess
import sys

import pytest

from tests.cli.conftest import write_search

EVOMERGE = (sys.executable, "-m", "evomerge")


def call(*arguments, **options):
    return subprocess.run(
        [*EVOMERGE, *map(str, arguments)], capture_output=True, text=True, check=False, **options
    )


def test_help_loads_neither_the_database_nor_the_strategies():
    code = (
        "import sys; from evomerge.cli.exits import run; run(['--help']); "
        "print([m for m in ('numpy', 'sqlalchemy', 'cma', 'pydantic') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("command", [("--help",), ("--version",), ("schema",)])
def test_light_commands_load_no_engine(command):
    code = (
        "import sys; from evomerge.cli.exits import run; "
        f"code = run({list(command)!r}); "
        "print([m for m in ('torch', 'ray', 'vllm', 'transformers', 'lm_eval') if m in sys.modules], "
        "code, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == "[] 0"


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_search_is_paused_and_can_be_resumed(tmp_path, stop):
    file = write_search(
        tmp_path, engine={"name": "fake", "fake_seconds": 0.1}, budget={"candidates": 24}
    )
    store = tmp_path / "s.db"
    arguments = ["run", file, "--inline", "--store", store, "--search-id", "mine"]
    process = subprocess.Popen(
        [*EVOMERGE, *map(str, arguments)], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    for line in process.stderr:
        if "the search starts" in line:
            break
    process.send_signal(stop)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out == ""
    assert f"search mine is paused; go on with: evomerge resume mine --store {store}" in err
    status = json.loads(call("status", "mine", "--store", store, "--format", "json").stdout)
    assert status["status"] == "paused"
    resumed = call("resume", "mine", "--store", store, "--inline", "--format", "json")
    assert resumed.returncode == 0
    assert json.loads(resumed.stdout)["status"] == "finished"


def test_a_pipe_that_is_closed_early_gives_no_traceback(finished):
    done = subprocess.run(
        f"{sys.executable} -m evomerge best -n 1000 --store {finished.store} --format json | head -n 1",
        shell=True,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr


def test_output_in_a_narrow_terminal_is_cut_into_tables_that_fit(finished):
    environment = {**os.environ, "COLUMNS": "80", "NO_COLOR": "1"}
    done = call("watch", "done-one", "--store", finished.store, env=environment)
    assert done.returncode == 0
    table = done.stdout.split("The search")[0].splitlines()
    assert max(map(len, table)) <= 80
    assert sum("greedy soup" in line for line in table) >= 2
