"""mergekit-evolve's own search loop beside evomerge's, on the same models, documents and machine.

    python -m venv PEER && PEER/bin/pip install 'mergekit[evolve]==0.1.5'
    python -m benchmarks.evolve_peer --python PEER/bin/python --zoo demo --seeds 0 1 2 \
        --times 5 --out FOLDER

FOLDER holds the runs of `benchmarks.search_efficiency` (same zoo and seeds). The peer searches for as many
CPU seconds as the reference there took, baselines included; starting Ray and loading its libraries are given
to it, as starting the engine is to the reference. CPU seconds, as both score one candidate at a time and
a shared machine's clock says little; the clock's seconds are printed too. Its tasks are the zoo's own task
files cut down to the documents of the search split, with the same metrics and weights: its score is our
search fitness. It runs with its own defaults: sigma0 1/6, uniform start, merges on disk, a pool of one
actor, Hugging Face backend; with batches of 32, as it otherwise takes documents one by one.

Its best recipe in that time is then scored by evomerge on the test documents. It goes on for --times as
long, and is as good as the reference once its best one's test score is not below the 95 % interval of the
reference's.
"""

import argparse
import json
import shutil
import statistics
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from benchmarks.search_efficiency import Bench
from benchmarks.search_efficiency_compare import (
    Tested,
    bar,
    first_as_good,
    lead,
    test,
    tested_winner,
)
from benchmarks.search_efficiency_runs import Run
from evomerge.bootstrap import Estimate
from evomerge.evaluation.splits import split_documents
from evomerge.fitness import Split, compute_fitness
from evomerge.merging.mergekit_yaml import parse_recipe
from evomerge.spec import SearchSpec
from evomerge.zoo import ZOOS

RUNNER = Path(__file__).with_name("evolve_peer_runner.py")
GOLD_PROB = """import math


def process_results(doc, results):
    logs = [result[0] for result in results]
    weights = [math.exp(log - max(logs)) for log in logs]
    return {"gold_prob": weights[doc["gold"]] / sum(weights)}
"""
"""Our `gold_prob` for lm-eval: the probability of the right choice among the choices."""


@dataclass(frozen=True)
class Candidate:
    """A line of the runner's record; seconds since it began to search."""

    seconds: float
    cpu_seconds: float
    score: float
    recipe: str


@dataclass(frozen=True)
class Outcome:
    """One seed: what the peer found in `budget` CPU seconds, and when it was as good as the reference.

    searched: CPU seconds, of which `budget` are the first.
    against_reference, against_ours: its best on the test documents minus these searches' winners.
    as_good_after: CPU seconds; None where it never was.
    """

    seed: int
    budget: float
    searched: float
    seconds: float
    candidates: int
    fitness: float
    against_reference: Estimate
    against_ours: Estimate | None
    as_good_after: float | None


class Peer:
    """mergekit-evolve on one zoo, searching `times` as long as the reference did."""

    def __init__(self, bench: Bench, python: Path, times: float) -> None:
        self.bench, self.python, self.times = bench, python, times
        self.folder = bench.out / f"{bench.zoo}-peer"

    @cached_property
    def tasks(self) -> Path:
        """The task files, cut down to the search split."""
        folder = self.folder / "tasks"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        write_tasks(self.bench.spec, folder)
        return folder

    def record(self, seed: int, cpu_seconds: float) -> list[Candidate]:
        """The candidates of a run of `cpu_seconds`, made now where --out has none."""
        file = self.folder / f"{seed}.jsonl"
        if not file.is_file():
            self._search(seed, cpu_seconds, file)
        lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        return [Candidate(**line) for line in lines]

    def _search(self, seed: int, cpu_seconds: float, file: Path) -> None:
        tasks = self.tasks
        config, storage = self.folder / f"{seed}.yml", self.folder / f"{seed}-storage"
        with config.open("w", encoding="utf-8") as stream:
            YAML().dump(genome(self.bench.spec, ZOOS[self.bench.zoo].layers), stream)
        draft = file.with_suffix(".part")
        draft.unlink(missing_ok=True)
        command = [
            *(str(self.python), str(RUNNER), str(draft), str(seed), str(cpu_seconds), str(config)),
            *("--storage-path", str(storage), "--task-search-path", str(tasks)),
            *("--max-fevals", "1000000", "--num-gpus", "1"),
            *("--no-merge-cuda", "--batch-size", "32", "--no-reshard", "--no-save-final-model"),
        ]
        with file.with_suffix(".log").open("w") as log:
            subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, check=True)
        shutil.rmtree(storage, ignore_errors=True)
        draft.rename(file)

    def outcome(self, seed: int) -> Outcome:
        """Run, or read, and compare."""
        reference = self.bench.run("reference", seed)
        budget = sum(reference.phases[name].cpu_seconds for name in ("baselines", "search"))
        record = self.record(seed, budget * self.times)
        candidates = [one for one in record if one.cpu_seconds <= budget]
        best, later = incumbents(candidates), incumbents(record)
        target = tested_winner(self.bench.store("reference", seed), reference)
        objective = self.bench.spec.objective
        wanted = bar(objective, target)
        tested = test(self.bench.evaluator, parse_recipe(best[-1].recipe))
        place = first_as_good(
            len(later), lambda i: self.bench.test_score(parse_recipe(later[i].recipe)) >= wanted
        )
        ours = self._ours(seed)
        return Outcome(
            seed=seed,
            budget=budget,
            searched=record[-1].cpu_seconds,
            seconds=candidates[-1].seconds,
            candidates=len(candidates),
            fitness=compute_fitness(objective, tested[0].scores).value,
            against_reference=lead(objective, tested, target),
            against_ours=None if ours is None else lead(objective, tested, ours),
            as_good_after=None if place is None else later[place].cpu_seconds,
        )

    def _ours(self, seed: int) -> Tested | None:
        """The winner of our search with the same seed, where there is one."""
        file = self.bench.out / f"{self.bench.zoo}-ours-{seed}.json"
        return (
            tested_winner(self.bench.store("ours", seed), Run.load(file))
            if file.is_file()
            else None
        )


def incumbents(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Those that were better than all before them."""
    found: list[Candidate] = []
    for candidate in candidates:
        if not found or candidate.score > found[-1].score:
            found.append(candidate)
    return found


def genome(spec: SearchSpec, layers: int) -> dict[str, Any]:
    """Its search file: the same models, method, tasks, metrics and weights, and no chat template."""
    groups = spec.space_spec.layer_groups
    per_group = groups > 1
    tasks = spec.objective.tasks
    return {
        "genome": {
            "models": list(spec.models),
            "merge_method": "task_arithmetic",
            "base_model": spec.base_model,
            "layer_granularity": layers // groups if per_group else 0,
        },
        "tasks": [
            {"name": f"peer_{task.task}", "metric": f"{task.metric},none", "weight": 1 / len(tasks)}
            for task in tasks
        ],
        "apply_chat_template": False,
        "fewshot_as_multiturn": False,
        "num_fewshot": 0,
    }


def write_tasks(spec: SearchSpec, folder: Path) -> None:
    """Each task of the objective as `peer_NAME`, with the documents of the search split alone."""
    (folder / "gold.py").write_text(GOLD_PROB, encoding="utf-8")
    source = spec.objective.include_path
    if source is None:
        raise SystemExit("a zoo has its tasks in a folder")
    for task in spec.objective.tasks:
        config = YAML(typ="safe").load((source / f"{task.task}.yaml").read_text(encoding="utf-8"))
        documents = Path(config["dataset_kwargs"]["data_files"]["test"])
        lines = documents.read_text(encoding="utf-8").splitlines()
        numbers = split_documents([json.loads(line) for line in lines], spec.objective.splits)
        kept = folder / f"peer_{task.task}.jsonl"
        kept.write_text("".join(lines[n] + "\n" for n in numbers[Split.SEARCH]), encoding="utf-8")
        _write_task(folder, config, kept, f"peer_{task.task}", str(task.metric))


def _write_task(
    folder: Path, config: Mapping[str, Any], documents: Path, name: str, metric: str
) -> None:
    wanted = {"metric": metric, "aggregation": "mean", "higher_is_better": True}
    data = {"data_files": {"test": str(documents)}}
    own = {**config, "task": name, "dataset_kwargs": data, "metric_list": [wanted]}
    file = folder / f"{name}.yaml"
    with file.open("w", encoding="utf-8") as stream:
        YAML().dump(own, stream)
        if metric == "gold_prob":
            stream.write("process_results: !function gold.process_results\n")


def table(zoo: str, outcomes: Sequence[Outcome]) -> str:
    """Markdown: a line for each seed, then medians."""
    lines = [
        f"| {zoo}, seed | CPU seconds (by the clock) | its candidates | its test score "
        "| minus plain CMA-ES's (95 %) | minus evomerge's (95 %) | CPU seconds until as good as CMA-ES |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in outcomes:
        ours = "–" if one.against_ours is None else _interval(one.against_ours)
        reached = (
            f"not in {one.searched:.0f}"
            if one.as_good_after is None
            else f"{one.as_good_after:.0f}"
        )
        lines.append(
            f"| {one.seed} | {one.budget:.0f} ({one.seconds:.0f}) | {one.candidates} | {one.fitness:.3f} "
            f"| {_interval(one.against_reference)} | {ours} | {reached} |"
        )
    middle = statistics.median(one.fitness for one in outcomes)
    return "\n".join([*lines, f"| median | | | {middle:.3f} | | | |"])


def _interval(one: Estimate) -> str:
    return f"{one.value:+.3f} [{one.low:+.3f}, {one.high:+.3f}]"


def main() -> None:
    """Run what is missing and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--python", type=Path, required=True, help="a Python that has mergekit")
    parser.add_argument("--zoo", choices=list(ZOOS), default="demo")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=Path("search-efficiency"))
    parser.add_argument("--times", type=float, default=5)
    parser.add_argument("--engine", choices=["vllm", "hf"], default="vllm")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    peer = Peer(Bench(options.zoo, options.out, options.engine), options.python, options.times)
    print(table(options.zoo, [peer.outcome(seed) for seed in options.seeds]))


if __name__ == "__main__":
    main()
