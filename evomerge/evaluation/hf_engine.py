"""`HFEvaluator`: transformers, for models that vLLM cannot load; `engine.name: hf`, never silently.

One loaded model for a worker's life; a candidate's tensors are merged straight into its parameters.
Answers are lm-eval's own Hugging Face wrapper's.
"""

import gc
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from evomerge.errors import (
    EngineError,
    EvaluationError,
    EvomergeError,
    MergeError,
    OutOfMemoryError,
    UsageError,
)
from evomerge.evaluation.distributions import require_engine, versions
from evomerge.evaluation.hf_places import named_tensors
from evomerge.evaluation.models import model_folders
from evomerge.evaluation.suite import Answers, TaskSuite
from evomerge.fitness import Costs, EvaluationResult, Split
from evomerge.merging.merge import MergeSource, out_dtype
from evomerge.merging.offline import config_for
from evomerge.racing import RacePlan, layout_of
from evomerge.recipe import Recipe
from evomerge.spec import SearchSpec

BATCH_SIZE = 32


class HFEvaluator:
    """Loads the base model once; candidates are merged into it."""

    def __init__(self, spec: SearchSpec) -> None:
        require_engine("hf")
        self._dead: str | None = None
        folders = model_folders(spec)
        self.wrapper = _load(spec, folders[spec.base_model])
        self.model: torch.nn.Module = self.wrapper.model
        self._parameters = named_tensors(self.model)
        paths = {name: Path(folder) for name, folder in folders.items()}
        self._source = MergeSource(
            paths,
            device=self.wrapper.device,
            vocabulary_from=spec.base_model,
            models_on=spec.engine.models_on,
            rank_memory=spec.engine.rank_bytes,
        )
        self.suite = TaskSuite(spec.objective, HFModel(self.wrapper), layout_of(spec))

    def evaluate(
        self, recipe: Recipe, split: Split, race: RacePlan | None = None
    ) -> EvaluationResult:
        """Merge in place and score."""
        if self._dead is not None:
            raise EngineError(f"this engine is no longer usable: {self._dead}")
        start = time.perf_counter()
        self.apply(recipe)
        merge_seconds = time.perf_counter() - start
        try:
            result = self.suite.score(split, race)
        except EvomergeError:
            raise
        except Exception as error:  # transformers and lm-eval raise anything here
            raise _failure(error) from error
        found = result.costs
        costs = Costs(
            merge_seconds, 0.0, found.forward_seconds, found.overhead_seconds, found.tokens
        )
        return replace(result, costs=costs)

    def apply(self, recipe: Recipe) -> None:
        """Merge `recipe` into the model. Raises MergeError; EngineError where it is half updated."""
        try:
            plan = self._source.plan(recipe)
        except UsageError as error:
            raise MergeError(error.message, where=error.where, remedy=error.remedy) from error
        self._fit(recipe, {one.layout.name: one.layout.shape for one in plan})
        self._require_places([one.layout.name for one in plan if not one.layout.copy])
        try:
            if all(self._exact(recipe, one.layout) for one in plan):
                self._source.merge_into(recipe, self._parameters.get)
            else:
                self._copy(recipe)
        except MergeError:
            raise  # the next recipe overwrites every tensor
        except BaseException as error:
            self._dead = f"a merge broke off: {error!r}"
            raise EngineError(f"the model is half updated: {error}") from error

    def versions(self) -> dict[str, str]:
        """Libraries, device and dtype."""
        parameter = next(self.model.parameters())
        return versions() | {
            "engine": "hf",
            "device": parameter.device.type,
            "dtype": str(parameter.dtype).removeprefix("torch."),
        }

    def close(self) -> None:
        """Let go of the model."""
        self._dead = self._dead or "it was closed"
        self._source.close()
        self._parameters = {}
        for name in ("wrapper", "model", "suite"):
            self.__dict__.pop(name, None)
        gc.collect()

    def _fit(self, recipe: Recipe, shapes: dict[str, tuple[int, ...]]) -> None:
        """Make the model anew where the merge has other shapes: wider layers, fewer experts."""
        held = {name: tuple(x.shape) for name, x in self._parameters.items()}
        if all(held.get(name, shape) == shape for name, shape in shapes.items()):
            return
        import transformers

        parameter = next(self.model.parameters())
        own: Any = self.model.config
        config = type(own).from_dict(config_for(recipe, self._source))
        kept = parameter.dtype
        try:
            made = getattr(transformers, type(self.model).__name__)._from_config(config, dtype=kept)
        except Exception as error:  # transformers raises anything here
            raise MergeError(
                f"transformers makes no model of the merged shapes: {error}",
                remedy="search parameters that keep the models' widths",
            ) from error
        self.model = made.to(parameter.device).eval()
        self.wrapper._model = self.model
        self._parameters = named_tensors(self.model)

    def _exact(self, recipe: Recipe, layout: Any) -> bool:
        """Whether writing straight into the parameter rounds as a checkpoint would."""
        target = self._parameters.get(layout.name)
        return target is None or out_dtype(recipe, layout) in {torch.float32, target.dtype}

    def _copy(self, recipe: Recipe) -> None:
        with torch.no_grad():
            for name, tensor in self._source.merge(recipe):
                if name in self._parameters:
                    self._parameters[name].copy_(tensor)

    def _require_places(self, names: list[str]) -> None:
        lost = [name for name in names if name not in self._parameters]
        if lost:
            raise MergeError(
                f"transformers' model has no parameter {lost[0]!r}"
                + (f", nor {len(lost) - 1} more" if len(lost) > 1 else ""),
                remedy="use engine.name: vllm, or save the models again with this transformers",
            )


@dataclass(frozen=True)
class HFModel:
    """lm-eval's Hugging Face wrapper as the suite sees it."""

    wrapper: Any

    @property
    def tokenizer_name(self) -> str:
        return str(self.wrapper.tokenizer_name)

    def apply_chat_template(
        self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
    ) -> str:
        return str(self.wrapper.apply_chat_template(chat_history, add_generation_prompt))

    def plan(self, instances: Sequence[Any]) -> "HFPlan":
        return HFPlan(self.wrapper, tuple(instances))


@dataclass(frozen=True)
class HFPlan:
    """Instances in order; lm-eval's wrapper batches them by kind."""

    wrapper: Any
    instances: Sequence[Any]

    def run(self) -> Answers:
        """Ask the model everything, one call for each kind of request."""
        repeated = [one for one in self.instances for _ in range(one.repeats)]
        responses: list[Any] = [None] * len(repeated)
        start = time.perf_counter()
        for kind in dict.fromkeys(one.request_type for one in repeated):
            places = [i for i, one in enumerate(repeated) if one.request_type == kind]
            found = getattr(self.wrapper, kind)([repeated[i] for i in places], disable_tqdm=True)
            for place, response in zip(places, found, strict=True):
                responses[place] = response
        seconds = time.perf_counter() - start
        return Answers(responses, seconds, self._count_tokens(repeated, responses))

    def _count_tokens(self, instances: Sequence[Any], responses: Sequence[Any]) -> int:
        texts = [
            "".join(part for part in (*one.args, response) if isinstance(part, str))
            for one, response in zip(instances, responses, strict=True)
        ]
        return sum(len(tokens) for tokens in self.wrapper.tokenizer(texts)["input_ids"])


def _load(spec: SearchSpec, model: str) -> Any:
    try:
        from lm_eval.models.huggingface import HFLM

        logging.getLogger("lm_eval").setLevel(logging.ERROR)
        return HFLM(
            pretrained=model,
            dtype=spec.engine.dtype,
            device="cuda" if torch.cuda.is_available() else "cpu",
            batch_size=BATCH_SIZE,
            max_length=spec.engine.max_model_len,
            trust_remote_code=spec.engine.trust_remote_code,
            use_safetensors=True,
        )
    except Exception as error:
        raise EngineError(
            f"transformers cannot load the model: {type(error).__name__}: {error}", where=model
        ) from error


def _failure(error: Exception) -> EvomergeError:
    if isinstance(error, MemoryError | torch.cuda.OutOfMemoryError):
        return OutOfMemoryError(f"no memory while scoring: {error}", remedy="use a larger device")
    return EvaluationError(f"scoring failed: {type(error).__name__}: {error}")
