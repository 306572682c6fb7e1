"""What a worker proves before it scores anything: a merge reaches the engine, all of it, and back.

A change of weights that an engine ignores (packed layers, a stale tied head, an aliased buffer) gives
no error, only wrong scores. So at every start the first expert is merged in and the engine's
log-probabilities are held against transformers', then the base is merged in again and must give the
same bits as before.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import torch

from evomerge.errors import EngineError
from evomerge.evaluation.models import base_only
from evomerge.layout import read_index
from evomerge.merging.checkpoint import Checkpoint
from evomerge.merging.merge import MergeSource
from evomerge.recipe import Recipe
from evomerge.spec import SearchSpec

TOLERANCE = {"float32": 2e-3, "float16": 0.1, "bfloat16": 0.5}
"""Largest difference of a log-probability between two kernels that compute the same, in nats."""
LARGEST_REFERENCE = 2_000_000_000
"""Parameters up to which transformers is asked as well; above, it would cost minutes and memory."""
PROMPTS, PROMPT_LENGTH = 3, 12

_log = logging.getLogger("evomerge.evaluation")


class Engine(Protocol):
    """What the test needs of an evaluator."""

    wrapper: Any
    dtype: str

    def apply(self, recipe: Recipe) -> tuple[float, float]: ...
    def find_places(self, recipe: Recipe) -> int: ...
    def fingerprint(self) -> str: ...


def check_engine(engine: Engine, spec: SearchSpec, folders: dict[str, str]) -> None:
    """Raise EngineError unless merges reach the engine; leaves the base in it."""
    base, expert = base_only(spec.base_model), base_only(spec.models[0])
    prompts = canary_prompts(Path(folders[spec.base_model]))
    if spec.space_spec.layers is not None:
        engine.apply(base)  # an engine with room for more layers starts with random weights
    started = engine.fingerprint()
    engine.apply(base)
    _require(engine.fingerprint() == started, "the base merged in is not the base that was loaded")
    found = engine.find_places(base)
    _log.info("merging into %s", f"{found} views" if found else "vLLM's weight loader")
    before = canary(engine.wrapper, prompts)
    engine.apply(expert)
    with_expert = canary(engine.wrapper, prompts)
    same = engine.fingerprint() == started
    _require(same or with_expert != before, "an expert merged in changes no answer")
    if read_index(Path(folders[spec.base_model])).num_parameters <= LARGEST_REFERENCE:
        _compare(engine, with_expert, reference(spec, folders, engine.dtype, prompts))
    engine.apply(base)
    _require(engine.fingerprint() == started, "going back to the base left other weights behind")
    _require(canary(engine.wrapper, prompts) == before, "the base answers otherwise than before")


def canary_prompts(model: Path) -> list[list[int]]:
    """A few fixed prompts of token ids that every vocabulary has."""
    size = int(read_index(model).config.get("vocab_size", 256))
    return [
        [(7 + 31 * place + 101 * which) % size for place in range(PROMPT_LENGTH)]
        for which in range(PROMPTS)
    ]


def canary(wrapper: Any, prompts: Sequence[Sequence[int]]) -> list[list[float]]:
    """The engine's log-probability of each prompt token but the first."""
    from vllm import SamplingParams, TokensPrompt

    params = SamplingParams(temperature=0, max_tokens=1, prompt_logprobs=0, detokenize=False)
    inputs = [TokensPrompt(prompt_token_ids=list(prompt)) for prompt in prompts]
    outputs = wrapper.model.generate(inputs, sampling_params=params, use_tqdm=False)
    return [
        [found[token].logprob for token, found in pairs if found is not None]
        for output, prompt in zip(outputs, prompts, strict=True)
        for pairs in [list(zip(prompt, output.prompt_logprobs, strict=True))]
    ]


def reference(
    spec: SearchSpec, folders: dict[str, str], dtype: str, prompts: Sequence[Sequence[int]]
) -> list[list[float]]:
    """The same from transformers, for the first expert.

    One that lies in no folder as it is (with an adapter, with another vocabulary than the engine)
    is merged tensor by tensor first.
    """
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    loaded = _load_expert(spec, folders, getattr(torch, dtype)).eval()
    with torch.inference_mode():
        logits = loaded(torch.tensor(prompts)).logits[:, :-1].float()
    targets = torch.tensor(prompts)[:, 1:, None]
    found: list[list[float]] = logits.log_softmax(-1).gather(-1, targets)[..., 0].tolist()
    return found


def _load_expert(spec: SearchSpec, folders: dict[str, str], dtype: torch.dtype) -> Any:
    from transformers import AutoConfig, AutoModelForCausalLM

    paths = {name: Path(folder) for name, folder in folders.items()}
    recipe = base_only(spec.models[0])
    with MergeSource(paths, vocabulary_from=spec.base_model) as source:
        expert = source.aligned(recipe).checkpoints[spec.models[0]]
        if type(expert) is Checkpoint:
            return AutoModelForCausalLM.from_pretrained(
                expert.path, dtype=dtype, use_safetensors=True
            )
        weights = dict(source.merge(recipe))
    config = AutoConfig.from_pretrained(folders[spec.base_model])
    with torch.device("meta"):
        architecture = type(AutoModelForCausalLM.from_config(config))
    return architecture.from_pretrained(None, config=config, state_dict=weights, dtype=dtype)


def _compare(engine: Engine, ours: list[list[float]], theirs: list[list[float]]) -> None:
    worst = float((torch.tensor(ours) - torch.tensor(theirs)).abs().max())
    _require(
        worst <= TOLERANCE.get(engine.dtype, 0.5),
        f"with an expert merged in, log-probabilities are {worst:.3g} away from transformers'",
    )


def _require(condition: bool, problem: str) -> None:
    if not condition:
        raise EngineError(
            f"self-test failed: {problem}",
            where="engine",
            remedy="this vLLM build does not take weights in place; use engine.name: hf and report it",
        )
