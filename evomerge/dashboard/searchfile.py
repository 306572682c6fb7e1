"""A search as a file again: what `evomerge run` would take to do the same once more."""

from typing import Any

from evomerge.merging.mergekit_yaml import dump_config
from evomerge.spec import SearchSpec
from evomerge.store.types import SearchRecord


def search_file(search: SearchRecord) -> str:
    """The search file as YAML, without what is the default anyway."""
    content = search.spec.model_dump(mode="json", exclude_defaults=True)
    ordered = {name: content[name] for name in SearchSpec.model_fields if name in content}
    return dump_config(_plain(ordered))


def _plain(node: Any) -> Any:
    """Without empty parts, which say nothing."""
    if isinstance(node, dict):
        return {key: _plain(value) for key, value in node.items() if value not in (None, {}, [])}
    return [_plain(item) for item in node] if isinstance(node, list) else node
