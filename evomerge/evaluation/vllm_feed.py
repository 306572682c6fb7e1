"""Requests made ready for vLLM once, and run again and again.

`LLM.generate` renders, checks and deep-copies every request anew: a fifth of a millisecond each, for
requests that never change during a search. Here vLLM's own input processor does it once; a run hands
copies to the engine. A vLLM whose internals look otherwise gets plain `LLM.generate`.
"""

import copy
import logging
from collections.abc import Sequence
from typing import Any

from vllm import SamplingParams, TokensPrompt
from vllm.sampling_params import RequestOutputKind

_log = logging.getLogger("evomerge.evaluation")


class Feed:
    """A fixed list of prompts for one engine.

    Args:
        llm: vLLM's `LLM`.
        prompts: token ids, one list each.
        params: as many as prompts; may be shared.
    """

    def __init__(
        self, llm: Any, prompts: Sequence[Sequence[int]], params: Sequence[SamplingParams]
    ) -> None:
        self._llm = llm
        self._prompts = [TokensPrompt(prompt_token_ids=list(tokens)) for tokens in prompts]
        self._params = list(params)
        for one in self._params:
            one.output_kind = RequestOutputKind.FINAL_ONLY
        self._ready = self._prepare()
        self._runs = 0

    def run(self) -> list[Any]:
        """Finished outputs in the order of the prompts."""
        if self._ready is None:
            found: list[Any] = self._llm.generate(
                self._prompts, sampling_params=self._params, use_tqdm=False
            )
            return found
        engine = self._llm.llm_engine
        self._runs += 1
        for number, request in enumerate(self._ready):
            again = copy.copy(request)
            again.external_req_id = str(number)
            again.request_id = f"{number}-{self._runs}-{id(self)}"
            engine.output_processor.add_request(again, None, None, 0)
            engine.engine_core.add_request(again)
        outputs: list[Any] = [None] * len(self._ready)
        while engine.has_unfinished_requests():
            for output in engine.step():
                outputs[int(output.request_id)] = output
        return outputs

    def _prepare(self) -> list[Any] | None:
        engine = self._llm.llm_engine
        try:
            tasks = engine.get_supported_tasks()
            return [
                engine.input_processor.process_inputs(
                    "0", self._llm._preprocess_cmpl_one(prompt, None), one, supported_tasks=tasks
                )
                for prompt, one in zip(self._prompts, self._params, strict=True)
            ]
        except (AttributeError, TypeError) as error:
            _log.warning("this vLLM takes requests in another way (%s): scoring is slower", error)
            return None
