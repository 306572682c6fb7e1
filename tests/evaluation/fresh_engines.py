"""Run as a script: for each case, a live merge and a fresh engine on the offline merge, as JSON.

One process starts all engines, one after the other, as a worker does after it threw one away.
"""

import json
import sys
from pathlib import Path

from evomerge.evaluation.self_test import canary, canary_prompts
from evomerge.evaluation.vllm_engine import VLLMEvaluator
from evomerge.merging.offline import merge_to_folder
from tests.evaluation import tiny
from tests.evaluation.conftest import make_spec, merge

CASES = (
    {"dtype": "float32", "tied": False},
    {"dtype": "float32", "tied": True},
    {"dtype": "bfloat16", "tied": True},
)


def run_case(folder: Path, tasks: Path, case: dict) -> dict:
    """Fingerprints and canary log-probabilities of both engines."""
    models = tiny.write_models(folder / "models", **case)
    recipe = merge(models, 0.7, 0.5, "dare_ties", seed=3)
    merge_to_folder(recipe, folder / "merged")
    engine = {"dtype": case["dtype"]}
    live = VLLMEvaluator(make_spec(models, tasks, ["letters"], engine=engine))
    prompts = canary_prompts(Path(models["base"]))
    base = live.fingerprint(), canary(live.wrapper, prompts)
    live.apply(recipe)
    merged = live.fingerprint(), canary(live.wrapper, prompts)
    live.close()
    fresh = VLLMEvaluator(
        make_spec(models | {"base": str(folder / "merged")}, tasks, ["letters"], engine=engine)
    )
    loaded = fresh.fingerprint(), canary(fresh.wrapper, prompts)
    fresh.close()
    return {"base": base, "live": merged, "fresh": loaded}


def main(folder: Path) -> None:
    tasks = tiny.write_tasks(folder / "tasks")
    found = [run_case(folder / str(number), tasks, case) for number, case in enumerate(CASES)]
    (folder / "found.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
