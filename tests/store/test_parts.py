"""The pieces of the store by themselves: owners, outcomes as bytes, names, text."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evomerge.errors import StoreError
from evomerge.fitness import TaskOutcomes
from evomerge.store import holder, make_owner
from evomerge.store.codec import pack, unpack
from evomerge.store.names import random_name
from evomerge.store.text import LONGEST, clean


def test_two_owners_of_one_process_differ_and_both_are_alive():
    one, two = make_owner(), make_owner()
    assert one != two
    assert not holder.is_gone(one) and not holder.is_gone(two)


def test_a_pid_that_was_used_again_is_not_the_holder():
    host, pid, start, machine, nonce = make_owner().split(":")
    assert holder.is_gone(f"{host}:{pid}:{int(start) - 1}:{machine}:{nonce}")


def test_a_zombie_holds_nothing():
    code = "from evomerge.store import make_owner; print(make_owner(), flush=True)"
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    name = child.stdout.readline().strip()
    child.stdout.read()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert holder.is_gone(name)
    child.communicate()
    assert holder.is_gone(name)


@pytest.mark.parametrize("name", ["", "odd", "h:1:2:3:4", "::::", "h:x:1:2:3"])
def test_what_cannot_be_judged_is_not_gone(name):
    assert not holder.is_gone(name)


@given(
    ids=st.lists(st.integers(-(2**63), 2**63 - 1), max_size=20),
    values=st.lists(st.floats(), min_size=20, max_size=20),
)
def test_outcomes_of_any_kind_come_back_bit_for_bit(ids, values):
    array = np.array(values[: len(ids)])
    back = unpack("t", pack(TaskOutcomes("t", tuple(ids), {"m": array})))
    assert back.doc_ids == tuple(ids)
    assert back.values["m"].tobytes() == array.tobytes()


def test_outcomes_are_compact():
    right = np.random.default_rng(0).integers(0, 2, 1000).astype(np.float64)
    assert len(pack(TaskOutcomes("t", tuple(range(1000)), {"acc": right}))) < 600


@given(st.integers(0, 200), st.integers(1, 255))
def test_damaged_outcomes_are_reported_and_nothing_else_happens(place, change):
    data = bytearray(pack(TaskOutcomes("t", (1, 2, 3), {"m": np.arange(3.0)})))
    data[place % len(data)] ^= change
    try:
        unpack("t", bytes(data))
    except StoreError as error:
        assert error.remedy


@pytest.mark.parametrize("data", [b"", b"EMO", pickle.dumps([1]), b"EMO\x02" + b"x" * 9])
def test_what_is_no_outcome_is_refused(data):
    with pytest.raises(StoreError):
        unpack("t", data)


def test_names_are_short_and_new():
    names = {random_name(()) for _ in range(200)}
    assert all(len(name) <= 20 and name.count("-") == 2 for name in names)


def test_long_text_keeps_its_two_ends():
    long = clean("a" + "x" * 10 * LONGEST + "z")
    assert long.startswith("a") and long.endswith("z") and len(long) <= LONGEST + 3
