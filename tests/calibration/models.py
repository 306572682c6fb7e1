"""Tiny models of several families, with a tokenizer of words."""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from evomerge.calibration.collect import DEFAULTS, Options, measure
from evomerge.calibration.loading import Loaded, load_model
from evomerge.calibration.sets import CalibrationSet, Example, make_set
from evomerge.calibration.store import Request, StatisticStore
from evomerge.merging.checkpoint import open_checkpoint
from tests.evaluation.tiny import WORDS, write_tokenizer

SIZES = {"vocab_size": 400, "max_position_embeddings": 128, "bos_token_id": 0, "eos_token_id": 1}


def llama(tied: bool = False) -> torch.nn.Module:
    """Two layers, four heads on two pairs of keys and values."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        **SIZES,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        initializer_range=0.3,
        tie_word_embeddings=tied,
    )
    return LlamaForCausalLM(config)


def qwen() -> torch.nn.Module:
    """With biases at q, k and v."""
    from transformers import Qwen2Config, Qwen2ForCausalLM

    config = Qwen2Config(
        **SIZES,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        initializer_range=0.3,
        tie_word_embeddings=False,
    )
    model = Qwen2ForCausalLM(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(0, 0.3)
    return model


def gpt2() -> torch.nn.Module:
    """Transposed weights, a tied head."""
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(
        vocab_size=400,
        n_positions=128,
        n_embd=16,
        n_layer=2,
        n_head=2,
        n_inner=24,
        initializer_range=0.3,
        bos_token_id=0,
        eos_token_id=1,
    )
    return GPT2LMHeadModel(config)


def mixtral(chosen: int = 2) -> torch.nn.Module:
    """Four experts, so many of them a token."""
    from transformers import MixtralConfig, MixtralForCausalLM

    config = MixtralConfig(
        **SIZES,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        num_local_experts=4,
        num_experts_per_tok=chosen,
        initializer_range=0.3,
    )
    return MixtralForCausalLM(config)


def classifier() -> torch.nn.Module:
    """An encoder with three classes."""
    from transformers import BertConfig, BertForSequenceClassification

    config = BertConfig(
        vocab_size=400,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=128,
        initializer_range=0.3,
        num_labels=3,
        pad_token_id=1,
    )
    return BertForSequenceClassification(config)


def save(make: Callable[[], torch.nn.Module], folder: Path, seed: int = 0) -> Path:
    """A model with random weights and its tokenizer."""
    torch.manual_seed(seed)
    make().save_pretrained(folder)
    write_tokenizer(folder)
    return folder


def load(folder: Path) -> Loaded:
    """As `evomerge calibrate` loads it."""
    checkpoint = open_checkpoint(folder)
    (architecture,) = checkpoint.index.config["architectures"]
    return load_model(folder, folder, checkpoint.tensors(), architecture=architecture)


def sentences(count: int, longest: int = 12) -> list[str]:
    """Different texts of different lengths."""
    return [
        " ".join(WORDS[(n * 7 + step * (n + 3)) % len(WORDS)] for step in range(2 + n % longest))
        + f" {n}"
        for n in range(count)
    ]


def texts(count: int = 8, **changes: int) -> CalibrationSet:
    """A set of sentences, every other one with a prompt, all with a class."""
    examples = [
        Example(text, prompt="red blue " if n % 2 else "", label=n % 3)
        for n, text in enumerate(sentences(count))
    ]
    return make_set(examples, {}, **{"examples": 100, "max_length": 64, **changes})


def measured(
    statistic: str,
    loaded: Loaded,
    given: CalibrationSet,
    root: Path,
    options: Options = DEFAULTS,
    examples: Sequence[Example] | None = None,
) -> tuple[dict[str, torch.Tensor], dict]:
    """Values and header of a statistic, through the store."""
    from safetensors.torch import load_file

    store = StatisticStore(root)
    request = Request(statistic, "model", "print", given.digest_of("model"))
    measure(request, loaded, examples or given.of("model"), given.max_length, store, options)
    values = {}
    for part in sorted(store.folder(request).glob("part-*.safetensors")):
        values |= load_file(part)
    return values, store.header(request)
