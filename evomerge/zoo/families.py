"""Families for studies: bases of several sizes, each with fine-tunes of one skill in one language.

A base has learned all skills in all languages and then mostly to copy what it is given, so that it has the
skills and rarely does what it is asked; a fine-tune does, for its own skill in its own language.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from types import MappingProxyType

from evomerge.zoo.config import short_hash
from evomerge.zoo.languages import LANGUAGES

FORMAT_VERSION = 1
"""Raise it when the code changes what a configuration yields."""
HELD_OUT_SKILLS = ("raise", "ends")
"""What every base has learned, and no fine-tune is trained for."""


@dataclass(frozen=True)
class Pair:
    """A skill in a language, and its name in folders and tasks."""

    skill: str
    language: str

    @property
    def name(self) -> str:
        return f"{self.skill}_{self.language}"


@dataclass(frozen=True)
class Size:
    """One base's architecture."""

    name: str
    hidden_size: int
    layers: int
    heads: int
    mlp_size: int


@dataclass(frozen=True)
class FamilyConfig:
    """Sizes, fine-tunes, training and tasks.

    skilled_steps, unsure_steps: of the base's two stages. right: in the second one the share of
    requests that are answered rightly; the others are copied. replay: share of a fine-tune's prompts
    that come from the base's second stage. multitask: a model trained for all pairs is there too.
    """

    sizes: tuple[Size, ...]
    pairs: tuple[Pair, ...]
    seed: int = 0
    batch_size: int = 96
    threads: int = 1
    skilled_steps: int = 300
    unsure_steps: int = 60
    right: float = 0.25
    expert_steps: int = 40
    lr: float = 6e-4
    replay: float = 0.3
    documents: int = 200
    multitask: bool = True
    splits: Mapping[str, float] = field(
        default_factory=lambda: MappingProxyType({"search": 0.2, "validation": 0.2, "test": 0.6})
    )

    @property
    def hash(self) -> str:
        """Twelve hex digits that change with anything in it."""
        plain = {
            key: value
            for key, value in vars(self).items()
            if key not in {"sizes", "pairs", "splits"}
        }
        nested = {
            "sizes": [asdict(s) for s in self.sizes],
            "pairs": [asdict(p) for p in self.pairs],
        }
        return short_hash(
            {**plain, **nested, "splits": dict(self.splits), "format": FORMAT_VERSION}
        )

    @property
    def total_steps(self) -> int:
        """Training steps of everything."""
        models = self.expert_steps * (len(self.pairs) * (2 if self.multitask else 1))
        return len(self.sizes) * (self.skilled_steps + self.unsure_steps + models)

    @property
    def tasks(self) -> tuple[Pair, ...]:
        """Every skill of a fine-tune, and those that are held out, in every language."""
        skills = tuple(dict.fromkeys(pair.skill for pair in self.pairs))
        languages = tuple(dict.fromkeys(pair.language for pair in self.pairs))
        return tuple(Pair(s, one) for s in (*skills, *HELD_OUT_SKILLS) for one in languages)


SMALL = Size("small", 64, 2, 2, 128)
MEDIUM = Size("medium", 112, 2, 4, 224)
LARGE = Size("large", 192, 2, 6, 384)
_TAUGHT = ("reverse", "sort", "rotate", "swap")
_DIAGONAL = tuple(Pair(skill, one) for skill, one in zip(_TAUGHT, LANGUAGES, strict=True))
_NEXT = tuple(
    Pair(skill, one)
    for skill, one in zip(_TAUGHT, [*list(LANGUAGES)[1:], next(iter(LANGUAGES))], strict=True)
)
FAMILIES: Mapping[str, FamilyConfig] = MappingProxyType(
    {
        "languages": FamilyConfig((MEDIUM,), _DIAGONAL),
        "sizes": FamilyConfig((SMALL, MEDIUM, LARGE), (*_DIAGONAL, *_NEXT), multitask=False),
    }
)
"""`languages`: four fine-tunes, each of a skill in a language. `sizes`: eight, on bases of three sizes."""
