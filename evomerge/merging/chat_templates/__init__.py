"""Chat templates by name, as mergekit's `chat_template` takes them, and how one gets into a model.

Written from the formats' public definitions: ChatML (OpenAI), Llama 3 (Meta's model card), Mistral
Instruct (Mistral's model card: instruction in [INST], system text before the first), EXAONE (LG's
model card: a turn of the user ends with a line break, others with [|endofturn|]), Alpaca (Stanford's
prompt, each response on a line of its own). `auto` is the template that most of the models have.
"""

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from evomerge.errors import RecipeError, did_you_mean

AUTO = "auto"
FILE = "chat_template.jinja"
_CONFIG = "tokenizer_config.json"
_HERE = Path(__file__).parent
NAMES = tuple(sorted(file.stem for file in _HERE.glob("*.jinja")))


def check_template(template: str, where: str | None = None) -> None:
    """Raise RecipeError where `template` is neither Jinja text, nor a name, nor `auto`."""
    if "{" not in template and template not in {*NAMES, AUTO}:
        raise RecipeError(
            f"chat_template {template!r} is neither a name nor Jinja text",
            where=where,
            remedy=did_you_mean(template, [*NAMES, AUTO]),
        )


def template_text(template: str, models: Iterable[Path]) -> str | None:
    """The Jinja text of a recipe's `chat_template`; None for `auto` where no model has one.

    Args:
        models: the tokenizer folders of the models, base first: of equally common ones the first wins.
    """
    check_template(template)
    if template in NAMES:
        return (_HERE / f"{template}.jinja").read_text(encoding="utf-8").rstrip("\n")
    if template != AUTO:
        return template
    found = [text for folder in models if (text := template_of(folder)) is not None]
    return Counter(found).most_common(1)[0][0] if found else None


def template_of(folder: Path) -> str | None:
    """The chat template of a model, without blanks around it; the default one of several."""
    if (folder / FILE).is_file():
        return (folder / FILE).read_text(encoding="utf-8").strip() or None
    found = _config(folder).get("chat_template")
    if isinstance(found, list):
        named = {entry.get("name"): entry.get("template") for entry in found}
        found = named.get("default")
    return found.strip() or None if isinstance(found, str) else None


def write_template(folder: Path, text: str) -> None:
    """Give the tokenizer in `folder` a template: in its file, and in the config for older readers."""
    (folder / FILE).write_text(text, encoding="utf-8")
    config = _config(folder)
    if config:
        config["chat_template"] = text
        written = json.dumps(config, indent=2, ensure_ascii=False) + "\n"
        (folder / _CONFIG).write_text(written, encoding="utf-8")


def _config(folder: Path) -> dict[str, Any]:
    try:
        config = json.loads((folder / _CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return config if isinstance(config, dict) else {}
