"""How many documents a search needs: evomerge's defaults with a tenth of what plain CMA-ES spends.

    python -m benchmarks.search_efficiency --zoos demo many twins --seeds 0 1 2 --out FOLDER

For each zoo and seed: `reference` is CMA-ES (pycma's own population, one generation after the other)
whose 200 candidates answer every document; `ours` is a search file without a word on strategy or racing,
under a token budget of a tenth of what the reference's candidates read and wrote. Both start from the same
scored baselines and end with the same finals. Then the incumbents, the best candidate so far by search
score, are scored on the test documents by bisection until the first is found that is as good as the
reference's winner (not below the 95 % interval of its test score); these scores cost no search anything.

Everything runs in this process on one live engine a zoo. Finished runs are kept in --out and used again,
so the benchmark can be run in pieces; `--only` runs one kind. Prints the table of
docs/search_efficiency.md.
"""

import argparse
import os
import shutil
import sys
from functools import cached_property
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TQDM_DISABLE", "1")

from benchmarks.search_efficiency_compare import (
    Mark,
    Pair,
    bar,
    find_mark,
    lead,
    table,
    test,
    tested_winner,
)
from benchmarks.search_efficiency_runs import Run, search
from evomerge.evaluation import Evaluator, make_evaluator
from evomerge.fitness import compute_fitness
from evomerge.recipe import Recipe
from evomerge.service import check_search
from evomerge.spec import Budget, RacingSpec, SearchSpec, StrategySpec, load_spec
from evomerge.store import SQLStore, open_store
from evomerge.worker import Worker
from evomerge.zoo import ZOOS, build_zoo

CANDIDATES = 200
SHARE = 10
KINDS = ("reference", "ours")


class Bench:
    """One zoo: its spec, its stores, and one live engine for all of them.

    References share a store. Each run of ours has one of its own that holds the scored baselines and
    nothing else: what other runs have scored would be free, and its budget would buy more than a tenth.
    """

    def __init__(self, zoo: str, out: Path, engine: str) -> None:
        self.zoo, self.out = zoo, out
        spec = load_spec(build_zoo(config=ZOOS[zoo]).search_file)
        named = spec.engine.model_copy(update={"name": engine})
        self.spec = spec.model_copy(update={"engine": named})

    def store(self, kind: str, seed: int) -> SQLStore:
        """The store of a run, made where there is none."""
        if kind == "reference":
            return open_store(str(self.out / f"{self.zoo}-reference.db"))
        file = self.out / f"{self.zoo}-ours-{seed}.db"
        if not file.is_file():
            shutil.copyfile(self._baselines(), file)
        return open_store(str(file))

    def _baselines(self) -> Path:
        """A store with the baselines on all splits, and one candidate: the start."""
        file = self.out / f"{self.zoo}-baselines.db"
        if not file.is_file():
            draft = file.with_suffix(".part")
            one = {"strategy": StrategySpec(name="random"), "budget": Budget(candidates=1)}
            store = open_store(str(draft))
            self._search("baselines", self.spec.model_copy(update=one), store, 0)
            store.close()
            draft.rename(file)
        return file

    def _search(self, kind: str, spec: SearchSpec, store: SQLStore, seed: int) -> Run:
        print(f"{self.zoo}: {kind}, seed {seed}", file=sys.stderr, flush=True)
        worker = Worker(store, lambda: self.evaluator)
        worker.prepare()
        return search(self.zoo, kind, spec, store, worker, seed)

    @cached_property
    def evaluator(self) -> Evaluator:
        """The live engine."""
        return make_evaluator(check_search(self.spec).spec)

    def run(self, kind: str, seed: int) -> Run:
        """The finished run, from --out or made now."""
        file = self.out / f"{self.zoo}-{kind}-{seed}.json"
        if not file.is_file():
            spec = self.reference(seed) if kind == "reference" else self.ours(seed)
            self._search(kind, spec, self.store(kind, seed), seed).save(file)
        return Run.load(file)

    def reference(self, seed: int) -> SearchSpec:
        """Plain CMA-ES, every candidate on every document."""
        return self.spec.model_copy(
            update={
                "strategy": StrategySpec(name="cma", seed=seed, asynchronous=False),
                "racing": RacingSpec(enabled=False),
                "budget": Budget(candidates=CANDIDATES),
            }
        )

    def ours(self, seed: int) -> SearchSpec:
        """Defaults, with a tenth of the tokens."""
        tokens = self.run("reference", seed).phases["search"].tokens // SHARE
        return self.spec.model_copy(
            update={
                "strategy": StrategySpec(seed=seed),
                "racing": RacingSpec(),
                "budget": Budget(tokens=tokens),
            }
        )

    def pair(self, seed: int) -> Pair:
        """Both runs of a seed, compared."""
        reference, ours = self.run("reference", seed), self.run("ours", seed)
        target = tested_winner(self.store("reference", seed), reference)
        winner = tested_winner(self.store("ours", seed), ours)
        return Pair(
            reference=reference,
            ours=ours,
            lead=lead(self.spec.objective, winner, target),
            reference_mark=self._mark(reference, bar(self.spec.objective, target)),
            our_mark=self._mark(ours, bar(self.spec.objective, target)),
        )

    def _mark(self, run: Run, wanted: float) -> Mark:
        file = self.out / f"{self.zoo}-{run.kind}-{run.seed}-mark.json"
        return find_mark(file, run, self.store(run.kind, run.seed), self.test_score, wanted)

    def test_score(self, recipe: Recipe) -> float:
        """A recipe's fitness on the test documents, made now."""
        evaluation, _ = test(self.evaluator, recipe)
        return compute_fitness(self.spec.objective, evaluation.scores).value


def main() -> None:
    """Run what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--zoos", nargs="+", choices=list(ZOOS), default=list(ZOOS))
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(10)))
    parser.add_argument("--out", type=Path, default=Path("search-efficiency"))
    parser.add_argument("--engine", choices=["vllm", "hf"], default="vllm")
    parser.add_argument("--only", choices=KINDS, help="run these, and print nothing")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    pairs: list[Pair] = []
    for zoo in options.zoos:
        bench = Bench(zoo, options.out, options.engine)
        for seed in options.seeds:
            if options.only:
                bench.run(options.only, seed)
            else:
                pairs.append(bench.pair(seed))
    if pairs:
        print(table(pairs))


if __name__ == "__main__":
    main()
