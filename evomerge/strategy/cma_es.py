"""CMA-ES (Hansen 2016, The CMA Evolution Strategy: A Tutorial), through `cma`.

`cma` draws from numpy's global generator unless told otherwise, and seeds it; both would tie a
search's history to whatever else runs in the process. A private generator is given instead.
"""

import warnings

import numpy as np

with warnings.catch_warnings():
    # cma looks for matplotlib, which nothing here plots with.
    warnings.simplefilter("ignore")
    import cma

from evomerge.space import Genome
from evomerge.strategy.base import Observation, to_losses


class CMAStrategy:
    """CMA-ES that updates with every `population_size` results; `cma` keeps the box."""

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
        self._ready: list[Genome] = []
        self._asked: dict[bytes, Genome] = {}
        self._told: list[tuple[Genome, Observation]] = []

    @property
    def population_size(self) -> int:
        return int(self._es.popsize)

    @property
    def parents(self) -> int:
        return int(self._es.sp.weights.mu)

    def ask(self) -> Genome:
        if not self._ready:
            self._ready = [np.asarray(one, dtype=np.float64) for one in self._es.ask()]
        whole = self._ready.pop(0)
        genome = (whole[:1] if self._padded else whole).copy()
        self._asked[genome.tobytes()] = whole
        return genome

    def tell(self, genome: Genome, observation: Observation) -> None:
        whole = self._asked.pop(genome.tobytes(), None)
        if whole is None:
            whole = np.append(genome, 0.5) if self._padded else np.array(genome)
        self._told.append((whole, observation))
        if len(self._told) == self.population_size:
            genomes, observations = zip(*self._told, strict=True)
            self._es.tell(list(genomes), to_losses(observations))
            self._told, self._ready = [], []

    def recommend(self) -> Genome | None:
        mean = np.asarray(self._es.result.xfavorite, dtype=np.float64)
        return mean[:1] if self._padded else mean

    @property
    def stop_reason(self) -> str | None:
        reasons = {k: v for k, v in self._es.stop().items() if k in {"tolx", "noeffectcoord"}}
        return f"CMA-ES converged ({', '.join(reasons)})" if reasons else None
