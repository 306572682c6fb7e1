"""A recipe from whatever holds one: mergekit's YAML, a recipe's own JSON, a merged model's folder."""

import json
from pathlib import Path

from pydantic import ValidationError

from evomerge.errors import RecipeError
from evomerge.merging.documents import load_documents
from evomerge.merging.mergekit_yaml import parse_recipe, read_text
from evomerge.merging.validate import validate
from evomerge.recipe import CONFIG_FILE, Recipe


def load_any_recipe(path: Path) -> Recipe:
    """The recipe at `path`. Raises RecipeError or Problems naming file and, in YAML, line."""
    if path.is_dir():
        return _of_folder(path)
    text = read_text(path)
    recipe = _from_json(text)
    if recipe is None:
        return parse_recipe(text, str(path))
    validate(recipe, str(path))
    return recipe


def _of_folder(path: Path) -> Recipe:
    if not (path / CONFIG_FILE).is_file():
        raise RecipeError(
            f"holds no {CONFIG_FILE}", where=str(path), remedy="name a file, or a folder of a merge"
        )
    # A merge of merges carries the configurations of all of them, its own last.
    return load_documents(path / CONFIG_FILE)[-1].recipe


def _from_json(text: str) -> Recipe | None:
    """A recipe's JSON; None for anything else, also for mergekit's configuration as JSON."""
    try:
        return Recipe.model_validate(json.loads(text))
    except (ValueError, ValidationError):
        return None
