"""Statistics on disk: measured once, by whoever is first, and gone on with after a kill."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from evomerge.calibration.collect import Options
from evomerge.calibration.sets import Example, make_set
from evomerge.calibration.store import Request, StatisticStore
from evomerge.calibration.texts import read_texts
from evomerge.errors import NotFoundError, SpecError
from evomerge.fingerprint import fingerprint
from evomerge.layout import read_index
from tests.calibration import models
from tests.calibration.models import load, measured, save, texts

ROOT = Path(__file__).parents[2]
_SLOW = """
import sys, time
from pathlib import Path
import torch
torch.set_num_threads(1)
from evomerge.calibration.collect import Options
from tests.calibration import models
from tests.calibration.models import load, measured, texts
folder, root, statistic, pause = sys.argv[1:]
loaded = load(Path(folder))
forward = loaded.model.forward
def slowly(*args, **rest):
    time.sleep(float(pause))
    return forward(*args, **rest)
loaded.model.forward = slowly
measured(statistic, loaded, texts(12), Path(root), Options(batch_size=2, memory=1 << 12, save_every=2))
print("done")
"""


def in_a_process(folder: Path, root: Path, statistic: str, pause: float) -> subprocess.Popen:
    command = [sys.executable, "-c", _SLOW, str(folder), str(root), statistic, str(pause)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


@pytest.mark.parametrize("statistic", ["input_grams", "fisher"])
def test_a_killed_measurement_is_gone_on_with_and_gives_the_same_bits(
    statistic: str, tmp_path: Path
) -> None:
    folder, root = save(models.llama, tmp_path / "m"), tmp_path / "s"
    process = in_a_process(folder, root, statistic, 0.2)
    try:
        deadline = time.monotonic() + 90
        while not list(root.glob("*.work/progress.safetensors")):
            assert process.poll() is None, process.stderr.read().decode()
            assert time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
    assert not list(root.glob("*/header.json"))
    torch.set_num_threads(1)
    options = Options(batch_size=2, memory=1 << 12, save_every=2)
    loaded = load(folder)
    counted = Counted(loaded)
    resumed, _ = measured(statistic, loaded, texts(12), root, options)
    resumed_calls, counted.calls = counted.calls, 0
    fresh, header = measured(statistic, loaded, texts(12), tmp_path / "fresh", options)
    assert header["passes"] > 1
    assert resumed_calls < counted.calls
    assert resumed.keys() == fresh.keys()
    assert all(torch.equal(resumed[name], fresh[name]) for name in fresh)
    assert not list(root.glob("*.work"))


class Counted:
    """Counts the forward passes of a model."""

    def __init__(self, loaded) -> None:
        self.calls = 0
        forward = loaded.model.forward

        def counting(*args, **rest):
            self.calls += 1
            return forward(*args, **rest)

        loaded.model.forward = counting


_BOTH = """
import sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from evomerge.evaluation.calibrated import Work, calibrate
from tests.calibration.models import texts
folders = {name: Path(name) for name in sys.argv[1:]}
print(calibrate(Work(tuple(folders), folders, ("input_grams", "sensitivity"), texts(6)), device="cpu"))
"""


def test_two_processes_that_want_the_same_measure_everything_once(tmp_path: Path) -> None:
    folders = [str(save(models.llama, tmp_path / f"{n}", n)) for n in range(3)]
    environment = {**os.environ, "EVOMERGE_CALIBRATION": str(tmp_path / "s")}
    command = [sys.executable, "-c", _BOTH, *folders]
    both = [
        subprocess.Popen(command, cwd=ROOT, env=environment, stdout=-1, stderr=-1) for _ in range(2)
    ]
    answers = [process.communicate(timeout=240) for process in both]
    assert [process.returncode for process in both] == [0, 0], answers
    counts = [int(out.split()[-1]) for out, _ in answers]
    assert sum(counts) == 6
    assert len(list((tmp_path / "s").glob("*/header.json"))) == 6
    assert not list((tmp_path / "s").glob("*.work"))


def request(**changes: str) -> Request:
    return Request(
        **{"statistic": "fisher", "model": "m", "fingerprint": "f", "texts": "t"} | changes
    )


def test_a_key_names_the_statistic_the_models_content_and_the_texts_and_nothing_else() -> None:
    keys = {
        request().key,
        request(statistic="input_grams").key,
        request(fingerprint="g").key,
        request(texts="u").key,
    }
    assert len(keys) == 4
    assert request(model="another name", owner="whoever").key == request().key


def test_an_edited_model_is_another_one(tmp_path: Path) -> None:
    folder = save(models.llama, tmp_path / "m")
    before = fingerprint(read_index(folder))
    weights = load_file(folder / "model.safetensors")
    from safetensors.torch import save_file

    weights["model.norm.weight"] += 1
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    assert fingerprint(read_index(folder)) != before


def test_a_set_is_known_by_its_content() -> None:
    listed = [Example("one"), Example("two", prompt="after"), Example("three", label=1)]
    given = make_set(listed, {"own": [Example("mine")]}, examples=10, max_length=8)
    again = make_set(listed[::-1], {"own": [Example("mine")]}, examples=10, max_length=8)
    assert given.id == again.id
    assert given.save() == f"set:{given.id}"
    assert make_set(listed, {}, examples=10, max_length=8).id != given.id
    assert make_set(listed, {"own": [Example("mine")]}, examples=10, max_length=9).id != given.id
    assert (
        make_set([*listed, listed[0]], {}, examples=10, max_length=8).id
        == make_set(listed, {}, examples=10, max_length=8).id
    )


def test_a_model_is_measured_on_its_own_texts_where_it_has_some() -> None:
    given = make_set([Example("all")], {"code": [Example("mine")]}, examples=10, max_length=8)
    assert [one.text for one in given.of("org/code")] == ["mine"]
    assert [one.text for one in given.of("/models/code")] == ["mine"]
    assert [one.text for one in given.of("org/text")] == ["all"]
    alone = make_set([], {"code": [Example("mine")]}, examples=10, max_length=8)
    with pytest.raises(SpecError, match="no calibration text for org/text"):
        alone.of("org/text")


def test_a_set_that_is_not_kept_here_says_how_to_get_it() -> None:
    from evomerge.calibration.sets import load_set

    with pytest.raises(NotFoundError, match="evomerge calibrate"):
        load_set("set:0123456789abcdef")


def test_texts_are_read_from_lines_and_from_json_lines(tmp_path: Path) -> None:
    plain, json_lines = tmp_path / "t.txt", tmp_path / "t.jsonl"
    plain.write_text("one\n\n two \n")
    json_lines.write_text(
        '{"text": "a", "label": 2}\n{"prompt": "p", "completion": "c", "model": "m"}\n'
    )
    assert [one.text for one in read_texts(plain)] == ["one", "two"]
    assert read_texts(json_lines) == (Example("a", label=2), Example("c", "p", model="m"))


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("{", "not JSON"),
        ("[]", "no example"),
        ('{"prompt": "p"}', "no example"),
        ('{"text": "a", "completion": "b"}', "no example"),
        ('{"text": "a", "labels": 1}', "no example"),
        ('{"text": 5}', "texts are strings"),
        ('{"text": "a", "label": true}', "whole numbers"),
    ],
)
def test_a_line_that_is_no_example_is_named(line: str, problem: str, tmp_path: Path) -> None:
    file = tmp_path / "t.jsonl"
    file.write_text('{"text": "fine"}\n' + line + "\n")
    with pytest.raises(SpecError, match=problem) as caught:
        read_texts(file)
    assert caught.value.where == f"{file}:2"


def test_long_texts_keep_their_end_behind_a_prompt_and_their_beginning_without(
    tmp_path: Path,
) -> None:
    from evomerge.calibration.batches import encode

    loaded = load(save(models.llama, tmp_path / "m"))
    long = "red blue green round square apple pear stone"
    bare, prompted = encode(
        loaded.tokenizer, [Example(long), Example(" stone", prompt=long)], max_length=4
    )
    ids = loaded.tokenizer(long)["input_ids"]
    assert bare.ids == tuple(ids[:4]) and bare.known == 1
    assert prompted.ids[-1] == loaded.tokenizer(" stone")["input_ids"][-1]
    assert len(prompted.ids) == 4 and prompted.known == 3


def test_a_store_forgets_nothing_that_was_finished(tmp_path: Path) -> None:
    loaded, given = load(save(models.llama, tmp_path / "m")), texts(3)
    measured("sensitivity", loaded, given, tmp_path / "s", Options())
    store = StatisticStore(tmp_path / "s")
    wanted = Request("sensitivity", "model", "print", given.digest_of("model"))
    assert store.has(wanted)
    header = store.header(wanted)
    assert header["tokens"] > header["examples"] == 3
    assert not store.has(Request("fisher", "model", "print", given.digest_of("model")))
