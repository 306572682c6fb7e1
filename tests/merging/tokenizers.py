"""Models with real tokenizers for the tests of vocabularies: every row says whose it is."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers
from torch import Tensor

from tests.merging.checkpoints import Weights, random_weights, save

SPECIAL = ("<unk>", "<s>", "</s>")
HIDDEN = 4


def make_tokenizer(words: Sequence[str], special: Sequence[str] = ()) -> Tokenizer:
    """Words split at white space; `special` ones are added behind them."""
    vocabulary = {word: place for place, word in enumerate([*SPECIAL, *words])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.add_special_tokens([AddedToken(word, special=True) for word in (*SPECIAL, *special)])
    return tokenizer


def shapes(rows: int, tied: bool = False) -> dict[str, tuple[int, ...]]:
    """A model of one layer."""
    head = {} if tied else {"lm_head.weight": (rows, HIDDEN)}
    return {
        "model.embed_tokens.weight": (rows, HIDDEN),
        "model.layers.0.mlp.up_proj.weight": (6, HIDDEN),
        "model.norm.weight": (HIDDEN,),
        **head,
    }


def model(
    folder: Path,
    words: Sequence[str],
    seed: int,
    *,
    special: Sequence[str] = (),
    padding: int = 0,
    dtype: torch.dtype = torch.float32,
    tokenizer: bool = True,
    tied: bool = False,
    **config: Any,
) -> tuple[Tokenizer, Weights]:
    """Write a model and its tokenizer; both are returned."""
    made = make_tokenizer(words, special)
    rows = made.get_vocab_size() + padding
    weights = random_weights(shapes(rows, tied), seed, dtype)
    save(folder, weights, **{"vocab_size": rows, "tie_word_embeddings": tied, **config})
    if tokenizer:
        made.save(str(folder / "tokenizer.json"))
    return made, weights


def row(tokenizer: Tokenizer, weights: Weights, token: str, name: str = "lm_head.weight") -> Tensor:
    """A token's row."""
    return weights[name][tokenizer.token_to_id(token)]
