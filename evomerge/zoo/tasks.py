"""The zoo's lm-eval tasks: two for each skill, on strings that no model was trained on.

No string is in two tasks either, so that splitting each task splits the strings.

`zoo_SKILL` asks for the whole answer (generate_until, exact_match); `zoo_SKILL_next` asks which of
the string's four symbols comes next after a part of the answer (multiple_choice, acc; every choice
is one token, so one forward step answers it).
"""

import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from evomerge.zoo.config import ZooConfig
from evomerge.zoo.skills import LENGTH, SKILLS, draw_documents
from evomerge.zoo.tokenizer import END

ASKED = ("reverse", "sort", "rotate")
"""The skills that tasks ask for."""
Document = dict[str, Any]


def task_names() -> tuple[str, ...]:
    """Every task, generation first."""
    return (*(f"zoo_{skill}" for skill in ASKED), *(f"zoo_{skill}_next" for skill in ASKED))


def write_tasks(folder: Path, data_folder: Path, config: ZooConfig) -> None:
    """Write YAML and JSON lines of every task.

    Args:
        folder: where the files go.
        data_folder: the absolute path that the YAML files point to; differs from `folder` while
            the zoo is being built beside its final place.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for skill in ASKED:
        strings, others = _strings(skill, config)
        for name, documents, task in (
            (f"zoo_{skill}", _generation_documents(skill, strings), _generation_task()),
            (f"zoo_{skill}_next", _choice_documents(skill, others, config.seed), _choice_task()),
        ):
            _write_lines(folder / f"{name}.jsonl", documents)
            data = {"test": str(data_folder / f"{name}.jsonl")}
            head = {"task": name, "dataset_path": "json", "dataset_kwargs": {"data_files": data}}
            _write_yaml(folder / f"{name}.yaml", {**head, "test_split": "test", **task})


def _strings(skill: str, config: ZooConfig) -> tuple[list[str], list[str]]:
    """The strings of the skill's two tasks."""
    rng = random.Random(f"{config.seed} {skill} documents")
    drawn = draw_documents(SKILLS[skill], 2 * config.documents, rng)
    rng.shuffle(drawn)
    return drawn[: config.documents], drawn[config.documents :]


def _generation_documents(skill: str, strings: Sequence[str]) -> Iterator[Document]:
    for string in strings:
        yield {"prompt": SKILLS[skill].prompt(string), "answer": SKILLS[skill].answer(string)}


def _choice_documents(skill: str, strings: Sequence[str], seed: int) -> Iterator[Document]:
    rng = random.Random(f"{seed} {skill} choices")
    for string in strings:
        answer = SKILLS[skill].answer(string)
        known = rng.randrange(LENGTH - 1)
        choices = sorted(string)
        prompt = SKILLS[skill].prompt(string) + answer[:known]
        yield {"prompt": prompt, "choices": choices, "gold": choices.index(answer[known])}


def _generation_task() -> Document:
    return {
        "output_type": "generate_until",
        "doc_to_text": "{{prompt}}",
        "doc_to_target": "{{answer}}",
        "target_delimiter": "",
        "generation_kwargs": {"until": [END], "do_sample": False, "max_gen_toks": LENGTH + 1},
        "metric_list": [_mean_of("exact_match")],
        "metadata": {"version": 1.0},
    }


def _choice_task() -> Document:
    return {
        "output_type": "multiple_choice",
        "doc_to_text": "{{prompt}}",
        "doc_to_choice": "choices",
        "doc_to_target": "gold",
        "target_delimiter": "",
        "metric_list": [_mean_of("acc")],
        "metadata": {"version": 1.0},
    }


def _mean_of(metric: str) -> Document:
    return {"metric": metric, "aggregation": "mean", "higher_is_better": True}


def _write_lines(file: Path, documents: Iterator[Document]) -> None:
    file.write_text("".join(json.dumps(document) + "\n" for document in documents))


def _write_yaml(file: Path, content: Document) -> None:
    with file.open("w", encoding="utf-8") as stream:
        YAML().dump(content, stream)
