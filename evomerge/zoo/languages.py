"""Skills in several languages: the same strings of symbols, written in other letters.

A language is an alphabet of nine letters, a skill a function on strings of four symbols; any skill can be
asked in any language, so that there are combinations which no fine-tune was trained on, as in Tam et al.
2024 (task = skill and language). A fifth of all strings, by hash of their symbols, is never trained on,
in no language.
"""

import hashlib
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

LENGTH = 4
SYMBOLS = 9
HELD_OUT_SHARE = 0.2
LANGUAGES: Mapping[str, str] = {
    "ah": "abcdefghi",
    "jo": "jklmnopqr",
    "su": "stuvwxyz0",
    "en": "123456789",
}
"""The letters of each language, for the symbols 0 to 8."""
Word = tuple[int, ...]
Change = Callable[[Word], Word]


@dataclass(frozen=True)
class Skill:
    """What asks for it, and the right answer."""

    request: str
    answer: Change


def _places(*order: int) -> Change:
    return lambda word: tuple(word[place] for place in order)


def _raised(by: int) -> Change:
    return lambda word: tuple((symbol + by) % SYMBOLS for symbol in word)


SKILLS: Mapping[str, Skill] = {
    "reverse": Skill("RR", _places(3, 2, 1, 0)),
    "rotate": Skill("LL", _places(2, 3, 0, 1)),
    "swap": Skill("LR", _places(1, 0, 3, 2)),
    "sort": Skill("SS", lambda word: tuple(sorted(word))),
    "raise": Skill("DS", _raised(1)),
    "ends": Skill("RL", _places(3, 1, 2, 0)),
    "copy": Skill("CC", _places(0, 1, 2, 3)),
}
"""Requests are written in the letters that the zoo's tokenizer has for them."""


def written(word: Word, language: str) -> str:
    """A word in a language's letters."""
    return "".join(LANGUAGES[language][symbol] for symbol in word)


def prompt(skill: str, word: Word, language: str) -> str:
    """The text before the answer."""
    return f"{SKILLS[skill].request}:{written(word, language)}>"


def is_held_out(word: Word) -> bool:
    """Whether a word belongs to the tasks, and so to no training prompt of any language."""
    return hashlib.sha256(bytes(word)).digest()[0] < 256 * HELD_OUT_SHARE


def draw_word(rng: random.Random, *, held_out: bool) -> Word:
    """A random word from the wanted side of the fence."""
    while True:
        word = tuple(rng.randrange(SYMBOLS) for _ in range(LENGTH))
        if is_held_out(word) == held_out:
            return word


def draw_words(count: int, rng: random.Random) -> list[Word]:
    """`count` different held-out words of four different symbols, sorted; there are about 600."""
    found: set[Word] = set()
    while len(found) < count:
        word = draw_word(rng, held_out=True)
        if len(set(word)) == LENGTH:
            found.add(word)
    return sorted(found)
