"""Calls of one function on real Ray workers."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import ray

from evomerge.dispatch.functions import call_on_ray
from evomerge.errors import MergeError, ResourceError
from evomerge.spec import WorkersSpec


@pytest.fixture(scope="module", autouse=True)
def _ray():
    yield
    ray.shutdown()


def work(folder: Path, number: int) -> int:
    """The second call dies once, the third one says what is wrong."""
    if number == 1 and not (folder / "died").exists():
        (folder / "died").touch()
        os._exit(1)
    if number == 2:
        raise MergeError("weights cancel")
    return 10 * number


def asked_to_stop() -> None:
    raise KeyboardInterrupt


@pytest.mark.slow
def test_calls_are_made_again_where_a_worker_dies_and_say_what_they_raised(tmp_path):
    calls = [(tmp_path, number) for number in range(4)]
    found = dict(call_on_ray(work, calls, None, WorkersSpec(max=2)))
    assert (tmp_path / "died").exists()
    assert isinstance(problem := found.pop(2), MergeError)
    assert problem.message == "weights cancel"
    assert found == {0: 0, 1: 10, 3: 30}


@pytest.mark.slow
def test_calls_that_no_node_can_hold_are_refused_and_others_can_be_stopped(tmp_path):
    with pytest.raises(ResourceError, match="4096 CPU"):
        list(call_on_ray(work, [(tmp_path, 0)], None, WorkersSpec(cpus=4096)))
    with pytest.raises(KeyboardInterrupt):
        list(call_on_ray(work, [(tmp_path, 0)], None, WorkersSpec(), asked_to_stop))
