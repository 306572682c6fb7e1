"""How much a search's tasks make an engine read and write, counted with the base's own tokenizer.

Tasks are loaded as a search loads them, requests are lm-eval's own, and they are grouped as the engine's
requests are: choices of one token each share a prompt, others have one each, whose log-probabilities
are all asked for. How long an answer becomes is not known before a model answers: a document's own
target is taken for it. Where tasks cannot be loaded, the user names sizes.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evomerge.fitness import Objective, Split
from evomerge.planning.types import Workload

MAX_CHOICES = 128
"""As `evaluation.vllm_scoring` has it."""
Count = Callable[[str], int]


@dataclass(frozen=True)
class Assumed:
    """Sizes of every task's search split, where its documents cannot be read here."""

    documents: int
    read: int
    written: int


def assumed_workload(given: Assumed, tasks: int) -> Workload:
    """A workload of documents that are all alike; answers of one token are scored, not written."""
    documents = given.documents * tasks
    return Workload(
        documents=documents,
        prompts=documents,
        read=documents * given.read,
        written=documents * given.written,
        longest=given.read + given.written,
        longest_answer=given.written,
        scored=0,
        assumed=True,
    )


def counted_workloads(objective: Objective, tokenizer: Path) -> dict[Split, Workload]:
    """The workload of every split that has documents. Raises TaskError, CheckpointError."""
    from evomerge.evaluation.task_scorer import TaskScorer
    from evomerge.evaluation.tasks import load_tasks

    count = token_counter(tokenizer)
    scorers = [
        TaskScorer(task, objective, _plain_chat, str(tokenizer)) for task in load_tasks(objective)
    ]
    found = {}
    for split in Split:
        numbers = {s: s.loaded.splits[split] for s in scorers if s.loaded.splits[split]}
        parts = [_of_task(s, s.instances(own), count) for s, own in numbers.items()]
        if parts:
            found[split] = _sum(parts, sum(map(len, numbers.values())))
    return found


def token_counter(folder: Path) -> Count:
    """Counts tokens as the tokenizer in `folder` does; each text once."""
    from evomerge.vocabulary import load_tokenizer

    tokenizer = load_tokenizer(folder)
    known: dict[str, int] = {}

    def count(text: str) -> int:
        if text not in known:
            known[text] = len(tokenizer(text, add_special_tokens=False)["input_ids"])
        return known[text]

    return count


def _plain_chat(chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
    """Turns without the template's own marks: a few tokens a turn are not counted."""
    del add_generation_prompt
    return "\n".join(turn["content"] for turn in chat_history)


def _of_task(scorer: Any, instances: Sequence[Any], count: Count) -> Workload:
    kind = instances[0].request_type
    if kind == "generate_until":
        answers = [_answer(scorer.loaded.task, one, count) for one in instances]
        prompts = [count(one.args[0]) for one in instances]
        longest = max(p + a for p, a in zip(prompts, answers, strict=True))
        return Workload(0, len(prompts), sum(prompts), sum(answers), longest, max(answers), 0)
    if kind == "loglikelihood_rolling":
        return _scored([count(one.args[0]) for one in instances])
    return _of_choices(instances, count)


def _of_choices(instances: Sequence[Any], count: Count) -> Workload:
    contexts: dict[tuple[int, str], list[int]] = {}
    for one in instances:
        context, continuation = one.args
        contexts.setdefault((one.doc_id, context), []).append(count(continuation))
    shared = [
        max(count(context), 1)
        for (_, context), choices in contexts.items()
        if set(choices) == {1} and len(choices) <= MAX_CHOICES
    ]
    each = [
        count(context) + choice
        for (_, context), choices in contexts.items()
        if set(choices) != {1} or len(choices) > MAX_CHOICES
        for choice in choices
    ]
    return _sum(
        [Workload(0, len(shared), sum(shared), 0, max(shared, default=0), 1, 0), _scored(each)]
    )


def _scored(lengths: Sequence[int]) -> Workload:
    return Workload(0, len(lengths), sum(lengths), 0, max(lengths, default=0), 1, sum(lengths))


def _answer(task: Any, instance: Any, count: Count) -> int:
    """Tokens of the expected answer, with the one that ends it, within the task's own limit."""
    target = task.doc_to_target(instance.doc)
    texts = [str(one) for one in target] if isinstance(target, list) else [str(target)]
    most = instance.args[1].get("max_gen_toks", instance.args[1].get("max_tokens", 256))
    return min(int(most), max(map(count, texts), default=0) + 1)


def _sum(parts: Iterable[Workload], documents: int = 0) -> Workload:
    listed = list(parts)
    return Workload(
        documents=documents or sum(part.documents for part in listed),
        prompts=sum(part.prompts for part in listed),
        read=sum(part.read for part in listed),
        written=sum(part.written for part in listed),
        longest=max(part.longest for part in listed),
        longest_answer=max(part.longest_answer for part in listed),
        scored=sum(part.scored for part in listed),
    )
