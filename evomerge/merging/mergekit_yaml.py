"""mergekit's YAML in and out: text to `Recipe`, with errors that name file and line, and back.

The grammar is in `yaml_reader`, for people in `docs/recipes.md`. Torch-free.
"""

import io
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedSeq

from evomerge.errors import RecipeError
from evomerge.merging.validate import validate
from evomerge.merging.yaml_nodes import parse_documents
from evomerge.merging.yaml_reader import Reader, message_of
from evomerge.recipe import Recipe, to_config


def load_recipe(path: Path) -> Recipe:
    """Read a mergekit configuration. Raises RecipeError naming file and line."""
    return parse_recipe(read_text(path), str(path))


def read_text(path: Path) -> str:
    """The text of a configuration. Raises RecipeError where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(
            f"cannot be read ({error})", where=str(path), remedy="check the path"
        ) from error


def parse_recipe(text: str, file: str = "recipe") -> Recipe:
    """Read a mergekit configuration from `text`; `file` is what errors call it.

    Raises RecipeError for one mistake, Problems for several.
    """
    documents = parse_documents(text, file)
    if len(documents) > 1:
        raise RecipeError(
            f"holds {len(documents)} documents; one merge is wanted here",
            where=file,
            remedy="`evomerge merge` takes several, each with a name; here, leave one",
        )
    return read_document(Reader(file), documents[0])


def read_document(reader: Reader, document: Any) -> Recipe:
    """One document, checked against its method."""
    try:
        recipe = reader.recipe(document)
    except ValidationError as error:
        raise RecipeError(message_of(error), where=reader.file) from error
    validate(recipe, reader.file)
    return recipe


def dump_recipe(recipe: Recipe) -> str:
    """The recipe as mergekit YAML; `parse_recipe` gives the same recipe back."""
    return _dump(recipe.canonical_json())


@lru_cache(maxsize=1024)
def _dump(recipe_json: str) -> str:
    """Kept, because writing YAML takes a hundred times as long as reading JSON, and lists of the best
    recipes, asked for again and again, hardly change."""
    return dump_config(to_config(Recipe.model_validate_json(recipe_json)))


def dump_config(config: Any) -> str:
    """A configuration of plain dicts and lists as YAML, lists of numbers on one line."""
    yaml = YAML()
    yaml.width = 10_000
    yaml.indent(mapping=2, sequence=4, offset=2)
    out = io.StringIO()
    yaml.dump(_flow(config), out)
    return out.getvalue()


def _flow(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: _flow(value) for key, value in node.items()}
    if not isinstance(node, list):
        return node
    items = CommentedSeq([_flow(item) for item in node])
    if all(isinstance(item, int | float) for item in node):
        items.fa.set_flow_style()
    return items
