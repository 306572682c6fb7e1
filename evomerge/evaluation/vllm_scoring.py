"""The engine as the task suite sees it: all requests of a split in one call.

Answers are those of lm-eval's own vLLM wrapper. Where it scores every choice by a prompt of its own,
choices of one token each are read off one request per context, which the prefix cache can serve too:
five times less work for multiple choice.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from lm_eval.models.utils import postprocess_generated_text
from vllm import SamplingParams

from evomerge.evaluation.requests import Encoder, Generated, Query, Scored, Windows
from evomerge.evaluation.suite import Answers
from evomerge.evaluation.vllm_feed import Feed

MAX_CHOICES = 128
"""Token ids that one vLLM request may ask log-probabilities for."""
Reader = Callable[[Sequence[Any]], Any]
"""From the outputs of all prompts to the answer of one instance."""


class VLLMModel:
    """Runs plans on the engine inside an lm-eval vLLM wrapper."""

    def __init__(self, wrapper: Any, forward_seconds: Callable[[], float | None]) -> None:
        self.wrapper = wrapper
        self.forward_seconds = forward_seconds
        self.tokenizer_name = wrapper.tokenizer_name

    def apply_chat_template(
        self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
    ) -> str:
        rendered: str = self.wrapper.apply_chat_template(chat_history, add_generation_prompt)
        return rendered

    def plan(self, instances: Sequence[Any]) -> "VLLMPlan":
        """Encode instances into as few prompts as answer them."""
        builder = _PlanBuilder(self.wrapper)
        queries = Encoder(self.wrapper).encode(instances)
        for instance, query in zip(instances, queries, strict=True):
            builder.note(instance, query)
        for instance, query in zip(instances, queries, strict=True):
            builder.add(instance, query)
        feed = Feed(self.wrapper.model, builder.prompts, builder.params)
        return VLLMPlan(self, feed, builder.readers)


@dataclass(frozen=True)
class VLLMPlan:
    """Prompts made ready, and how each instance's answer is read from their outputs."""

    model: VLLMModel
    feed: Feed
    readers: Sequence[Reader]

    def run(self) -> Answers:
        """Ask the engine everything in one call."""
        self.model.forward_seconds()
        start = time.perf_counter()
        outputs = self.feed.run()
        wall = time.perf_counter() - start
        forward = self.model.forward_seconds()
        tokens = sum(len(out.prompt_token_ids) + len(out.outputs[0].token_ids) for out in outputs)
        responses = [reader(outputs) for reader in self.readers]
        return Answers(responses, wall if forward is None else forward, tokens)


def read_continuation(
    logprobs: Sequence[Any], tokens: Sequence[int], start: int
) -> tuple[float, bool]:
    """Log-likelihood of `tokens[start:]`, and whether each was the likeliest, as lm-eval reads it."""
    total, greedy = 0.0, True
    for token, found in zip(tokens[start:], logprobs[start:], strict=True):
        own = found[token].logprob
        total += own
        greedy = greedy and own >= max(one.logprob for one in found.values())
    return total, greedy


@dataclass
class _Context:
    """One context and the continuations that documents ask for after it."""

    tokens: set[int] = field(default_factory=set)
    single: bool = True
    place: int | None = None


class _PlanBuilder:
    def __init__(self, wrapper: Any) -> None:
        self._wrapper = wrapper
        self._limit: int = wrapper.max_length - 1
        self._contexts: dict[Any, _Context] = defaultdict(_Context)
        self._shared: dict[Any, SamplingParams] = {}
        self.prompts: list[Sequence[int]] = []
        self.params: list[SamplingParams] = []
        self.readers: list[Reader] = []

    def note(self, instance: Any, query: Query) -> None:
        """First pass: which contexts are followed by single tokens alone."""
        if isinstance(query, Scored):
            context = self._contexts[self._key(instance, query)]
            context.tokens.update(query.continuation)
            context.single &= len(query.continuation) == 1 and len(context.tokens) <= MAX_CHOICES

    def add(self, instance: Any, query: Query) -> None:
        """Second pass: the prompts, and one reader for each repeat of the instance."""
        if isinstance(query, Generated):
            for repeat in range(instance.repeats):
                self.readers.append(self._generate(query, (instance.doc_id, repeat)))
            return
        if isinstance(query, Windows):
            parts = [self._score_prompt(part) for part in query.parts]
            reader: Reader = lambda outputs: sum(part(outputs)[0] for part in parts)  # noqa: E731
        elif self._contexts[self._key(instance, query)].single:
            reader = self._score_token(instance, query)
        else:
            reader = self._score_prompt(query)
        self.readers += [reader] * instance.repeats

    def _key(self, instance: Any, query: Scored) -> tuple[Any, ...]:
        return (instance.task_name, instance.doc_id, self._cut_context(query))

    def _cut_context(self, query: Scored) -> tuple[int, ...]:
        """The context after lm-eval's truncation from the left."""
        over = len(query.context) + len(query.continuation) - self._limit
        return query.context[over:] if over > 0 else query.context

    def _prompt(self, tokens: Sequence[int], params: SamplingParams) -> int:
        self.prompts.append(tokens)
        self.params.append(params)
        return len(self.prompts) - 1

    def _score_token(self, instance: Any, query: Scored) -> Reader:
        context = self._contexts[self._key(instance, query)]
        if context.place is None:
            tokens = tuple(sorted(context.tokens))
            context.place = self._prompt(self._cut_context(query), self._choice_params(tokens))
        place, token = context.place, query.continuation[0]

        def read(outputs: Sequence[Any]) -> tuple[float, bool]:
            output = outputs[place].outputs[0]
            return output.logprobs[0][token].logprob, output.token_ids[0] == token

        return read

    def _score_prompt(self, query: Scored) -> Reader:
        """As lm-eval's wrapper: log-probabilities of the whole prompt."""
        tokens = (query.context + query.continuation)[-self._limit :]
        start = len(tokens) - len(query.continuation)
        place = self._prompt(tokens, self._prompt_params())

        return lambda outputs: read_continuation(outputs[place].prompt_logprobs, tokens, start)

    def _generate(self, query: Generated, which: tuple[int, int]) -> Reader:
        place = self._prompt(query.context, self._generate_params(query, which))

        def read(outputs: Sequence[Any]) -> str:
            text = outputs[place].outputs[0].text
            answer: str = postprocess_generated_text(text, list(query.stop), None)
            return answer

        return read

    def _choice_params(self, tokens: tuple[int, ...]) -> SamplingParams:
        return self._params(
            tokens,
            lambda: SamplingParams(
                temperature=0, max_tokens=1, logprob_token_ids=list(tokens), detokenize=False
            ),
        )

    def _prompt_params(self) -> SamplingParams:
        return self._params(
            None,
            lambda: SamplingParams(
                temperature=0, prompt_logprobs=1, max_tokens=1, detokenize=False
            ),
        )

    def _generate_params(self, query: Generated, which: tuple[int, int]) -> SamplingParams:
        """Sampling, where a task asks for it, is seeded by document and repeat."""
        options = dict(query.options)
        if options.get("temperature"):
            options.setdefault("seed", which[0] * 1000 + which[1])
        key = (query.stop, query.max_tokens, str(sorted(options.items())))
        return self._params(
            key,
            lambda: SamplingParams(max_tokens=query.max_tokens, stop=list(query.stop), **options),
        )

    def _params(self, key: Any, make: Callable[[], SamplingParams]) -> SamplingParams:
        if key not in self._shared:
            self._shared[key] = make()
        return self._shared[key]
