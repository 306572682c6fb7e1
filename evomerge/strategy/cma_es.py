"""CMA-ES (Hansen 2016, The CMA Evolution Strategy: A Tutorial), through `cma`.

`cma` draws from numpy's global generator unless told otherwise, and seeds it; both would tie a
search's history to whatever else runs in the process. A private generator is given instead.
"""

import warnings
from collections.abc import Sequence

import numpy as np

with warnings.catch_warnings():
    # cma looks for matplotlib, which nothing here plots with.
    warnings.simplefilter("ignore")
    import cma

from evomerge.space import Genome


class CMAStrategy:
    """Generational CMA-ES; the box is kept by `cma`'s smooth boundary transformation."""

    def __init__(
        self, start: Genome, *, sigma0: float, seed: int, population_size: int | None = None
    ) -> None:
        generator = np.random.default_rng([seed, 0xE70])
        options = {
            "bounds": [0.0, 1.0],
            "seed": np.nan,
            "randn": lambda *shape: generator.standard_normal(shape),
            "verbose": -9,
            "maxiter": np.inf,
            "maxfevals": np.inf,
        }
        if population_size is not None:
            options["popsize"] = population_size
        self._padded = len(start) == 1
        # cma refuses one dimension: a second gene that changes nothing is carried along.
        inside = np.clip(np.append(start, 0.5) if self._padded else start, 0.02, 0.98)
        self._es = cma.CMAEvolutionStrategy(inside, sigma0, options)
        self._asked: list[Genome] = []

    @property
    def population_size(self) -> int:
        return int(self._es.popsize)

    def ask(self) -> list[Genome]:
        self._asked = [np.asarray(genome, dtype=np.float64) for genome in self._es.ask()]
        return [(genome[:1] if self._padded else genome).copy() for genome in self._asked]

    def tell(self, genomes: Sequence[Genome], losses: Sequence[float]) -> None:
        assert len(genomes) == len(self._asked), "tell the generation that was asked for"
        self._es.tell(self._asked, list(losses))

    def recommend(self) -> Genome | None:
        mean = np.asarray(self._es.result.xfavorite, dtype=np.float64)
        return mean[:1] if self._padded else mean

    @property
    def stop_reason(self) -> str | None:
        reasons = {k: v for k, v in self._es.stop().items() if k in {"tolx", "noeffectcoord"}}
        return f"CMA-ES converged ({', '.join(reasons)})" if reasons else None
