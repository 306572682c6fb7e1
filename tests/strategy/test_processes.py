"""The same genomes in every process, however many threads its linear algebra may use."""

import os
import subprocess
import sys

WALK = """
import hashlib
from evomerge.spec import SOUP, StrategySpec
from evomerge.testing.strategy_conformance.problems import MIXED, ORDERED, Maker, Problem, walk
from evomerge.strategy import make_strategy

for name in StrategySpec.model_fields["name"].annotation.__args__:
    if name == SOUP:
        continue
    for dimension, cells, ordered in ((43, (), ()), (7, MIXED, ORDERED)):
        problem = Problem(dimension, cells=cells, ordered=ordered)
        strategy = make_strategy(StrategySpec(name=name), problem.start, cells, ordered=ordered)
        told = walk(strategy, 80, Maker().plateaus)
        print(name, hashlib.sha256(b"".join(genome.tobytes() for genome, _ in told)).hexdigest())
"""


def test_processes_with_other_threads_and_hashes_ask_for_the_same_bits() -> None:
    def asked(threads: str, hash_seed: str) -> str:
        environment = os.environ | {
            "OMP_NUM_THREADS": threads,
            "OPENBLAS_NUM_THREADS": threads,
            "PYTHONHASHSEED": hash_seed,
        }
        command = [sys.executable, "-c", WALK]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert asked("1", "1") == asked("2", "77")
