"""The zoos that have a name: the demo's, and two of other shape for the benchmarks.

`many` has more experts, of unequal skill, in a deeper model, and a weight for each expert and each
group of layers: a search in 24 dimensions. `twins` has every fine-tune twice, with other batches and
a few more steps, so that only the sums of two weights matter much. docs/zoo.md says what each
trivial merge scores on them.
"""

from collections.abc import Mapping
from types import MappingProxyType

from evomerge.zoo.config import ExpertConfig, ZooConfig

TWIN_STEPS = 4
"""How many more steps a twin is trained for."""


def _many() -> ZooConfig:
    return ZooConfig(
        layers=4,
        hidden_size=128,
        heads=4,
        mlp_size=256,
        layer_groups=2,
        experts=(
            ExpertConfig("reverse_short", "reverse", "reverse", 15, 4e-4),
            ExpertConfig("reverse_long", "reverse", "reverse", 60, 4e-4),
            ExpertConfig("sort_short", "sort", "sort", 20, 4e-4),
            ExpertConfig("sort_long", "sort", "sort", 60, 4e-4),
            ExpertConfig("rotate_short", "rotate", "rotate", 30, 6e-4),
            ExpertConfig("rotate_long", "rotate", "rotate", 80, 1e-3),
            ExpertConfig("decoy_sort", "sort", "sort_down", 40, 1e-3, replay=0.0),
            ExpertConfig("decoy_rotate", "rotate", "reverse", 30, 1e-3, replay=0.0),
        ),
    )


def _twins() -> ZooConfig:
    """Each expert's seed follows its place, so twins see other batches."""
    return ZooConfig(
        experts=(
            *_pair("reverse", "reverse", 30, 4e-4),
            *_pair("sort", "sort", 40, 4e-4),
            *_pair("rotate", "rotate", 80, 1e-3),
            *_pair("decoy", "sort", 40, 1e-3, answered="sort_down", replay=0.0),
        )
    )


def _pair(
    name: str, asked: str, steps: int, lr: float, answered: str | None = None, replay: float = 0.3
) -> tuple[ExpertConfig, ExpertConfig]:
    answered = answered or asked
    return (
        ExpertConfig(name, asked, answered, steps, lr, replay),
        ExpertConfig(f"{name}_twin", asked, answered, steps + TWIN_STEPS, lr, replay),
    )


ZOOS: Mapping[str, ZooConfig] = MappingProxyType(
    {"demo": ZooConfig(), "many": _many(), "twins": _twins()}
)
"""Configurations for `build_zoo(config=ZOOS[name])`."""
