"""Documents keep their split, whatever happens around them."""

from hypothesis import given
from hypothesis import strategies as st

from evomerge.evaluation.splits import hash_position, split_documents
from evomerge.fitness import Split, Splits

DOCUMENTS = [{"question": f"{i}+{i}", "answer": 2 * i} for i in range(1000)]


def test_the_position_of_a_document_never_changes():
    assert hash_position({"question": "1+1", "answer": 2}) == 0.5482810380258818


def test_the_order_of_keys_does_not_matter():
    assert hash_position({"a": 1, "b": 2}) == hash_position({"b": 2, "a": 1})


def test_shares_are_met_and_every_document_is_in_one_split():
    found = split_documents(DOCUMENTS, Splits())
    assert sorted(sum(found.values(), ())) == list(range(1000))
    assert 560 < len(found[Split.SEARCH]) < 640


def test_a_document_keeps_its_split_when_others_come_and_go():
    full, half = split_documents(DOCUMENTS, Splits()), split_documents(DOCUMENTS[500:], Splits())
    for split in Split:
        assert [i + 500 for i in half[split]] == [i for i in full[split] if i >= 500]


@given(st.dictionaries(st.text(), st.text() | st.integers() | st.none()))
def test_positions_lie_in_the_unit_interval(document):
    assert 0 <= hash_position(document) < 1
