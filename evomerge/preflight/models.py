"""Do the models fit together? Shapes, names, vocabularies."""

from collections.abc import Iterator, Sequence, Set
from itertools import islice

from evomerge.errors import CheckpointError
from evomerge.hub import model_folders
from evomerge.layout import CheckpointIndex, kind_of
from evomerge.merging.indexes import read_model
from evomerge.vocabulary import Vocabulary, how_they_differ, vocabulary_of

_SHOWN = 3


def read_models(names: Sequence[str]) -> tuple[list[CheckpointIndex], list[CheckpointError]]:
    """The index of every readable model, and what is wrong with the others."""
    indexes, problems = [], []
    for name in names:
        try:
            indexes.append(read_model(name, model_folders([name])))
        except CheckpointError as problem:
            problems.append(problem)
    return indexes, problems


def compare(base: CheckpointIndex, expert: CheckpointIndex) -> Iterator[CheckpointError]:
    """Why `expert` cannot be merged with `base`."""
    yield from _names(base, expert)
    try:
        aligned = {*base.vocabulary_tensors} if _can_be_aligned(base, expert) else set()
    except CheckpointError as problem:
        yield problem
        return
    shapes = list(_shapes(base, expert, aligned))
    vocabulary = [problem for name, problem in shapes if kind_of(name) in {"embedding", "head"}]
    yield from islice(vocabulary or [problem for _, problem in shapes], _SHOWN)


def vocabulary_notes(
    names: Sequence[str], base: CheckpointIndex, experts: Sequence[CheckpointIndex]
) -> Iterator[str]:
    """What to tell about models with another vocabulary than the base's, which has the engine."""
    ours = vocabulary_of(base.name, base)
    for name, expert in zip(names, experts, strict=True):
        theirs = vocabulary_of(name, expert)
        if ours is None or theirs is None:
            continue
        if theirs.tokens is None and ours.tokens is not None:
            yield f"{name} has no tokenizer: its rows are taken to be in the base model's order"
        elif not theirs.same_as(ours):
            yield (
                f"{name}: its tokenizer {how_they_differ(ours, theirs)}; "
                "its rows are aligned to the base model's, token by token"
            )


def _can_be_aligned(base: CheckpointIndex, expert: CheckpointIndex) -> bool:
    """Whether rows can be moved to where the base has their tokens."""
    known: list[Vocabulary | None] = [vocabulary_of(one.name, one) for one in (base, expert)]
    return all(one is not None and one.tokens is not None for one in known)


def _names(base: CheckpointIndex, expert: CheckpointIndex) -> Iterator[CheckpointError]:
    tied = bool(base.config.get("tie_word_embeddings"))
    ignored = {name for name in base.tensors if tied and kind_of(name) == "head"}
    missing = sorted(base.tensors.keys() - expert.tensors.keys() - ignored)
    if missing:
        more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
        yield CheckpointError(
            f"lacks tensors that the base model has: {', '.join(missing[:_SHOWN])}{more}",
            where=expert.name,
            remedy="merge fine-tunes of the same base model only",
        )


def _shapes(
    base: CheckpointIndex, expert: CheckpointIndex, aligned: Set[str]
) -> Iterator[tuple[str, CheckpointError]]:
    for name, info in base.tensors.items():
        other = expert.tensors.get(name)
        if other is None or other.shape == info.shape:
            continue
        if name in aligned and other.shape[1:] == info.shape[1:]:
            continue
        kind = kind_of(name)
        what = "vocabulary sizes differ" if kind in {"embedding", "head"} else "shapes differ"
        yield (
            name,
            CheckpointError(
                f"{what}: {name} is {list(other.shape)}, in the base model {list(info.shape)}",
                where=expert.name,
                remedy="merge fine-tunes of the same base model, with the same vocabulary, only",
            ),
        )
