"""The model card of a merge: front matter that the Hugging Face hub reads, and a short body."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from evomerge.hub import is_path, parts_of, short_name
from evomerge.recipe import CONFIG_FILE, Recipe

CARD = "README.md"

ScoreRow = tuple[str, str, str, float, float | None, int]
"""Split, task, metric, value, standard error, documents."""


@dataclass(frozen=True)
class Provenance:
    """How a recipe was found. `verdict`: sentences about a winner and how far to trust its scores."""

    search_name: str
    label: str
    strategy: str
    seed: int
    candidates: int
    scores: Sequence[ScoreRow] = ()
    verdict: Sequence[str] = ()
    versions: Mapping[str, str] = field(default_factory=dict)


def write_card(
    folder: Path,
    recipe: Recipe,
    provenance: Provenance | None = None,
    *,
    title: str | None = None,
) -> None:
    """The model card beside a merged model."""
    from evomerge.merging.mergekit_yaml import dump_recipe

    config = folder / CONFIG_FILE
    # A merge of merges carries the configurations of all of them.
    written = config.read_text(encoding="utf-8") if config.is_file() else dump_recipe(recipe)
    text = card_text(title or folder.resolve().name, recipe, written, provenance)
    (folder / CARD).write_text(text, encoding="utf-8")


def card_text(title: str, recipe: Recipe, yaml: str, provenance: Provenance | None = None) -> str:
    """The whole README.md."""
    parts = [
        *_front_matter(recipe),
        f"# {title}",
        "",
        _opening(recipe),
        "",
        *_models(recipe),
        *_scores(provenance),
        "## Recipe",
        "",
        f"mergekit and `evomerge merge` both read it; it is also in `{CONFIG_FILE}`.",
        "",
        "```yaml",
        yaml.rstrip(),
        "```",
        *_history(provenance),
    ]
    return "\n".join(parts) + "\n"


def _opening(recipe: Recipe) -> str:
    return (
        f"A merge of language models with `{recipe.merge_method}`, made by evomerge "
        f"(recipe `{recipe.recipe_id}`)."
    )


def _front_matter(recipe: Recipe) -> list[str]:
    names = [_known_as(part) for model in recipe.all_models() for part in parts_of(model)]
    return [
        "---",
        "base_model:",
        *(f"- {_quoted(name)}" for name in dict.fromkeys(names)),
        "base_model_relation: merge",
        "library_name: transformers",
        "tags:",
        "- mergekit",
        "- merge",
        "---",
        "",
    ]


def public_name(model: str) -> str:
    """How others know a model: a hub id without its revision; of a folder, only its name.

    An adapter is named after its model.
    """
    return " + ".join(_known_as(part) for part in parts_of(model))


def _known_as(model: str) -> str:
    return short_name(model) if is_path(model) else model.partition("@")[0]


def _quoted(name: str) -> str:
    plain = all(letter.isalnum() or letter in "-_./" for letter in name) and name[0].isalpha()
    return name if plain else f'"{name}"'


def _models(recipe: Recipe) -> Iterator[str]:
    yield "## Models"
    yield ""
    for model in recipe.all_models():
        role = " (base)" if model == recipe.base_model else ""
        yield f"- `{public_name(model)}`{role}"
    yield ""


def _scores(provenance: Provenance | None) -> Iterator[str]:
    if provenance is None or not provenance.scores:
        return
    yield "## Scores"
    yield ""
    yield "| split | task | metric | score | standard error | documents |"
    yield "|---|---|---|---:|---:|---:|"
    for split, task, metric, value, stderr, count in provenance.scores:
        error = "" if stderr is None else f"{stderr:.4f}"
        yield f"| {split} | {task} | {metric} | {value:.4f} | {error} | {count} |"
    yield ""
    yield (
        "The search climbed the search split, so its score is optimistic; validation documents chose "
        "among finalists; test documents were answered once, at the end."
    )
    yield ""
    for sentence in provenance.verdict:
        yield sentence
        yield ""


def _history(provenance: Provenance | None) -> Iterator[str]:
    if provenance is None:
        return
    versions = ", ".join(f"{name} {found}" for name, found in sorted(provenance.versions.items()))
    yield ""
    yield "## How it was found"
    yield ""
    yield (
        f"It is {provenance.label} of the search `{provenance.search_name}`: strategy "
        f"{provenance.strategy}, seed {provenance.seed}, {provenance.candidates} candidates."
    )
    if versions:
        yield ""
        yield f"Versions: {versions}."
