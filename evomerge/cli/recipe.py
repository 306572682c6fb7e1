"""`recipe show`, `convert`, `diff`: to look at recipes, in files and in the store."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from evomerge.cli.exits import FAILED
from evomerge.cli.options import FormatOption, StoreOption
from evomerge.cli.output import BestFormat, Format, note, print_json, print_table, stdout
from evomerge.errors import UsageError

if TYPE_CHECKING:
    from evomerge.recipe import Recipe

recipes = typer.Typer(help="Recipes, in files and in the store: look at them, convert, compare.")
_WHAT = "A file, a merged model's folder, or a candidate as for `export`."
RecipeArgument = Annotated[str, typer.Argument(metavar="RECIPE", help=_WHAT)]


@recipes.command("show")
def show(
    recipe: RecipeArgument,
    store: StoreOption = None,
    format: Annotated[BestFormat, typer.Option("--format")] = BestFormat.TABLE,
) -> None:
    """Print a recipe: its method, its models, and every parameter by place, layers and tensors."""
    found = _read(recipe, store)
    if format is BestFormat.TABLE:
        _print(found)
    elif format is BestFormat.YAML:
        _print_text(_yaml(found))
    else:
        from evomerge.recipe import to_config

        print_json({"recipe_id": found.recipe_id, "recipe": to_config(found)})


@recipes.command("convert")
def convert(
    recipe: RecipeArgument,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE", help="Default: stdout.")
    ] = None,
    to: Annotated[BestFormat, typer.Option("--format")] = BestFormat.YAML,
    store: StoreOption = None,
) -> None:
    """Write a recipe in the one normal form: as mergekit YAML, or as JSON."""
    if to is BestFormat.TABLE:
        raise UsageError("a table cannot be read back", where="--format", remedy="yaml or json")
    found = _sorted(_read(recipe, store))
    text = _yaml(found) if to is BestFormat.YAML else found.canonical_json() + "\n"
    if out is None:
        _print_text(text)
        return
    if out.exists():
        raise UsageError("exists already", where=str(out), remedy="choose another name")
    out.write_text(text, encoding="utf-8")
    note(f"{out} holds recipe {found.recipe_id}")


@recipes.command("diff")
def diff(
    first: RecipeArgument,
    second: RecipeArgument,
    store: StoreOption = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """Compare two recipes; exit code 0 where they are equal, 1 where they differ."""
    from evomerge.merging.describe import differences

    found = differences(_read(first, store), _read(second, store))
    if format is Format.JSON:
        rows = [{"what": d.what, "first": d.first, "second": d.second} for d in found]
        print_json({"equal": not found, "differences": rows})
    elif found:
        print_table(["", first, second], found)
    else:
        note("the recipes are equal")
    if found:
        raise typer.Exit(FAILED)


def _read(name: str, store: str | None) -> "Recipe":
    """The recipe of a file, of a merged model's folder, or of a candidate."""
    from evomerge.merging.recipe_files import load_any_recipe

    path = Path(name)
    if path.exists():
        return load_any_recipe(path)
    if path.suffix in {".yml", ".yaml", ".json"} or len(path.parts) > 1:
        raise UsageError("no such file", where=name, remedy="check the path")
    from evomerge.cli.stores import store_at
    from evomerge.export.candidates import find_candidate

    with store_at(store) as opened:
        return find_candidate(opened, name).recipe


def _print(recipe: "Recipe") -> None:
    from evomerge.merging.describe import head_of, lines_of, value_text

    print_table(["recipe", recipe.recipe_id], head_of(recipe).items())
    stdout().print()
    rows = [
        (x.place, x.model or "all models", x.layers, x.parameter, x.tensors, value_text(x.value))
        for x in lines_of(recipe)
    ]
    columns = ("in", "model", "layers", "parameter", "tensors", "value")
    kept = [i for i, _ in enumerate(columns) if any(row[i] not in {"", "all"} for row in rows)]
    print_table([columns[i] for i in kept], [[row[i] for i in kept] for row in rows])


def _sorted(recipe: "Recipe") -> "Recipe":
    """The same with parameters, modules and tokens in the order of their names."""
    return type(recipe).model_validate_json(recipe.canonical_json())


def _yaml(recipe: "Recipe") -> str:
    from evomerge.merging.mergekit_yaml import dump_recipe

    return dump_recipe(recipe)


def _print_text(text: str) -> None:
    # Not through rich, which makes pictures of `:x:`.
    sys.stdout.write(text)
    sys.stdout.flush()
