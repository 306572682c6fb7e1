"""Writes docs/methods.md from the declarations in evomerge.methods: `python docs/build_reference.py`.

A test compares the file with what this prints, so that the reference never lags behind the code.
"""

from pathlib import Path

from evomerge.methods import METHODS, Method, Parameter

PAGE = Path(__file__).parent / "methods.md"
HEAD = """\
# Merge methods

Written by `python docs/build_reference.py` from the declarations in `evomerge/methods/`; edit those.

θ₀ is the base model, θᵢ a fine-tune, δᵢ = θᵢ − θ₀ its delta, wᵢ its weight, δ̂ᵢ the delta after
trimming. All arithmetic is fp32 and rounded once, to the output dtype. A parameter *per model* may
have a value for each model; the others have one for each tensor. Any of them may be given as a list
over the layers (a gradient) and by tensor name (`filter`): see [recipes](recipes.md).
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
            f"Models: at least {method.min_models}{limit}; {BASE[method.base]}.",
            "",
            "| Parameter | Meaning | Default | Accepted | Worth searching |",
            "|---|---|---|---|---|",
            *rows,
            "",
        ]
    )


def row(parameter: Parameter) -> str:
    """One line of the table."""
    name = f"`{parameter.name}`" + (" per model" if parameter.per_model else "")
    default = "required" if parameter.default is None else f"`{str(parameter.default).lower()}`"
    search = "" if parameter.search is None else "{:g} to {:g}".format(*parameter.search)
    scale = ", log" if parameter.search and parameter.scale == "log" else ""
    return f"| {name} | {parameter.doc} | {default} | {parameter.bounds} | {search}{scale} |"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
