"""Run as a script: stacks of layers in one live engine, and in transformers from their exports, as JSON."""

import json
import sys
from pathlib import Path

import numpy as np

from evomerge.errors import MergeError
from evomerge.evaluation.self_test import canary, canary_prompts
from evomerge.evaluation.vllm_engine import VLLMEvaluator
from evomerge.fitness import Split
from evomerge.layout import read_index
from evomerge.merging.offline import merge_to_folder
from evomerge.recipe import Recipe
from evomerge.space import SearchSpace
from tests.evaluation import tiny
from tests.evaluation.conftest import make_spec, merge

SPACE = {"method": "passthrough", "layers": {"max_layers": 5}}
STACKS = {
    "fewer": (1, 0, 0, 1, 0, 0),
    "as many": (0, 1, 0, 0, 1, 0),
    "more": (1, 1, 0, 1, 0, 1),
    "all": (1, 1, 1, 1, 0, 1),
}


def log_probabilities(folder: Path, prompts: list[list[int]]) -> list[list[float]]:
    """Of each prompt token but the first, from transformers."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    tokens = torch.tensor(prompts)
    with torch.inference_mode():
        logits = model(tokens).logits[:, :-1].float().log_softmax(-1)
    found: list[list[float]] = logits.gather(-1, tokens[:, 1:, None])[..., 0].tolist()
    return found


def recipes(space: SearchSpace) -> dict[str, Recipe]:
    """The stacks above, each with factors of its own."""
    factors = np.random.default_rng(1).random(space.dimension - 6)
    return {name: space.decode(np.array([*on, *factors])) for name, on in STACKS.items()}


def main(folder: Path) -> None:
    models = tiny.write_models(folder / "models")
    tasks = tiny.write_tasks(folder / "tasks")
    spec = make_spec(models, tasks, ["letters"])
    spec = type(spec).model_validate({**spec.model_dump(), "space": SPACE})
    space = SearchSpace(
        spec.space_spec, spec.base_model, spec.models, read_index(Path(spec.base_model))
    )
    prompts = canary_prompts(Path(models["base"]))
    live = VLLMEvaluator(spec)
    base = live.fingerprint()
    found = {"views": live._call("find_places", space.decode(space.encode({})).canonical_json())}
    for name, recipe in recipes(space).items():
        merge_to_folder(recipe, folder / name)
        live.apply(recipe)
        found[name] = {
            "layers": read_index(folder / name).num_layers,
            "live": canary(live.wrapper, prompts),
            "exported": log_probabilities(folder / name, prompts),
        }
    live.apply(merge(models))
    found["a merge"] = {"score": live.evaluate(merge(models), Split.SEARCH).scores[0].value}
    live.apply(space.decode(space.encode({})))
    found["base again"] = live.fingerprint() == base
    try:
        live.apply(space.decode(space.encode({})).model_copy(update={"slices": too_deep(space)}))
    except MergeError as error:
        found["refused"] = str(error)
    (folder / "found.json").write_text(json.dumps(found))
    live.close()


def too_deep(space: SearchSpace) -> tuple:
    """Six layers."""
    slices = space.decode(space.encode({})).slices or ()
    return slices * 3


if __name__ == "__main__":
    main(Path(sys.argv[1]))
