"""Short random names for searches, easy to say and to type."""

import secrets
from collections.abc import Collection

_ADJECTIVES = """
amber brave brisk calm clear cool deft eager early fair fine fond glad gold good grand green keen
kind late lean light lucky mild neat noble pale plain proud quick quiet rapid ripe sharp shy silver
sleek smart soft solid spry stout swift tidy true vivid warm wide wise young
"""
_NOUNS = """
ant badger bat bear bee boar crane crow deer dove eagle eel egret elk falcon finch fox frog gecko
goat goose gull hare hawk heron ibex jay kite koi lark lion lynx mole moth mouse newt otter owl
panda pike quail raven robin seal shrew skua snail stork swan swift tern toad trout vole wasp whale
wolf wren yak
"""


def random_name(taken: Collection[str]) -> str:
    """Such as `keen-heron-3f0a`, and none of those taken."""
    while True:
        adjective = secrets.choice(_ADJECTIVES.split())
        noun = secrets.choice(_NOUNS.split())
        name = f"{adjective}-{noun}-{secrets.token_hex(2)}"
        if name not in taken:
            return name
