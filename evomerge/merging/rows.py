"""Which row of which model becomes which row of a merge: embeddings are aligned by token, never cut.

What a model lacks is filled in as mergekit 0.1.5 does. M models, R rows of the merge.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evomerge.errors import RecipeError, did_you_mean
from evomerge.recipe import Token
from evomerge.vocabulary import Tokens, Vocabulary

LACKING = -1
ZERO, AVERAGE, PADDING = -1, -2, -3
Places = NDArray[np.int64]


@dataclass(frozen=True)
class Rows:
    """Where the rows of a merge come from.

    own_MR: each model's own row, or LACKING.
    known_MR: the same before `force`, for averages.
    donor_R, donor_row_R: who fills in a row that a model lacks: a model's number and its row, or
        ZERO, AVERAGE of the models that have it, PADDING: the mean of all rows with a token.
    """

    own_MR: Places
    known_MR: Places
    donor_R: Places
    donor_row_R: Places

    def unchanged(self, model: int, rows: int) -> bool:
        """Whether a model of so many rows is as it was."""
        own = self.own_MR[model]
        return len(own) == rows and bool((own == np.arange(rows)).all())


def plan_rows(
    out: Tokens,
    count: int,
    models: Sequence[Vocabulary],
    *,
    base: int | None,
    home: int | None,
    guest: bool = False,
    tokens: Mapping[str, Token],
) -> Rows:
    """The rows of a merge.

    Args:
        out: tokens of the merge; `count` is its number of rows.
        models: the merged ones; one without a tokenizer is taken to have the home's tokens.
        base, home: the base model, and the one whose tokenizer is taken, among `models`.
        guest: whether the last model is not merged, and is asked for rows that no other has.
        tokens: what the recipe says of single tokens.

    Raises RecipeError where a token's row comes from a model that lacks it.
    """
    first = models[home if home is not None else base or 0]
    known = np.stack([_rows_of(out, count, model, first) for model in models])
    named = np.zeros(count, bool)
    named[list(out.values())] = True
    _keep_padding(known, named, models, home)
    donor, row = _donors(known[: len(models) - guest], base)
    if guest:
        _ask_last(known, donor, row)
    donor[(known < 0).all(axis=0) & ~named] = PADDING
    own = known.copy()
    for text, given in tokens.items():
        place = _place(text, out)
        donor[place], row[place] = _given(text, given, models, known[:, place])
        if given.force:
            own[:, place] = LACKING
    return Rows(own, known, donor, row)


def _rows_of(out: Tokens, count: int, model: Vocabulary, like: Vocabulary) -> Places:
    """The model's row of each token of the merge."""
    tokens = (model.tokens if model.tokens is not None else like.tokens) or {}
    found = np.full(count, LACKING, np.int64)
    found[list(out.values())] = [tokens.get(token, LACKING) for token in out]
    found[found >= model.rows] = LACKING
    return found


def _keep_padding(
    known: Places, named: NDArray[np.bool_], models: Sequence[Vocabulary], home: int | None
) -> None:
    """Rows without a token stay those of the tokenizer's own model, and of those that equal it."""
    if home is None:
        return
    spare = np.flatnonzero(~named)
    spare = spare[spare < models[home].rows]
    for number, model in enumerate(models):
        if model.same_as(models[home]):
            known[number, spare] = spare


def _donors(known: Places, base: int | None) -> tuple[Places, Places]:
    """One model has the token: it; the base has it: the base; several: their average; none: zeros."""
    has = known >= 0
    count = has.sum(axis=0)
    donor = np.where(count == 0, ZERO, AVERAGE)
    if base is not None:
        donor[has[base]] = base
    donor[count == 1] = has.argmax(axis=0)[count == 1]
    row = known[np.maximum(donor, 0), np.arange(known.shape[1])]
    return donor, row


def _ask_last(known: Places, donor: Places, row: Places) -> None:
    """Rows that only the last model has; it takes no part in others."""
    number = len(known) - 1
    wanted = (donor == ZERO) & (known[number] >= 0)
    donor[wanted], row[wanted] = number, known[number][wanted]
    known[number][~wanted] = LACKING


def _place(text: str, out: Tokens) -> int:
    if text not in out:
        raise RecipeError(
            "the merged tokenizer has no row for it",
            where=f"tokenizer: tokens: {text}",
            remedy="remove it, or name a token of the tokenizer's source",
        )
    return out[text]


def _given(
    text: str, token: Token, models: Sequence[Vocabulary], places: Places
) -> tuple[int, int]:
    """The donor that a recipe names for a token."""
    if token.model is None:
        return ZERO, LACKING
    names = [model.name for model in models]
    if token.model not in names:
        remedy = did_you_mean(token.model, names)
        raise RecipeError(
            f"{token.model!r} is none of the merged models", where=f"token {text}", remedy=remedy
        )
    number = names.index(token.model)
    found = token.token_id
    if token.token is not None:
        found = (models[number].tokens or {}).get(token.token, LACKING)
    elif found is None:
        found = int(places[number])
    if not 0 <= found < models[number].rows:
        what = token.token if token.token is not None else token.token_id
        raise RecipeError(
            f"{token.model} has no row for {text if what is None else what!r}",
            where=f"tokenizer: tokens: {text}",
            remedy="name a token that it has, or source: {kind: zero}",
        )
    return number, found
