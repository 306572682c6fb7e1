"""`VLLMEvaluator`: one vLLM engine for a worker's life; candidates are merged into its parameters.

The engine is lm-eval's own vLLM wrapper with our worker extension, so that encoding, truncation and
generation arguments are lm-eval's. It runs inside this process, tensor-parallel ranks in children: in a
process of its own it would put requests into batches as they happen to arrive, and other batches round
otherwise (scores of one recipe then differ in the eighth digit from one time to the next).
"""

import gc
import json
import logging
import os
import time
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

from evomerge.errors import (
    EngineError,
    EvaluationError,
    EvomergeError,
    MergeError,
    OutOfMemoryError,
)
from evomerge.evaluation.depth import depth_arguments, engine_layers
from evomerge.evaluation.distributions import answer_for_vllm, require_engine, versions
from evomerge.evaluation.models import base_only, model_folders
from evomerge.evaluation.ranks import Ranks, starting
from evomerge.evaluation.suite import TaskSuite
from evomerge.fitness import Costs, EvaluationResult, Split
from evomerge.racing import RacePlan, layout_of
from evomerge.recipe import Recipe
from evomerge.spec import EngineSpec, SearchSpec

_log = logging.getLogger("evomerge.evaluation")


class VLLMEvaluator:
    """Starts the engine and the suite; both live until `close`."""

    def __init__(self, spec: SearchSpec) -> None:
        require_engine("vllm")
        self._spec = spec
        self._dead: str | None = None
        self._ranks: Ranks | None = None
        self._folders = model_folders(spec)
        self._layers = engine_layers(spec, self._folders[spec.base_model])
        self.wrapper = _start(spec.engine, self._folders[spec.base_model], self._layers)
        try:
            self._prepare()
        except BaseException:
            self.close()
            raise

    def _prepare(self) -> None:
        from evomerge.evaluation.self_test import check_engine
        from evomerge.evaluation.vllm_scoring import VLLMModel

        engine = self._spec.engine
        if engine.tensor_parallel_size > 1:
            self._ranks = Ranks([json.loads(answer) for answer in self._call_all("process")])
        given = json.dumps(self._folders), json.dumps(self._layers), engine.models_on
        self.dtype = str(self._call("open", *given, json.dumps(engine.rank_bytes)))
        check_engine(self, self._spec, self._folders)
        self._model = VLLMModel(self.wrapper, lambda: self._call("forward_seconds"))
        self.suite = TaskSuite(self._spec.objective, self._model, layout_of(self._spec))

    def evaluate(
        self, recipe: Recipe, split: Split, race: RacePlan | None = None
    ) -> EvaluationResult:
        """Merge in place, drop what depends on the old weights, score."""
        start = time.perf_counter()
        merge_seconds, load_seconds = self.apply(recipe)
        applied = time.perf_counter() - start
        result = self._score(split, race)
        overhead = result.costs.overhead_seconds + applied - merge_seconds - load_seconds
        costs = Costs(
            merge_seconds,
            load_seconds,
            result.costs.forward_seconds,
            overhead,
            result.costs.tokens,
        )
        return replace(result, costs=costs)

    def apply(self, recipe: Recipe) -> tuple[float, float]:
        """Merge `recipe` into the engine; seconds of merging and of loading.

        Raises MergeError where the recipe gives no weights: the next recipe overwrites every
        parameter, so the engine stays. After anything else it must be thrown away.
        """
        self._require_alive()
        try:
            answers = self._call_all("apply", recipe.canonical_json())
            if not self.wrapper.model.reset_prefix_cache():
                raise RuntimeError("the prefix cache was not reset: requests are still running")
        except BaseException as error:
            self._dead = f"a merge broke off: {error!r}"
            raise EngineError(
                f"the engine is half updated: {error}",
                where=f"recipe {recipe.recipe_id}",
                remedy="throw the engine away and start another one",
            ) from error
        # Every rank looks at what it owns: one of them may be the only one to find a number too large.
        reports = [json.loads(answer) for answer in answers]
        report = next((found for found in reports if "error" in found), reports[0])
        if "error" in report:
            raise MergeError(**report["error"])
        return float(report["merge_seconds"]), float(report["load_seconds"])

    def find_places(self, recipe: Recipe) -> int:
        """Merge straight into the engine's parameters from now on, if `recipe` is in it and fits."""
        return int(self._call("find_places", recipe.canonical_json()))

    def fingerprint(self) -> str:
        """SHA-256 of the engine's parameters, over all ranks."""
        return "-".join(self._call_all("fingerprint"))

    def versions(self) -> dict[str, str]:
        """Libraries, device and dtype: what a score depends on besides recipe and documents."""
        from vllm.platforms import current_platform

        return versions() | {
            "engine": "vllm",
            "device": str(current_platform.device_name),
            "dtype": self.dtype,
            "threads": os.environ.get("OMP_NUM_THREADS", "default"),
        }

    def close(self) -> None:
        """Stop the engine and its processes."""
        self._dead = self._dead or "it was closed"
        wrapper, self.wrapper = self.wrapper, None
        self.__dict__.pop("suite", None)
        self.__dict__.pop("_model", None)
        if wrapper is not None:
            wrapper.model.llm_engine.engine_core.shutdown()
            del wrapper
            gc.collect()
        if self._ranks is not None:
            self._ranks.end()

    def _score(self, split: Split, race: RacePlan | None) -> EvaluationResult:
        try:
            return self.suite.score(split, race)
        except EvomergeError:
            raise
        except Exception as error:  # vLLM and lm-eval raise anything here
            raise self._failure(error) from error

    def _failure(self, error: Exception) -> EvomergeError:
        """What a broken-off scoring means: an engine that still has requests, or died, is thrown away."""
        if self._is_unusable():
            self._dead = f"scoring broke off: {error!r}"
        if "out of memory" in str(error).lower() or isinstance(error, MemoryError):
            return OutOfMemoryError(
                f"no memory while scoring: {error}",
                remedy="lower engine.max_num_seqs or engine.gpu_memory_utilization",
            )
        problem = f"scoring failed: {type(error).__name__}: {error}"
        return EngineError(problem) if self._dead else EvaluationError(problem)

    def _is_unusable(self) -> bool:
        if self._ranks is not None and not self._ranks.are_alive:
            return True
        try:
            return bool(self.wrapper.model.llm_engine.has_unfinished_requests())
        except Exception:  # an engine that cannot even say so is gone
            return True

    def _call(self, method: str, *args: str) -> Any:
        """Call the extension in every rank; the first rank's answer."""
        return json.loads(self._call_all(method, *args)[0])

    def _call_all(self, method: str, *args: str) -> list[str]:
        def call() -> list[str]:
            found: list[str] = self.wrapper.model.collective_rpc(f"evomerge_{method}", args=args)
            return found

        return call() if self._ranks is None else self._ranks.call(call)

    def _require_alive(self) -> None:
        if self._dead is not None:
            raise EngineError(
                f"this engine is no longer usable: {self._dead}", remedy="start another one"
            )


def _start(engine: EngineSpec, model: str, layers: int | None = None) -> Any:
    """lm-eval's vLLM wrapper around a fresh engine. EngineError where it does not start."""
    answer_for_vllm()
    arguments = engine_arguments(engine)
    if layers is not None:
        arguments |= depth_arguments(model, layers, engine.trust_remote_code)
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    several = engine.tensor_parallel_size > 1
    if several:
        # On a CPU vLLM wants a NUMA node for each rank, unless it is told not to bind threads.
        os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")
    try:
        from lm_eval.models.vllm_causallms import VLLM

        logging.getLogger("lm_eval").setLevel(logging.ERROR)
        with starting() if several else nullcontext():
            return VLLM(pretrained=model, batch_size="auto", **arguments)
    except Exception as error:
        raise EngineError(
            f"vLLM cannot start: {type(error).__name__}: {error}",
            where=model,
            remedy="see the message; engine.name: hf is there for models vLLM cannot load",
        ) from error


def engine_arguments(engine: EngineSpec) -> dict[str, Any]:
    """What lm-eval's wrapper and vLLM are given; the same for the lm-eval CLI gives the same engine."""
    from vllm.platforms import current_platform

    from evomerge.evaluation.weights_extension import EXTENSION

    on_cpu = current_platform.is_cpu()
    eager = on_cpu if engine.enforce_eager is None else engine.enforce_eager
    arguments: dict[str, Any] = {
        "dtype": engine.dtype,
        "load_format": "safetensors",
        "max_num_seqs": engine.max_num_seqs,
        "tensor_parallel_size": engine.tensor_parallel_size,
        "enforce_eager": eager,
        "trust_remote_code": engine.trust_remote_code,
        "worker_extension_cls": EXTENSION,
        "disable_log_stats": True,
        "use_tqdm_on_load": False,
    }
    if engine.tensor_parallel_size > 1:
        # In a placement group of Ray's vLLM would make its ranks Ray actors, outside this worker.
        arguments["distributed_executor_backend"] = "mp"
    if engine.max_model_len is not None:
        arguments["max_model_len"] = engine.max_model_len
    if on_cpu:
        arguments["kv_cache_memory_bytes"] = int(engine.kv_cache_gib * (1 << 30))
    else:
        arguments["gpu_memory_utilization"] = engine.gpu_memory_utilization
    return arguments


__all__ = ["VLLMEvaluator", "base_only", "engine_arguments"]
