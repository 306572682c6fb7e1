"""YAML text as trees that know their lines: what every reader of mergekit's grammar is built on.

Each refusal names the file, the line and what to write instead.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from evomerge.errors import RecipeError, did_you_mean


def parse_documents(text: str, file: str) -> list[CommentedMap]:
    """The documents of a YAML file, each a mapping; empty ones are left out.

    Raises RecipeError where it is not YAML, or holds something else.
    """
    try:
        documents = [node for node in YAML().load_all(text) if node is not None]
    except MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"{file}:{mark.line + 1}" if mark else file
        raise RecipeError(
            f"not valid YAML: {error.problem}", where=where, remedy="check indentation and quotes"
        ) from error
    except YAMLError as error:
        raise RecipeError(f"not valid YAML: {error}", where=file) from error
    for node in documents:
        if not isinstance(node, CommentedMap):
            raise _no_mapping(file)
    if not documents:
        raise _no_mapping(file)
    return documents


def _no_mapping(file: str) -> RecipeError:
    return RecipeError(
        "holds no mapping; a merge configuration is one mapping",
        where=file,
        remedy="write merge_method: ties, and so on",
    )


class Nodes:
    """Takes values out of a tree; what does not fit is refused with its line."""

    def __init__(self, file: str) -> None:
        self.file = file

    def text(self, node: Mapping[str, Any], key: str) -> str | None:
        """The text at `key`, or None."""
        value = node.get(key)
        if value is not None and not isinstance(value, str):
            raise self.error(node, key, f"{key} is {value!r}", "write it as text")
        return value

    def whole(self, node: Mapping[str, Any], key: str, least: int) -> int | None:
        """The whole number at `key`, or None."""
        value = node.get(key)
        if value is None:
            return None
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            remedy = f"write a whole number, at least {least}"
            raise self.error(node, key, f"{key} is {value!r}", remedy)
        return int(value)

    def mapping(self, node: Mapping[str, Any], key: str, example: str) -> CommentedMap:
        """The mapping at `key`, which is there."""
        value = node[key]
        if not isinstance(value, CommentedMap):
            raise self.error(node, key, f"{key} is not a mapping", f"write {example}")
        return value

    def maps(
        self, node: Mapping[str, Any], key: str, known: Sequence[str]
    ) -> Iterator[CommentedMap]:
        """The mappings of the list at `key`, whose keys are checked."""
        entries = node.get(key)
        if not isinstance(entries, list) or not entries:
            raise self.error(node, key, f"{key} is not a list of mappings", f"write {key}: [...]")
        for entry in entries:
            if not isinstance(entry, CommentedMap):
                raise self.error(node, key, f"{key} has the entry {entry!r}", "write - model: PATH")
            self.known(entry, known)
            yield entry

    def known(self, node: Mapping[str, Any], known: Sequence[str]) -> None:
        """Refuse keys that are not among `known`."""
        for key in node:
            if key not in known:
                remedy = did_you_mean(str(key), list(known))
                raise self.error(node, key, f"unknown key {key!r}", remedy)

    def refuse(self, node: Mapping[str, Any], key: str, why: str, remedy: str) -> None:
        """Refuse a key that mergekit knows and evomerge does not."""
        if node.get(key) is not None:
            raise self.error(node, key, f"{key}: {why}", remedy)

    def error(self, node: Any, key: Any, message: str, remedy: str) -> RecipeError:
        """A refusal of `key` of `node`; of the node itself where key is None."""
        return RecipeError(message, where=self.where(node, key), remedy=remedy)

    def where(self, node: Any, key: Any) -> str:
        """File and line of `key` of `node`."""
        marks = getattr(node, "lc", None)
        if marks is None:
            return self.file
        line = marks.key(key)[0] if marks.data and key in marks.data else marks.line
        return f"{self.file}:{line + 1}"
