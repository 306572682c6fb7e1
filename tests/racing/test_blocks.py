"""Documents are shuffled once for a search and cut into blocks that every candidate shares."""

import subprocess
import sys
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from evomerge.racing import Layout, divide
from evomerge.racing.blocks import layout_of, shuffle
from tests.support import fake_spec

TASKS = st.dictionaries(
    st.sampled_from(["a", "b", "c", "d"]),
    st.sets(st.integers(0, 500), min_size=1, max_size=60),
    min_size=1,
)


@given(TASKS, st.integers(1, 30), st.integers(0, 99))
@settings(deadline=None)
def test_blocks_hold_every_document_exactly_once(tasks, blocks, seed):
    documents = {task: tuple(sorted(ids)) for task, ids in tasks.items()}
    found = divide(documents, blocks, seed)
    assert 1 <= len(found) <= blocks
    for task, ids in documents.items():
        assert sorted(n for block in found for n in block.get(task, ())) == list(ids)
    assert all(list(ids) == sorted(ids) for block in found for ids in block.values())


@given(TASKS, st.integers(1, 30), st.integers(0, 99))
@settings(deadline=None)
def test_a_block_ends_with_a_whole_round_of_all_tasks_that_have_documents_left(tasks, blocks, seed):
    documents = {task: tuple(ids) for task, ids in tasks.items()}
    answered = dict.fromkeys(documents, 0)
    for block in divide(documents, blocks, seed):
        for task, ids in block.items():
            answered[task] += len(ids)
        rounds = max(answered.values())
        assert answered == {task: min(rounds, len(ids)) for task, ids in documents.items()}


def test_every_task_is_in_the_first_block_and_later_blocks_are_longer():
    blocks = divide({"a": range(400), "b": range(300), "c": range(20)}, 10, seed=3)
    assert set(blocks[0]) == {"a", "b", "c"}
    sizes = [sum(map(len, block.values())) for block in blocks]
    assert len(blocks) == 10
    assert all(later >= earlier - 3 for earlier, later in pairwise(sizes))
    assert sizes[-1] > 4 * sizes[0]


def test_the_order_in_which_documents_are_named_changes_nothing():
    forwards = divide({"a": range(50), "b": range(30)}, 5, seed=1)
    backwards = divide({"b": range(29, -1, -1), "a": range(49, -1, -1)}, 5, seed=1)
    assert list(forwards) == list(backwards)


def test_seeds_and_tasks_have_orders_of_their_own():
    def order(task, seed):
        return shuffle({task: range(40)}, seed)[task]

    assert order("a", 0) == order("a", 0)
    assert len({order("a", 0), order("a", 1), order("b", 0)}) == 3


def test_another_process_divides_alike():
    code = (
        "from evomerge.racing import divide; print(divide({'a': range(30), 'b': range(7)}, 4, 5))"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert found.strip() == str(divide({"a": range(30), "b": range(7)}, 4, 5))


def test_one_document_is_one_block():
    assert divide({"a": (7,)}, 10, seed=0) == ({"a": (7,)},)


def test_a_search_that_does_not_race_has_no_blocks(tmp_path):
    spec = fake_spec(tmp_path)
    raced = spec.model_copy(update={"racing": spec.racing.model_copy(update={"enabled": True})})
    still = spec.model_copy(update={"racing": spec.racing.model_copy(update={"enabled": False})})
    assert layout_of(raced) == Layout(spec.racing.blocks, spec.strategy.seed)
    assert layout_of(still) is None
