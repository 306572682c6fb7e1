"""Several merges in one file, later ones made from earlier ones: as `mergekit-multi` has it.

Each YAML document is a configuration with a `name`; where another one names it as a model, its
result is meant. One document may go without a name: the final merge. Torch-free.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ruamel.yaml.comments import CommentedMap

from evomerge.errors import RecipeError, did_you_mean
from evomerge.hub import split_model
from evomerge.merging.mergekit_yaml import dump_config, dump_recipe, read_document, read_text
from evomerge.merging.yaml_nodes import parse_documents
from evomerge.merging.yaml_reader import Reader
from evomerge.recipe import Recipe, to_config

_NAME = re.compile(r"\w[\w .-]*")
_WORD = re.compile(r"[\w.-]+")


@dataclass(frozen=True)
class Document:
    """One merge of a file. `uses` are the names of the merges that it is made from."""

    name: str | None
    recipe: Recipe
    where: str
    uses: tuple[str, ...] = ()


def load_documents(path: Path) -> tuple[Document, ...]:
    """The merges of a file, each after those that it uses.

    Raises RecipeError or Problems naming file and line: also for circles, for names given twice and
    for models that are neither documents nor folders nor on the hub.
    """
    return read_documents(read_text(path), str(path), path.parent)


def read_documents(text: str, file: str, folder: Path) -> tuple[Document, ...]:
    """The same from `text`; relative paths of models start from here or from `folder`."""
    nodes = parse_documents(text, file)
    names = _names(nodes, file)
    documents = [
        _document(node, name, file, [n for n in names if n], folder, alone=len(nodes) == 1)
        for node, name in zip(nodes, names, strict=True)
    ]
    return _ordered(documents)


def _names(nodes: Sequence[CommentedMap], file: str) -> list[str | None]:
    reader = Reader(file)
    names: list[str | None] = []
    for node in nodes:
        name = reader.text(node, "name")
        if name is not None and not _NAME.fullmatch(name):
            remedy = "write letters, digits, - and _"
            raise reader.error(node, "name", f"{name!r} cannot name a folder", remedy)
        if name in names:
            what = f"the name {name!r} is taken" if name else "two documents have no name"
            remedy = "give each merge a name: line of its own"
            raise reader.error(node, "name" if name else None, what, remedy)
        names.append(name)
    return names


def _document(
    node: CommentedMap, name: str | None, file: str, names: list[str], folder: Path, *, alone: bool
) -> Document:
    reader = Reader(file)
    recipe = read_document(reader, node)
    where = reader.where(node, "name" if name else None)
    if alone:
        return Document(name, recipe, where)
    uses = {
        part: place
        for model, place in reader.references
        if not _is_folder(model, folder)
        for part in split_model(model, names.__contains__)
    }
    for part, place in uses.items():
        _check_reference(part, place, names, folder)
    return Document(name, recipe, where, tuple(part for part in uses if part in names))


def _check_reference(part: str, where: str, names: list[str], folder: Path) -> None:
    """Refuse words that are nothing: on the hub, models have an owner."""
    bare, at, _ = part.partition("@")
    if at and bare in names:
        raise RecipeError(
            f"{part!r}: a merge of this file has no revisions",
            where=where,
            remedy=f"write {bare}",
        )
    known = part in names or _is_folder(part, folder)
    if not known and _WORD.fullmatch(bare):
        raise RecipeError(
            f"{part!r} is neither a merge of this file nor a folder",
            where=where,
            remedy=f"{did_you_mean(part, names)}; a model of the hub is OWNER/NAME",
        )


def _is_folder(name: str, home: Path) -> bool:
    return Path(name).is_dir() or (home / name).is_dir()


def _ordered(documents: Sequence[Document]) -> tuple[Document, ...]:
    by_name = {document.name: document for document in documents}
    done: dict[str | None, Document] = {}

    def visit(document: Document, above: tuple[str, ...]) -> None:
        if document.name in done:
            return
        if document.name in above:
            circle = [*above[above.index(document.name) :], document.name]
            raise RecipeError(
                f"merges are made from each other in a circle: {' → '.join(circle)}",
                where=document.where,
                remedy="let each merge use earlier ones only",
            )
        for name in document.uses:
            visit(by_name[name], (*above, document.name) if document.name else above)
        done[document.name] = document

    for document in documents:
        visit(document, ())
    return tuple(done.values())


def results_of(documents: Sequence[Document]) -> tuple[Document, ...]:
    """The merges that no other one uses. Raises RecipeError where one of several has no name."""
    used = {name for document in documents for name in document.uses}
    results = tuple(document for document in documents if document.name not in used)
    unnamed = [document for document in results if document.name is None]
    if unnamed and len(results) > 1:
        raise RecipeError(
            f"{len(results)} merges are final, and this one has no name for its folder",
            where=unnamed[0].where,
            remedy="give it a name, or use the others' results in it",
        )
    return results


def dump_with_origin(document: Document, by_name: Mapping[str | None, Document]) -> str:
    """A merge's YAML, preceded by that of every merge it is made from; reads back as a file."""
    chain = list(dict.fromkeys(_origin(document, by_name)))
    if len(chain) == 1:
        return dump_recipe(document.recipe)
    texts = [
        dump_config({**({"name": one.name} if one.name else {}), **to_config(one.recipe)})
        for one in (by_name[name] for name in chain)
    ]
    return "---\n".join(texts)


def _origin(document: Document, by_name: Mapping[str | None, Document]) -> Iterator[str | None]:
    for name in document.uses:
        yield from _origin(by_name[name], by_name)
    yield document.name
