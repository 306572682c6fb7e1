"""Python blocks of the documentation: run where they can be, else compiled with their names looked up."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path
from typing import Any

from tests.docs.blocks import Block


def run(block: Block) -> dict[str, Any]:
    """What the block has defined after it ran by itself."""
    names: dict[str, Any] = {"__name__": "documentation"}
    exec(compile(block.text, block.where, "exec"), names)
    return names


def missing_names(block: Block) -> list[str]:
    """What a block imports, or reaches through a module, and what is not there."""
    tree = ast.parse(block.text, block.where)
    modules: dict[str, Any] = {}
    missing: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for name in node.names:
                modules[name.asname or name.name.split(".")[0]] = importlib.import_module(name.name)
        elif isinstance(node, ast.ImportFrom) and node.module:
            module = importlib.import_module(node.module)
            missing += [
                f"{node.module}.{n.name}" for n in node.names if not hasattr(module, n.name)
            ]
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            owner = modules.get(node.value.id)
            if owner is not None and not hasattr(owner, node.attr):
                missing.append(f"{node.value.id}.{node.attr}")
    return missing


def entry_point_complaints(block: Block, pages: dict[Path, dict[str, Any]]) -> list[str]:
    """Entry points of a TOML block that name nothing which the Python of the same page defines."""
    import tomllib

    groups = tomllib.loads(block.text).get("project", {}).get("entry-points", {})
    defined = pages.get(block.page, {})
    return [
        f"{block.where}: {target} is not on this page"
        for points in groups.values()
        for target in points.values()
        if target.split(":")[1] not in defined
    ]
