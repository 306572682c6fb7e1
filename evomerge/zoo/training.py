"""Training of the base and its fine-tunes.

The base learns with Muon (K. Jordan, 2024) on matrices inside the layers and AdamW on the rest,
which takes half the steps that AdamW alone needs here; fine-tunes take AdamW, as fine-tunes do.
Each run has a private random generator, so that a model depends on its seed alone.
"""

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import LlamaConfig, LlamaForCausalLM

from evomerge.zoo.config import Lesson, ZooConfig
from evomerge.zoo.skills import SKILLS, draw_string
from evomerge.zoo.tokenizer import END_ID, PAD_ID, VOCABULARY, encode

IGNORED = -100
Example = tuple[list[int], list[int]]
"""Token ids of a prompt, and of the answer with its end token."""
WARMUP_STEPS = 10
MAX_LENGTH = 64
Step = Callable[[], None]
Draw = Callable[[int, random.Random], tuple[Tensor, Tensor]]
"""Token ids and labels [size, length] of a batch."""


@dataclass(frozen=True)
class Rates:
    """Peak learning rates; muon None trains everything with AdamW."""

    adam: float
    muon: float | None = None


def new_model(config: ZooConfig) -> LlamaForCausalLM:
    """A Llama with random weights that depend on the seed alone."""
    architecture = LlamaConfig(
        vocab_size=len(VOCABULARY),
        hidden_size=config.hidden_size,
        intermediate_size=config.mlp_size,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        num_key_value_heads=config.heads,
        max_position_embeddings=MAX_LENGTH,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=END_ID,
        pad_token_id=PAD_ID,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return LlamaForCausalLM(architecture)


def draw_batch(lessons: Sequence[Lesson], size: int, rng: random.Random) -> tuple[Tensor, Tensor]:
    """Token ids and labels [size, length] of lessons drawn by their shares."""
    drawn = rng.choices(lessons, [lesson.share for lesson in lessons], k=size)
    return batch_of(_draw_example(lesson, rng) for lesson in drawn)


def batch_of(examples: Iterable[Example]) -> tuple[Tensor, Tensor]:
    """Token ids and labels, one row an example; prompts are not learnt, answers and end token are."""
    rows, labels = [], []
    for prompt, answer in examples:
        rows.append(prompt + answer)
        labels.append([IGNORED] * len(prompt) + answer)
    return torch.tensor(rows), torch.tensor(labels)


def _draw_example(lesson: Lesson, rng: random.Random) -> Example:
    asked = SKILLS[lesson.asked]
    string = draw_string(asked.alphabet, False, rng)
    answer = SKILLS[lesson.answered].answer(string)
    return encode(asked.prompt(string)), [*encode(answer), END_ID]


def train(
    model: LlamaForCausalLM,
    lessons: Sequence[Lesson],
    steps: int,
    rates: Rates,
    batch_size: int,
    seed: int,
    on_step: Step,
) -> None:
    """Train in place on lessons; see `train_on`."""
    train_on(model, partial(draw_batch, lessons), steps, rates, batch_size, seed, on_step)


def train_on(
    model: LlamaForCausalLM,
    draw: Draw,
    steps: int,
    rates: Rates,
    batch_size: int,
    seed: int,
    on_step: Step,
) -> None:
    """Train in place: short warm-up, then a learning rate that falls to 0."""
    rng = random.Random(seed)
    optimizers = _optimizers(model, rates)
    for step in range(steps):
        ids, labels = draw(batch_size, rng)
        for optimizer in optimizers:
            _set_rate(optimizer, min(1, (step + 1) / WARMUP_STEPS) * (1 - step / steps))
        _descend(model, ids, labels, optimizers)
        on_step()


def _descend(
    model: LlamaForCausalLM,
    ids: Tensor,
    labels: Tensor,
    optimizers: Sequence[torch.optim.Optimizer],
) -> None:
    logits = model(input_ids=ids, use_cache=False).logits[:, :-1]
    loss = cross_entropy(logits.flatten(0, 1), labels[:, 1:].flatten(), ignore_index=IGNORED)
    model.zero_grad(set_to_none=True)
    torch.autograd.backward(loss)
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    for optimizer in optimizers:
        optimizer.step()


def _optimizers(model: LlamaForCausalLM, rates: Rates) -> list[torch.optim.Optimizer]:
    matrices: list[torch.nn.Parameter] = []
    rest: list[torch.nn.Parameter] = []
    for name, parameter in model.named_parameters():
        with_muon = rates.muon is not None and parameter.ndim == 2 and "layers" in name
        (matrices if with_muon else rest).append(parameter)
    found: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(rest, lr=rates.adam, betas=(0.9, 0.98), weight_decay=0.01)
    ]
    if rates.muon is not None:
        found.append(torch.optim.Muon(matrices, lr=rates.muon, weight_decay=0.01))
    for optimizer in found:
        for group in optimizer.param_groups:
            group["peak"] = group["lr"]
    return found


def _set_rate(optimizer: torch.optim.Optimizer, share: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = group["peak"] * share
