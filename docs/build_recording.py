"""Draws a terminal in which a real run goes by: `python docs/build_recording.py`, to docs/pictures/demo.svg.

docs/recordings/demo.jsonl holds what `evomerge demo --inline` printed, each line with the second at which
it came. `--record` makes it anew, on this machine, with the zoo that an earlier demo trained; warnings of
libraries are left out, and paths begin at home. The drawing shows the lines in these times, shortened by
one factor that it names, but never two at once. Whoever prefers no motion, or prints the page, sees the
end. Colours follow the reader's: light or dark.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from html import escape
from pathlib import Path

DOCS = Path(__file__).parent
RECORDING = DOCS / "recordings" / "demo.jsonl"
PICTURE = DOCS / "pictures" / "demo.svg"
WORDS = ["demo", "--inline"]
COLUMNS, ROWS = 100, 26
LASTS, RESTS, GAP = 16.0, 8.0, 0.07
"""Seconds that the run takes in the drawing, for which its end stands still, and between two lines."""
_LINE, _LETTER, _TOP, _EDGE = 18.0, 7.83, 44.0, 14.0
_COLOURS = (
    ".page{fill:#ffffff;stroke:#d0d7de}.text{fill:#1f2328}.soft{fill:#656d76}.good{fill:#1a7f37}"
    "@media (prefers-color-scheme:dark){.page{fill:#0d1117;stroke:#30363d}.text{fill:#e6edf3}"
    ".soft{fill:#8d96a0}.good{fill:#3fb950}}"
)
Line = tuple[float, str]
_WARNING = re.compile(r"Warning: |^\[?W\d{4} |^  (if|wrapper|return) ?.*[:(]")


def record(words: list[str]) -> list[Line]:
    """What `evomerge WORDS` prints outside of a terminal, with the seconds since it began."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, "-m", "evomerge", *words],
            cwd=folder,
            env={**os.environ, "COLUMNS": str(COLUMNS), "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert process.stdout is not None
        said = [(round(time.monotonic() - start, 2), line.rstrip()) for line in process.stdout]
        found = tidied(said, Path(folder))
    if process.wait():
        raise SystemExit(f"evomerge {' '.join(words)} failed:\n{found[-1][1] if found else ''}")
    return found


def tidied(lines: list[Line], folder: Path) -> list[Line]:
    """Without what libraries warn of, and without this machine's paths."""
    own = [(second, text) for second, text in lines if not _WARNING.search(text)]
    home = str(Path.home())
    return [(second, text.replace(f"{folder}/", "").replace(home, "~")) for second, text in own]


def read(file: Path = RECORDING) -> list[Line]:
    """A recording; its first line is the command, at second 0."""
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    return [(float(second), str(text)) for second, text in rows]


def drawing(lines: list[Line]) -> str:
    """The animation as SVG: every line appears at its time, and the page moves up as it fills."""
    last = max(lines[-1][0], 1e-9)
    shown: list[Line] = []
    for second, text in lines:
        for part in cut(text):
            soonest = shown[-1][0] + GAP if shown else 0.0
            shown.append((max(second * LASTS / last, soonest), part))
    whole = shown[-1][0] + RESTS
    height = _TOP + ROWS * _LINE + _EDGE
    width = 2 * _EDGE + COLUMNS * _LETTER
    style = (
        "text{font:13px ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;white-space:pre}"
        f".l{{animation:show {whole:g}s infinite both}}@keyframes show{{from{{opacity:1}}to{{opacity:1}}}}"
        f"{appearing(shown, whole)}{moving(shown, whole)}{_COLOURS}"
        "@media (prefers-reduced-motion:reduce),print{.l{animation:none!important;opacity:1}"
        f".all{{animation:none!important;transform:translateY({-lift(len(shown)):g}px)}}}}"
    )
    title = (
        f"evomerge {' '.join(WORDS)}, a real run of {last:.0f} s, {last / LASTS:.0f} times as fast"
    )
    body = "\n".join(
        f'<text class="l k{place} {kind(text)}" x="{_EDGE}" y="{_TOP + (place + 1) * _LINE - 5:g}">'
        f"{escape(text)}</text>"
        for place, (_, text) in enumerate(shown)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" role="img">'
        f"<title>{title}</title><style>{style}</style>\n"
        f'<rect class="page" x=".5" y=".5" width="{width - 1:g}" height="{height - 1:g}" rx="8"/>\n'
        f'<text class="soft" x="{_EDGE}" y="26">{title}</text>\n'
        f'<clipPath id="view"><rect x="0" y="{_TOP}" width="{width:g}" height="{ROWS * _LINE:g}"/>'
        f'</clipPath>\n<g clip-path="url(#view)"><g class="all">\n{body}\n</g></g></svg>\n'
    )


def cut(text: str) -> list[str]:
    """A line as a terminal of COLUMNS columns shows it."""
    return [text[at : at + COLUMNS] for at in range(0, max(len(text), 1), COLUMNS)]


def kind(text: str) -> str:
    """The command and the winner stand out; progress stands back."""
    if text.startswith(("$", "→", "The search beat")):
        return "good"
    return "soft" if " · " in text or text.endswith("…") else "text"


def appearing(shown: list[Line], whole: float) -> str:
    """Key frames of each line: hidden until its share of the time."""
    rules = []
    for place, (second, _) in enumerate(shown):
        share = max(100 * second / whole, 0.01)
        rules.append(
            f"@keyframes a{place}{{0%,{share:.2f}%{{opacity:0}}{share + 0.01:.2f}%,to{{opacity:1}}}}"
            f".k{place}{{animation-name:a{place}}}"
        )
    return "".join(rules)


def lift(count: int) -> float:
    """How far up the page lies when so many lines are there."""
    return max(count - ROWS, 0) * _LINE


def moving(shown: list[Line], whole: float) -> str:
    """Key frames of the page, which jumps as a terminal does."""
    stops = [(0.0, 0.0)]
    for place, (second, _) in enumerate(shown):
        if (up := lift(place + 1)) > stops[-1][1]:
            stops.append((100 * second / whole, up))
    frames = "".join(f"{share:.2f}%{{transform:translateY({-up:g}px)}}" for share, up in stops)
    last = f"to{{transform:translateY({-stops[-1][1]:g}px)}}"
    return f"@keyframes up{{{frames}{last}}}.all{{animation:up {whole:g}s step-end infinite}}"


def main() -> None:
    """Record where that is asked for, and draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--record", action="store_true", help="run the demo now")
    if parser.parse_args().record:
        lines = [(0.0, f"$ evomerge {' '.join(WORDS)}"), *record(WORDS)]
        RECORDING.parent.mkdir(exist_ok=True)
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        RECORDING.write_text(text, encoding="utf-8")
    PICTURE.write_text(drawing(read()), encoding="utf-8")


if __name__ == "__main__":
    main()
