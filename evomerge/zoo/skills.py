"""Skills on short strings: what the models learn and what the tasks ask.

Each skill has a symbol that asks for it and an alphabet of its own, as German, code and mathematics
have theirs: that is why fine-tunes on different skills can be added at all. A prompt is
`symbol:string>`, its answer is another string of the same length. A fifth of all strings, chosen by
hash, is never trained on: tasks ask about those alone.
"""

import hashlib
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

LENGTH = 4
LETTERS_A, LETTERS_B, DIGITS = "abcdefghijkl", "mnopqrstuvwx", "yz0123456789"
HELD_OUT_SHARE = 0.2


@dataclass(frozen=True)
class Skill:
    """A symbol that asks for it, the alphabet of its strings, and the right answer to a string."""

    symbol: str
    alphabet: str
    answer: Callable[[str], str]

    def prompt(self, string: str) -> str:
        """The text before the answer."""
        return f"{self.symbol}:{string}>"


def _reversed(string: str) -> str:
    return string[::-1]


def _ascending(string: str) -> str:
    return "".join(sorted(string))


def _descending(string: str) -> str:
    return "".join(sorted(string, reverse=True))


def _rotated(string: str) -> str:
    return string[2:] + string[:2]


def _copied(string: str) -> str:
    return string


SKILLS: Mapping[str, Skill] = {
    "reverse": Skill("R", LETTERS_A, _reversed),
    "sort": Skill("S", LETTERS_B, _ascending),
    "rotate": Skill("L", DIGITS, _rotated),
    "copy": Skill("C", LETTERS_A + LETTERS_B + DIGITS, _copied),
    "sort_down": Skill("D", LETTERS_B, _descending),
}
SYMBOLS = "".join(skill.symbol for skill in SKILLS.values()) + ":>"
ALPHABET = LETTERS_A + LETTERS_B + DIGITS


def is_held_out(string: str) -> bool:
    """Whether a string belongs to the tasks, and so to no training prompt."""
    return hashlib.sha256(string.encode()).digest()[0] < 256 * HELD_OUT_SHARE


def draw_string(alphabet: str, held_out: bool, rng: random.Random) -> str:
    """A random string of the alphabet from the wanted side of the fence."""
    while True:
        string = "".join(rng.choice(alphabet) for _ in range(LENGTH))
        if is_held_out(string) == held_out:
            return string


def draw_documents(skill: Skill, count: int, rng: random.Random) -> list[str]:
    """`count` different held-out strings of four different symbols, sorted.

    There are about 2,380 of them in an alphabet of twelve.
    """
    found: set[str] = set()
    while len(found) < count:
        string = draw_string(skill.alphabet, True, rng)
        if len(set(string)) == LENGTH:
            found.add(string)
    return sorted(found)
