"""Run as a script: two ranks of a tensor-parallel engine merge what each of them owns, as JSON.

The same recipe goes into the engine once through places and once through vLLM's own loader, which takes
whole tensors and gives each rank its part.
"""

import json
import sys
from pathlib import Path

from evomerge.evaluation.self_test import canary, canary_prompts
from evomerge.evaluation.vllm_engine import VLLMEvaluator
from evomerge.fitness import Split
from tests.evaluation import tiny
from tests.evaluation.conftest import make_spec, merge


def main(folder: Path) -> None:
    models = tiny.write_models(folder / "models")
    tasks = tiny.write_tasks(folder / "tasks")
    spec = make_spec(models, tasks, ["letters"], engine={"tensor_parallel_size": 2})
    live = VLLMEvaluator(spec)  # which applies the base, and looks for places
    prompts = canary_prompts(Path(models["base"]))
    recipe, base = merge(models, method="della", seed=3), live.fingerprint()
    live.apply(unchanged(models))
    given = unchanged(models).canonical_json()
    places = [json.loads(found) for found in live._call_all("find_places", given)]
    live.apply(recipe)
    found = {
        "places": places,
        "in place": live.fingerprint(),
        "canary": canary(live.wrapper, prompts),
    }
    found["scores"] = [str(live.evaluate(recipe, Split.SEARCH).scores) for _ in range(4)]
    live.apply(unchanged(models))
    found["base again"] = live.fingerprint() == base
    live._call_all("forget_places")
    live.apply(recipe)
    found["loaded"] = live.fingerprint()
    live.close()
    one = VLLMEvaluator(make_spec(models, tasks, ["letters"]))
    one.apply(recipe)
    found["one rank"] = canary(one.wrapper, prompts)
    one.close()
    (folder / "found.json").write_text(json.dumps(found))


def unchanged(models):
    """The base itself."""
    return merge(models, 0.0, 0.0, method="task_arithmetic")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
