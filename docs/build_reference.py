"""Writes docs/methods.md from the declarations in evomerge.methods: `python docs/build_reference.py`.

When to use a method is what its presets in search_spaces/ open with; the pictures are those of
docs/build_pictures.py and docs/build_data_pictures.py. A test compares the file with what this prints, so
that the reference never lags behind the code.
"""

import re
from pathlib import Path

from evomerge.methods import METHODS, Method, Parameter

DOCS = Path(__file__).parent
PAGE = DOCS / "methods.md"
PRESETS = DOCS.parent / "search_spaces"
PICTURES = Path("pictures") / "methods"
HEAD = """\
# Merge methods

Written by `python docs/build_reference.py` from the declarations in `evomerge/methods/`; edit those.

θ₀ is the base model, θᵢ a fine-tune, δᵢ = θᵢ − θ₀ its delta, wᵢ its weight, δ̂ᵢ the delta after
trimming. All arithmetic is fp32 and rounded once, to the output dtype. A parameter *per model* may
have a value for each model; the others have one for each tensor. Any of them may be given as a list
over the layers (a gradient) and by tensor name (`filter`): see [recipes](recipes.md). A search may give
any of them a gene of its own for each model (where it is *per model*), run of layers, kind of tensor or
named group of tensors: see [search spaces](search_spaces.md#over-the-tensors). "Worth searching" is a
range to begin with.

Each picture shows what two fine-tunes A and B change of 24 entries of a base, blue up and orange down,
and what the merge changes: on the left mostly A does, on the right mostly B, and in the middle both do,
four times the same way and three times against each other. Pictures of methods that need texts, match units
or learn (from fisher on) say below what they show. The merges are computed by evomerge
(`python docs/build_pictures.py`, `python docs/build_data_pictures.py`).
"""
BASE = {
    "required": "needs `base_model`; deltas are taken against it",
    "origin": "deltas are taken against `base_model` where there is one, whole models otherwise",
    "optional": "`base_model` only supplies shapes and tokenizer",
    "endpoint": "`base_model` is one of the models merged",
}


def page() -> str:
    """The whole page."""
    return "\n".join([HEAD, *(section(method) for method in METHODS.values())])


def section(method: Method) -> str:
    """One method: what it does, its formula, its parameters."""
    rows = [row(parameter) for parameter in method.parameters]
    limit = "" if method.max_models is None else f", at most {method.max_models}"
    return "\n".join(
        [
            f"## {method.name}",
            "",
            f"{method.doc} Source: {method.source}.",
            "",
            "```text",
            method.formula,
            "```",
            "",
            *illustration(method.name),
            f"Models: at least {method.min_models}{limit}; {BASE[method.base]}.",
            "",
            *occasions(method.name),
            *table(rows),
        ]
    )


def illustration(name: str) -> list[str]:
    """The picture of a method, where there is one."""
    file = PICTURES / f"{name}.svg"
    if not (DOCS / file).exists():
        return []
    drawing = (DOCS / file).read_text(encoding="utf-8")
    (title,) = re.findall(r"<title>(.+?)</title>", drawing)
    words = re.search(r"<desc>(.+?)</desc>", drawing)
    given = re.search(r"\((.+?)\)", title)
    drawn = f"Drawn with {given[1]}." if given else "Drawn with the defaults."
    drawn = words[1] if words else drawn
    return [f"![{title}]({file.as_posix()})", "", drawn, ""]


def occasions(name: str) -> list[str]:
    """When to use a method: its presets, each in the words that the preset opens with."""
    found = []
    for preset in sorted(PRESETS.glob("*.yml")):
        text = preset.read_text(encoding="utf-8")
        if re.search(rf"^method: {name}$", text, re.MULTILINE):
            found.append(f"- `space: {preset.stem}`. {opening(text)}")
    return ["To search it:", "", *found, ""] if found else []


def opening(text: str) -> str:
    """The comment that a preset begins with, as sentences."""
    lines = text.split("\nmethod:", 1)[0].splitlines()
    return " ".join(line.lstrip("# ").rstrip() for line in lines if line.startswith("#"))


def table(rows: list[str]) -> list[str]:
    """The parameters, or that there are none."""
    if not rows:
        return ["It has no parameters.", ""]
    head = "| Parameter | Meaning | Default | Accepted | Worth searching |"
    return [head, "|---|---|---|---|---|", *rows, ""]


def row(parameter: Parameter) -> str:
    """One line of the table."""
    name = f"`{parameter.name}`" + (" per model" if parameter.per_model else "")
    default = "required" if parameter.default is None else f"`{str(parameter.default).lower()}`"
    search = "" if parameter.search is None else "{:g} to {:g}".format(*parameter.search)
    scale = ", log" if parameter.search and parameter.scale == "log" else ""
    return f"| {name} | {parameter.doc} | {default} | {parameter.bounds} | {search}{scale} |"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
