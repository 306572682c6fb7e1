"""Terminals of every sort: narrow ones, ones without colour, and shells that complete commands."""

import os
import pty
import re
import shutil
import subprocess
import sys

import pytest

ANSWERS = [
    ("status", "{id}"),
    ("list",),
    ("best", "--search", "{id}"),
    ("query",),
    ("query", "costs"),
    ("query", "baselines_vs_best"),
    ("insight", "{id}"),
    ("validate", "{file}"),
    ("recipe", "show", "{id}"),
    ("db", "archives"),
    ("token", "list"),
    ("owner", "list"),
]
WITHOUT_STORE = ("validate",)
WORDS = re.compile(r"\S+")


def complete(line, finished):
    return [word.format(id=finished.id, file=finished.file) for word in line]


def in_shell(*arguments, **variables):
    """The program in a process of its own."""
    command = [sys.executable, "-m", "evomerge", *arguments]
    environment = {**os.environ, **variables}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


@pytest.mark.parametrize("line", ANSWERS, ids=" ".join)
def test_forty_columns_are_enough_and_no_word_is_cut_short(evomerge, finished, monkeypatch, line):
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("NO_COLOR", "1")
    store = () if line[0] in WITHOUT_STORE else ("--store", finished.store)
    done = evomerge(*complete(line, finished), *store)
    assert done.code == 0, done.err
    assert "\x1b" not in done.out + done.err
    tables = [text for text in done.out.splitlines() if "  " in text.strip()]
    assert [text for text in tables if len(text) > 40] == []
    assert [text for text in tables if text.rstrip().endswith("…")] == []


def test_eighty_columns_have_tables(evomerge, finished, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    done = evomerge("best", "--search", finished.id, "--store", finished.store)
    head, first, *_ = done.out.splitlines()
    assert head.split()[:2] == ["candidate", "what"]
    assert first.split()[0].isdigit()


@pytest.mark.parametrize("columns", ["30", "40", "80"])
def test_help_names_every_option_in_full(columns):
    said = in_shell("run", "--help", COLUMNS=columns, TERM="dumb")
    assert {"--address", "--search-id", "--inline", "--format"} <= set(
        re.findall(r"--[a-z-]+\b(?!…)", said)
    )


@pytest.mark.parametrize("line", [("status",), ("best", "--search")], ids=lambda line: line[0])
def test_a_terminal_without_colour_gets_none(finished, line):
    """On a real terminal, where colours would otherwise be shown."""
    ours, theirs = pty.openpty()
    words = [*line, finished.id, "--store", str(finished.store)]
    environment = {**os.environ, "NO_COLOR": "1", "TERM": "xterm-256color", "COLUMNS": "80"}
    subprocess.run(
        [sys.executable, "-m", "evomerge", *words],
        env=environment,
        stdout=theirs,
        stderr=theirs,
        check=True,
    )
    os.close(theirs)
    said = os.read(ours, 100_000).decode()
    os.close(ours)
    assert finished.id in said
    assert re.findall(r"\x1b\[[0-9;]*(?:3[0-7]|38|9[0-7])[0-9;]*m", said) == []


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_the_completion_script_is_one_that_the_shell_reads(shell, tmp_path):
    script = tmp_path / "complete"
    script.write_text(in_shell(_EVOMERGE_COMPLETE=f"source_{shell}"), encoding="utf-8")
    assert "evomerge" in script.read_text(encoding="utf-8")
    if program := shutil.which(shell):
        subprocess.run([program, "-n", str(script)], check=True, capture_output=True)


def test_bash_completes_commands_options_and_groups():
    def offered(line):
        words = line.split(" ")
        place = str(len(words) - 1)
        said = in_shell(_EVOMERGE_COMPLETE="complete_bash", COMP_WORDS=line, COMP_CWORD=place)
        return set(WORDS.findall(said))

    assert {"resume", "report", "recipe"} <= offered("evomerge re")
    assert {"--search", "--split", "--store"} <= offered("evomerge best --s")
    assert {"backup", "upgrade"} <= offered("evomerge db ")


def test_zsh_completes_commands():
    said = in_shell(_EVOMERGE_COMPLETE="complete_zsh", _TYPER_COMPLETE_ARGS="evomerge val")
    assert "validate" in said
