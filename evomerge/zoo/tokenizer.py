"""The zoo's tokenizer: each character one token, an end token and padding, no begin token.

Text is tokenised the same way in training, by lm-eval and by vLLM, because there is nothing to
merge: a prompt and its answer tokenise apart as they do together.
"""

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from evomerge.zoo.skills import ALPHABET, SYMBOLS

PAD, END = "<pad>", "<eos>"
VOCABULARY = (PAD, END, *ALPHABET, *SYMBOLS)
TOKEN_ID = {token: number for number, token in enumerate(VOCABULARY)}
PAD_ID, END_ID = TOKEN_ID[PAD], TOKEN_ID[END]


def encode(text: str) -> list[int]:
    """Token ids of a text, without the end token. Raises KeyError on a foreign character."""
    return [TOKEN_ID[character] for character in text]


def make_tokenizer(max_length: int) -> PreTrainedTokenizerFast:
    """The tokenizer as transformers knows it."""
    inner = Tokenizer(models.WordLevel(TOKEN_ID, unk_token=PAD))
    inner.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    inner.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=inner,
        eos_token=END,
        pad_token=PAD,
        model_max_length=max_length,
        clean_up_tokenization_spaces=False,
    )
