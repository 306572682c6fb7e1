"""The demo over several search seeds: does the search beat every trivial merge, and by how much?

    python -m benchmarks.demo_seeds --seeds 0 1 2 3 4 --out /tmp/demo-seeds

Each seed is one `evomerge demo` in a process of its own; finished ones are reused from --out. Prints the
table that docs/demo.md holds: test scores, all with the same zoo and the same documents.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any


def main() -> None:
    """Run what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--out", type=Path, default=Path("demo-seeds"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    print(table({seed: _result(options.out, seed) for seed in options.seeds}))


def _result(out: Path, seed: int) -> dict[str, Any]:
    file = out / f"{seed}.json"
    if not file.is_file():
        command = [sys.executable, "-m", "evomerge", "demo", "--seed", str(seed)]
        done = subprocess.run(
            [*command, "--out", str(out / str(seed)), "--format", "json"],
            stdout=subprocess.PIPE,
            check=True,
        )
        file.write_bytes(done.stdout)
    result: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return result


def table(results: dict[int, dict[str, Any]]) -> str:
    """Markdown: a row for each seed's winner, then the baselines, which all seeds share."""
    lines = [
        "| on test | score | ahead of the best trivial merge (95 %, paired) | seconds |",
        "|---|---|---|---|",
    ]
    for seed, result in results.items():
        best = max(result["baselines"], key=lambda row: row["fitness"]["value"])
        lead = best["lead"]
        lines.append(
            f"| **search, seed {seed}** | **{_interval(result['winner']['fitness'])}** "
            f"| {lead['value']:+.3f} [{lead['low']:+.3f}, {lead['high']:+.3f}] ({best['label']}) "
            f"| {result['search_seconds']:.0f} |"
        )
    first = next(iter(results.values()))
    ranked = sorted(first["baselines"], key=lambda row: -row["fitness"]["value"])
    lines += [f"| {row['label']} | {_interval(row['fitness'])} | | |" for row in ranked]
    return "\n".join(lines)


def _interval(figure: dict[str, float]) -> str:
    return f"{figure['value']:.3f} [{figure['low']:.3f}, {figure['high']:.3f}]"


if __name__ == "__main__":
    main()
