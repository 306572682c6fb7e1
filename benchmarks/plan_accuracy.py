"""What `evomerge plan` predicts, beside real searches on this machine: memory, seconds, disk.

Each case is a search in a process of its own, with a real vLLM engine, in which every candidate answers
every document (no races: a plan is about full candidates). Memory is the process's peak of anonymous
and shared-memory pages, watched from outside; mapped model files are not counted, as they are given
back when memory is short. Seconds are the CPU seconds of an evaluation, the median over all on the
search split: with one thread, what an idle machine would take. The whole search is all CPU seconds of its
process, from its start to its last result: baselines, finals, and one start of an engine among them. Disk
is the store's, and the exported winner's folder. The plan is made before the search starts, from headers
and task files.

Constants of `evomerge.planning.predict` were chosen by the cases marked `fitted`; the others had no
part in it.

    python -m benchmarks.plan_accuracy [--case demo --case medium] [--json FILE]
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
os.environ.setdefault("OMP_NUM_THREADS", "1")
WITHIN = 0.30
UNITS = {"memory": 1e6, "seconds": 1.0, "whole": 1.0, "disk": 1e3, "exported": 1e6}
CANDIDATES = 6


@dataclass(frozen=True)
class Case:
    """A search: on a zoo by name, or on random Llamas of a size.

    limit: documents of a task and split, as finals on whole splits would take most of the time.
    fitted: constants are from it.
    """

    name: str
    zoo: str | None = None
    hidden: int = 0
    layers: int = 0
    dtype: str = "float32"
    method: str = "task_arithmetic"
    limit: int = 100
    fitted: bool = False


CASES = (
    Case("demo", zoo="demo", fitted=True),
    Case("many", zoo="many"),
    Case("small", hidden=384, layers=6, method="ties"),
    Case("medium", hidden=768, layers=8, fitted=True),
    Case("large", hidden=1280, layers=8, method="ties", limit=10),
)


def search_file(case: Case, folder: Path) -> Path:
    """The search of a case, written into `folder`, with its models."""
    if case.zoo is not None:
        return _of_zoo(case, folder)
    from tests.evaluation import tiny

    models = tiny.write_models(
        folder / "models", hidden=case.hidden, layers=case.layers, dtype=case.dtype
    )
    tasks = tiny.write_tasks(folder / "tasks")
    content = {
        "name": case.name,
        "base_model": models["base"],
        "models": [models["one"], models["two"]],
        "space": {"method": case.method, "weight": {"range": [0.1, 1.0], "per": ["model"]}},
        "objective": {
            "include_path": str(tasks),
            "tasks": [{"task": name} for name in ("letters", "words", "say")],
        },
        "engine": {"dtype": case.dtype, "max_model_len": 256},
    }
    return _write(case, content, folder / "search.yml")


def _of_zoo(case: Case, folder: Path) -> Path:
    from ruamel.yaml import YAML

    from evomerge.zoo import build_zoo
    from evomerge.zoo.named import ZOOS

    zoo = build_zoo(config=ZOOS[str(case.zoo)])
    content = dict(YAML(typ="safe").load(zoo.search_file))
    return _write(case, content, folder / "search.yml")


def _write(case: Case, content: dict[str, Any], file: Path) -> Path:
    from ruamel.yaml import YAML

    content["objective"] = {**content["objective"], "limit": case.limit}
    content["racing"] = {"enabled": False}
    content["budget"] = {"candidates": CANDIDATES}
    content["strategy"] = {"name": "random", "seed": 1}
    with file.open("w", encoding="utf-8") as stream:
        YAML().dump(content, stream)
    return file


def run_search(file: Path, store: Path) -> tuple[float, dict[str, Any]]:
    """Peak bytes of a search in a process of its own, and what it and each of its candidates cost."""
    costs = file.parent / "costs.json"
    module = [sys.executable, "-m", "benchmarks.plan_accuracy"]
    with (file.parent / "log").open("w") as log:
        command = [*module, "--child", str(file), str(store), str(costs)]
        child = subprocess.Popen(command, stdout=log, stderr=log, cwd=ROOT)
        peak = 0.0
        while child.poll() is None:
            peak = max(peak, anonymous(child.pid))
            time.sleep(0.1)
    if child.returncode:
        raise SystemExit((file.parent / "log").read_text()[-2000:])
    return peak, dict(json.loads(costs.read_text()))


def search_in_child(file: str, store: str, out: str) -> int:
    """Run the search as its command does, noting the CPU seconds of every evaluation."""
    from evomerge.cli.exits import run
    from evomerge.evaluation import vllm_engine
    from evomerge.fitness import EvaluationResult, Split

    costs: list[dict[str, float]] = []
    evaluate = vllm_engine.VLLMEvaluator.evaluate

    def timed(self: Any, recipe: Any, split: Split, race: Any = None) -> EvaluationResult:
        start, wall = time.process_time(), time.perf_counter()
        result = evaluate(self, recipe, split, race)
        spent = {"cpu": time.process_time() - start, "wall": time.perf_counter() - wall}
        if split is Split.SEARCH:
            named = {"merge": result.costs.merge_seconds, "tokens": float(result.costs.tokens)}
            costs.append(
                {
                    **spent,
                    **named,
                    "forward": result.costs.forward_seconds,
                    "overhead": result.costs.overhead_seconds,
                }
            )
        return result

    vllm_engine.VLLMEvaluator.evaluate = timed  # type: ignore[method-assign]
    code = run(["run", file, "--inline", "--store", store, "--search-id", "planned"])
    Path(out).write_text(json.dumps({"whole": time.process_time(), "candidates": costs}))
    return code or run(["export", "planned", f"{out}.merged", "--store", store])


def anonymous(pid: int) -> float:
    """Bytes of a process that no file stands behind; 0 when it is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    found = dict(line.split(":", 1) for line in status.splitlines())
    kib = [found.get(name, "0 kB").split()[0] for name in ("RssAnon", "RssShmem")]
    return 1024.0 * sum(map(int, kib))


def row_of(case: Case, folder: Path) -> dict[str, Any]:
    """Predictions and measurements of one case."""
    from evomerge.planning import make_plan
    from evomerge.spec import load_spec

    file, store = search_file(case, folder), folder / "store.db"
    found = make_plan(load_spec(file))
    peak, spent = run_search(file, store)
    costs = spent["candidates"]
    disk = sum(part.stat().st_size for part in folder.glob("store.db*"))
    exported = sum(part.stat().st_size for part in (folder / "costs.json.merged").iterdir())
    seconds = statistics.median(one["cpu"] for one in costs)
    return {
        "case": case.name,
        "fitted": case.fitted,
        "parameters": found.parameters,
        "memory": [found.memory.own, peak],
        "seconds": [found.seconds.total, seconds],
        "whole": [3600 * found.worker_hours, spent["whole"]],
        "exported": [found.disk.exported, float(exported)],
        "tokens": [found.workload.read + found.workload.written, costs[-1]["tokens"]],
        "disk": [found.disk.store, float(disk)],
        "wall": statistics.median(one["wall"] for one in costs),
        "parts": vars(found.seconds),
        "costs": costs,
    }


def show(row: dict[str, Any]) -> bool:
    """One row of the table; whether all predictions are near enough."""
    near = True
    cells = [f"{row['case']:8} {row['parameters'] / 1e6:7.1f} M"]
    for name, unit in UNITS.items():
        predicted, measured = (value / unit for value in row[name])
        off = predicted / measured - 1
        near = near and abs(off) <= WITHIN
        cells.append(f"{name} {predicted:8.3g} / {measured:8.3g} ({off:+.0%})")
    marks = f"{' fitted' if row['fitted'] else ''}{'' if near else '  NOT WITHIN'}"
    print("  ".join(cells) + marks, flush=True)
    return near


def main() -> None:
    """Every case, its row, and whether all predictions are near enough."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--case", action="append", choices=[case.name for case in CASES])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        raise SystemExit(search_in_child(*args.child))
    print(
        "predicted / measured: memory in MB, CPU seconds of a candidate and of the whole search, "
        "the store in kB, the exported winner in MB",
        flush=True,
    )
    rows, near = [], True
    for case in CASES:
        if args.case is None or case.name in args.case:
            with tempfile.TemporaryDirectory() as folder:
                rows.append(row_of(case, Path(folder)))
            near = show(rows[-1]) and near
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1))
    print(f"load of the machine at the end: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    raise SystemExit(0 if near else 1)


if __name__ == "__main__":
    main()
