"""Draws a terminal: `python docs/build_terminal.py FOLDER WORDS…`, into docs/pictures/terminal.svg.

`evomerge WORDS…` is run in FOLDER, in a terminal of its own, and what it prints is drawn as it came, colours
included. The picture that is there is of the demo's zoo, which `evomerge demo` keeps in its cache folder:

    python docs/build_terminal.py ~/.cache/evomerge/zoo-… inspect base reverse sort rotate decoy --base base
"""

from __future__ import annotations

import argparse
import io
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

PICTURE = Path(__file__).parent / "pictures" / "terminal.svg"
COLUMNS = 100


def said_by(folder: Path, words: list[str]) -> str:
    """What `evomerge` prints in a terminal of COLUMNS columns; its progress is left out."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "COLUMNS": str(COLUMNS), "TERM": "xterm-256color"}
    process = subprocess.Popen(
        [sys.executable, "-m", "evomerge", *words],
        cwd=folder,
        env=environment,
        stdout=theirs,
        stderr=subprocess.DEVNULL,
    )
    os.close(theirs)
    pieces = []
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:  # how Linux says that the other side was closed
            break
        if not piece:
            break
        pieces.append(piece)
    if process.wait():
        raise SystemExit(f"evomerge {' '.join(words)} failed")
    return b"".join(pieces).decode().replace("\r\n", "\n")


def picture(folder: Path, words: list[str]) -> str:
    """The drawing as SVG, with fonts that are there anyway."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO())
    console.print(Text(f"$ evomerge {' '.join(words)}", style="bold green"))
    console.print(Text.from_ansi(said_by(folder, words)))
    drawn = console.export_svg(title="evomerge", theme=MONOKAI)
    return re.sub(r"@font-face \{.*?\}\s*", "", drawn, flags=re.DOTALL)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="where the command is run")
    parser.add_argument("words", nargs=argparse.REMAINDER, help="the command, without `evomerge`")
    given = parser.parse_args()
    PICTURE.write_text(picture(given.folder, given.words), encoding="utf-8")
