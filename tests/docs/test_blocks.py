"""Every block of the documentation is what the code takes: commands, files, programs."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.docs import python_blocks
from tests.docs.blocks import Block, blocks, inline_commands, pages
from tests.docs.shell import commands, complaint
from tests.docs.yaml_kinds import kind_of

CHECKED = {"sh", "yaml", "python", "toml", "json"}
SHOWN = {"text", "html", "mermaid"}
"""Languages of blocks that only show something: formulas, output, drawings."""
UNCHECKED_AT_MOST = 6


def where(block: Block) -> str:
    return block.where


def checked(language: str) -> list[Block]:
    return [block for block in blocks(language) if block.unchecked is None]


def test_every_block_is_fenced_and_says_its_language() -> None:
    wrong = [block.where for block in blocks() if block.language not in CHECKED | SHOWN]
    assert wrong == [], f"fence them, and write one of {sorted(CHECKED | SHOWN)} after the fence"


def test_few_blocks_are_not_checked_and_each_says_why() -> None:
    unchecked = [f"{block.where}: {block.unchecked}" for block in blocks() if block.unchecked]
    print("\n".join(unchecked))
    assert len(unchecked) <= UNCHECKED_AT_MOST, "\n".join(unchecked)


@pytest.mark.parametrize("block", checked("sh"), ids=where)
def test_the_commands_of_a_block_are_accepted_by_their_programs(block: Block) -> None:
    found = [(command, complaint(command)) for command in commands(block.text)]
    assert found, "a shell block without a command: write `text` after its fence"
    assert [f"{' '.join(command)}: {said}" for command, said in found if said] == []


def test_commands_within_sentences_exist_and_so_do_their_options() -> None:
    wrong = []
    for place, text in inline_commands():
        if text.startswith("evomerge …"):
            continue  # the troubleshooting page, where the command is filled in
        line = re.sub(r"\[[^]]*\]", "", re.sub(r"\b[NS]\b", "1", text))  # [what may be left out]
        for command in commands(line):
            said = complaint(command)
            # In a sentence a command may stand for itself, without what it needs.
            if said and not said.startswith("Missing") and "requires an argument" not in said:
                wrong.append(f"{place}: {text}: {said}")
    assert wrong == []


@pytest.mark.parametrize("block", checked("yaml"), ids=where)
def test_yaml_is_accepted_by_the_code_that_would_read_it(block: Block, tmp_path: Path) -> None:
    kind = kind_of(block)
    assert kind is not None, (
        "no kind of file known here: add it to tests/docs/yaml_kinds.py, or say in "
        "`<!-- unchecked: REASON -->` on the line before why it cannot be checked"
    )
    kind.check(block.text, tmp_path)


@pytest.mark.parametrize("block", checked("json"), ids=where)
def test_json_can_be_read(block: Block) -> None:
    json.loads(block.text)


@pytest.mark.parametrize("block", blocks("python"), ids=where)
def test_python_uses_names_that_are_there(block: Block) -> None:
    assert python_blocks.missing_names(block) == []


@pytest.mark.parametrize("block", checked("python"), ids=where)
def test_python_runs_by_itself(block: Block) -> None:
    python_blocks.run(block)


@pytest.mark.parametrize("block", checked("toml"), ids=where)
def test_entry_points_name_what_the_page_defines(block: Block) -> None:
    defined: dict[Path, dict[str, Any]] = {}
    for python in checked("python"):
        defined.setdefault(python.page, {}).update(python_blocks.run(python))
    assert python_blocks.entry_point_complaints(block, defined) == []


def test_commands_that_the_parser_would_refuse_are_found() -> None:
    """The checks above can fail: one misspelling of each sort is refused."""
    for line in (
        "evomerge rum search.yml",
        "evomerge run search.yml --inlin",
        "evomerge export ONE",
        "evomerge best --limit many",
        "make demmo",
        "python -m benchmarks.nothing",
        "python -m benchmarks.merge_speed --fodler F",
        "pip install 'evomerge[insigth]'",
        "docker/no.sh",
        "unheard-of --version",
    ):
        ((command,),) = [list(commands(line))]
        assert complaint(command) is not None, line


def test_pages_are_found() -> None:
    names = {page.name for page in pages()}
    assert {"README.md", "search_file.md", "0001-methods-without-torch.md"} <= names
