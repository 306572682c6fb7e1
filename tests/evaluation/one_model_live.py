"""Run as a script: a search's engine answers as its base, then as one of its models, as JSON.

An engine that stops takes vLLM's groups of its process with it, so it does not share the one of the tests.
"""

import json
import sys
from pathlib import Path

from evomerge.evaluation.models import base_only, model_folders
from evomerge.evaluation.self_test import canary, canary_prompts
from evomerge.evaluation.vllm_engine import VLLMEvaluator
from evomerge.spec import SearchSpec


def main(folder: Path) -> None:
    spec = SearchSpec.model_validate_json((folder / "spec.json").read_text())
    prompts = canary_prompts(Path(model_folders(spec)[spec.base_model]))
    evaluator = VLLMEvaluator(spec)  # which tests itself with the first model
    found = {"base": canary(evaluator.wrapper, prompts)}
    evaluator.apply(base_only(spec.models[0]))
    found["model"] = canary(evaluator.wrapper, prompts)
    evaluator.close()
    (folder / "found.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
