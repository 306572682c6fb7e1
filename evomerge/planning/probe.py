"""How fast this machine is at what a candidate costs: a second of measuring, at the model's own shapes.

Matrix products of one layer are timed for a few tokens and for many, as prompts and answers have
them: a straight line through both says what a step of any size costs. Copies are timed in memory.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from evomerge.planning.shape import Matrix, ModelShape

_FEW, _MANY = 16, 256
_WORK = 8e9
"""Operations at most in one timing: a layer of a large model is timed for fewer tokens."""
_COPY = 64 << 20
_REPEATS = 5


@dataclass(frozen=True)
class Speed:
    """step: seconds of one layer for a step with no token; token: for each more. head: of one token.

    flops: that `token` amounts to. bandwidth: bytes that a copy reads and writes per second.
    """

    step: float
    token: float
    head: float
    flops: float
    bandwidth: float


def measure_speed(shape: ModelShape, dtype: str, threads: int) -> Speed:
    """Measure this machine with so many threads, in the engine's dtype."""
    work = 2.0 * sum(a * b for a, b in shape.matrices)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.inference_mode():
            most = int(min(max(_WORK / work, 2 * _FEW), _MANY))
            few, many = (_layer_seconds(shape.matrices, dtype, n) for n in (_FEW, most))
            head = _layer_seconds([(shape.hidden, shape.vocabulary)], dtype, _FEW) / _FEW
            bandwidth = _bandwidth()
    finally:
        torch.set_num_threads(before)
    token = max(many - few, many / 10) / (most - _FEW)
    return Speed(max(few - _FEW * token, 0.0), token, head, work / token, bandwidth)


def _layer_seconds(matrices: Sequence[Matrix], dtype: str, tokens: int) -> float:
    """One after the other: never more than one matrix is in memory."""
    kind = getattr(torch, dtype)
    total = 0.0
    for rows, columns in matrices:
        weight = torch.zeros(columns, rows, dtype=kind).fill_(0.01)
        given = torch.full((tokens, rows), 0.5, dtype=kind)
        total += _best(lambda w=weight, x=given: torch.nn.functional.linear(x, w))  # type: ignore[misc]
    return total


def _bandwidth() -> float:
    source = torch.zeros(_COPY, dtype=torch.uint8).fill_(1)
    target = torch.zeros_like(source)
    return 2 * _COPY / _best(lambda: target.copy_(source))


def _best(work: Callable[[], object]) -> float:
    """The shortest of a few runs, in CPU time shared by the threads: others on the machine do not count."""
    work()
    times = []
    for _ in range(_REPEATS):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    # The clock may be too coarse for one small product.
    return max(min(times) / torch.get_num_threads(), 1e-9)
