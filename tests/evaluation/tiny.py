"""Tiny Llama checkpoints, a tokenizer and lm-eval tasks, made in seconds and without a network."""

import json
import random
from pathlib import Path

_TEXT = "red blue green round square apple pear stone river cloud seven eight nine ten"
WORDS = _TEXT.split()
LETTERS = "ABCD"


def write_tokenizer(folder: Path) -> int:
    """A byte-level BPE tokenizer in which ` A` … ` D` are single tokens; returns its size."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    lines = [
        f"Question: {' '.join(WORDS[i:])} Answer: {letter}" for i in range(10) for letter in LETTERS
    ]
    tokenizer.train_from_iterator(lines * 5, trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>")
    fast.save_pretrained(folder)
    return len(fast)


def write_models(
    folder: Path, *, dtype: str = "float32", tied: bool = False, hidden: int = 128, layers: int = 2
) -> dict[str, str]:
    """`base`, `one` and `two`: random weights, the experts a step away from the base."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    paths = {name: folder / name for name in ("base", "one", "two")}
    size = write_tokenizer(paths["base"])
    config = LlamaConfig(
        vocab_size=size,
        hidden_size=hidden,
        intermediate_size=hidden * 3 // 2,
        num_hidden_layers=layers,
        num_attention_heads=hidden // 32,
        num_key_value_heads=hidden // 64,
        max_position_embeddings=512,
        initializer_range=0.09,
        tie_word_embeddings=tied,
        bos_token_id=0,
        eos_token_id=1,
    )
    torch.manual_seed(1)
    model = LlamaForCausalLM(config).to(getattr(torch, dtype))
    model.save_pretrained(paths["base"])
    base = {name: value.clone() for name, value in model.state_dict().items()}
    for seed, name in enumerate(("one", "two"), start=2):
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for key, parameter in model.named_parameters():
                step = torch.randn(parameter.shape, generator=generator) * 0.04
                parameter.copy_(base[key] + step.to(parameter.dtype))
        model.save_pretrained(paths[name])
        write_tokenizer(paths[name])
    return {name: str(path) for name, path in paths.items()}


_TASK = """\
task: {name}
dataset_path: json
dataset_kwargs:
  data_files: {{test: {data}, train: {train}}}
test_split: test
training_split: train
fewshot_split: train
output_type: {kind}
doc_to_text: "Question: {{{{question}}}} Answer:"
{rest}
metadata: {{version: 1}}
"""
_CHOICE = """\
doc_to_choice: "{{choices}}"
doc_to_target: "{{answer}}"
num_fewshot: %d
metric_list:
  - {metric: acc, aggregation: mean, higher_is_better: true}
  - {metric: acc_norm, aggregation: mean, higher_is_better: true}
"""
_GENERATE = """\
doc_to_target: "{{choices[answer]}}"
num_fewshot: 1
generation_kwargs: {until: ["\\n", " A"], do_sample: false, max_gen_toks: 8}
filter_list:
  - name: first-word
    filter:
      - {function: regex, regex_pattern: "(\\\\w+)"}
      - {function: take_first}
  - name: whole
    filter:
      - {function: take_first}
metric_list:
  - {metric: exact_match, aggregation: mean, higher_is_better: true, ignore_case: true}
"""
_ROLLING = """\
doc_to_target: "{{question}}"
metric_list:
  - {metric: word_perplexity, aggregation: weighted_perplexity, higher_is_better: false}
"""


def write_tasks(folder: Path, documents: int = 40) -> Path:
    """Tasks `letters` (single-token choices), `words` (longer ones), `say` (generation), `text`."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = random.Random(5)
    for name, choose in (("letters", lambda: list(LETTERS)), ("words", lambda: _phrases(rng))):
        for part, count in (("test", documents), ("train", 6)):
            lines = [_document(rng, choose()) for _ in range(count)]
            text = "".join(json.dumps(line) + "\n" for line in lines)
            (folder / f"{name}_{part}.jsonl").write_text(text)
    for name, data, kind, rest in (
        ("letters", "letters", "multiple_choice", _CHOICE % 2),
        ("words", "words", "multiple_choice", _CHOICE % 0),
        ("say", "words", "generate_until", _GENERATE),
        ("text", "words", "loglikelihood_rolling", _ROLLING),
    ):
        files = {"data": folder / f"{data}_test.jsonl", "train": folder / f"{data}_train.jsonl"}
        task = _TASK.format(name=name, kind=kind, rest=rest, **files)
        (folder / f"{name}.yaml").write_text(task)
    return folder


def _document(rng: random.Random, choices: list[str]) -> dict[str, object]:
    question = " ".join(rng.choice(WORDS) for _ in range(rng.randint(3, 12)))
    return {"question": question, "choices": choices, "answer": rng.randrange(len(choices))}


def _phrases(rng: random.Random) -> list[str]:
    return [" ".join(rng.sample(WORDS, rng.randint(1, 3))) for _ in range(3)]
