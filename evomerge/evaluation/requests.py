"""lm-eval's requests as token ids: encoded as lm-eval encodes them, in one batch, once.

Splitting context and continuation is lm-eval's own code (`TemplateLM._encode_pair`); only the
tokenizer behind it is asked for all strings at once.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Scored:
    """Score `continuation` after `context`, both token ids; the context is never empty."""

    context: tuple[int, ...]
    continuation: tuple[int, ...]


@dataclass(frozen=True)
class Windows:
    """Score a whole text, window by window, and add up (rolling log-likelihood)."""

    parts: tuple[Scored, ...]


@dataclass(frozen=True)
class Generated:
    """Go on from `context` until one of `stop` or `max_tokens`; `options` are lm-eval's others."""

    context: tuple[int, ...]
    stop: tuple[str, ...]
    max_tokens: int
    options: tuple[tuple[str, Any], ...]


Query = Scored | Windows | Generated


class Encoder:
    """Turns lm-eval instances into queries, for one lm-eval model wrapper."""

    def __init__(self, wrapper: Any) -> None:
        self._wrapper = wrapper

    def encode(self, instances: Sequence[Any]) -> list[Query]:
        """One query for each instance, in order."""
        recorder = _Recorder(self._wrapper)
        for instance in instances:
            self._one(instance, recorder)
        memo = recorder.encode_all()
        return [self._one(instance, memo) for instance in instances]

    def _one(self, instance: Any, encoder: "_Recorder | _Memo") -> Query:
        if instance.request_type == "generate_until":
            return self._generated(instance.args, encoder)
        if instance.request_type == "loglikelihood_rolling":
            return self._windows(instance.args[0], encoder)
        context, continuation = instance.args
        return self._scored(context, continuation, encoder)

    def _scored(self, context: str, continuation: str, encoder: Any) -> Scored:
        from lm_eval.api.model import TemplateLM

        if context:
            return _as_scored(*TemplateLM._encode_pair(encoder, context, continuation))
        tokens = encoder.tok_encode(continuation, add_special_tokens=False)
        prefix = self._wrapper.prefix_token_id
        if not tokens or tokens[0] != prefix:
            return _as_scored([prefix], tokens)
        return _as_scored(tokens[:1], tokens[1:])

    def _windows(self, text: str, encoder: Any) -> Windows:
        from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

        windows = get_rolling_token_windows(
            token_list=encoder.tok_encode(text),
            prefix_token=self._wrapper.prefix_token_id,
            max_seq_len=self._wrapper.max_length - 2,
            context_len=1,
        )
        return Windows(tuple(_as_scored(*make_disjoint_window(window)) for window in windows))

    def _generated(self, args: tuple[str, dict[str, Any]], encoder: Any) -> Generated:
        from lm_eval.models.utils import maybe_truncate

        context, gen_kwargs = args
        options, stop, most = self._wrapper_kwargs(gen_kwargs)
        tokens, most = maybe_truncate(
            encoder.tok_encode(context),
            max_gen_toks=most,
            max_model_len=self._wrapper.max_length,
            side="left",
            verbose=False,
        )
        return Generated(tuple(tokens), tuple(stop), most, tuple(sorted(options.items())))

    def _wrapper_kwargs(self, gen_kwargs: dict[str, Any]) -> tuple[dict[str, Any], list[str], int]:
        found: tuple[dict[str, Any], list[str], int] = self._wrapper.modify_gen_kwargs(
            gen_kwargs, eos=_eos(self._wrapper), default_max_gen_toks=self._wrapper.max_gen_toks
        )
        return found


def _eos(wrapper: Any) -> str | None:
    eos: str = wrapper.tokenizer.decode(wrapper.eot_token_id)
    return eos or getattr(wrapper.tokenizer, "eos_token", None)


def _as_scored(context: Sequence[int], continuation: Sequence[int]) -> Scored:
    return Scored(tuple(context), tuple(continuation))


class _Recorder:
    """Stands in for the wrapper on a first pass, and notes what would be encoded."""

    backend = "causal"

    def __init__(self, wrapper: Any) -> None:
        self._encode: Callable[..., list[list[int]]] = wrapper.tok_encode
        self._wanted: dict[bool | None, dict[str, None]] = {}

    def tok_encode(self, string: str, add_special_tokens: bool | None = None) -> list[int]:
        self._wanted.setdefault(add_special_tokens, {})[string] = None
        return []

    def encode_all(self) -> "_Memo":
        """Encode everything noted, each string once."""
        known: dict[tuple[str, bool | None], list[int]] = {}
        for special, strings in self._wanted.items():
            listed = [string for string in strings if string]
            encoded = self._encode(listed, add_special_tokens=special) if listed else []
            known.update(zip(((one, special) for one in listed), encoded, strict=True))
        return _Memo(known)


class _Memo:
    """Stands in for the wrapper on the second pass."""

    backend = "causal"

    def __init__(self, known: dict[tuple[str, bool | None], list[int]]) -> None:
        self._known = known

    def tok_encode(self, string: str, add_special_tokens: bool | None = None) -> list[int]:
        return self._known[string, add_special_tokens] if string else []
