"""The zoos that ready studies train for themselves: found by name, made when they are first asked for."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from evomerge.errors import NotFoundError, did_you_mean

Progress = Callable[[str, float], None]


def zoo_folder(name: str, seed: int = 0, progress: Progress | None = None) -> Path:
    """The folder of a family of models, trained now unless it is there.

    Args:
        seed: of the training.
        progress: told what is being trained, and the share of everything that is done.

    Raises NotFoundError for a name that is none.
    """
    from evomerge.zoo.families import FAMILIES

    if name not in FAMILIES:
        raise NotFoundError(
            f"no zoo named {name!r}", where="zoo", remedy=did_you_mean(name, list(FAMILIES))
        )
    from evomerge.zoo.family_build import build_family

    return build_family(replace(FAMILIES[name], seed=seed), progress=progress)
