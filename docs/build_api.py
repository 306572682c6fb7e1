"""Writes docs/api_reference.md from the server's OpenAPI document: `python docs/build_api.py`.

docs/api.md says what the API is for; this is every parameter and every field, and a test compares it with
what the server declares.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from evomerge.api.app import make_app
from evomerge.api.openapi import PREFIX
from evomerge.api.settings import ServerSettings
from evomerge.store import open_store

PAGE = Path(__file__).parent / "api_reference.md"
HEAD = """\
# API reference

Written by `python docs/build_api.py` from the OpenAPI document, which a server also gives itself
(`GET /api/v1/openapi.json`). What the routes are for, who may use them and how errors look is in
[the API](api.md). Everything is below `/api/v1`; the classes are those of `evomerge.wire`.
"""
Schema = dict[str, Any]


def document() -> Schema:
    """The OpenAPI document of a server on an empty store."""
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/store.db"
        open_store(url).close()
        app = make_app(url, ServerSettings())
        found: Schema = app.openapi()
        app.state.evomerge.store.close()
    return found


def page() -> str:
    """The whole page."""
    openapi = document()
    classes = openapi["components"]["schemas"]
    lines = [HEAD, "## Routes", ""]
    for path, methods in openapi["paths"].items():
        if path.startswith(PREFIX):
            for verb, operation in methods.items():
                lines += route(verb.upper(), path.removeprefix(PREFIX), operation)
    lines += ["## Classes", ""]
    for name in sorted(reachable(openapi, classes)):
        lines += section(name, classes[name])
    return "\n".join(lines)


def route(verb: str, path: str, operation: Schema) -> Iterator[str]:
    """One route: what it does, what it takes, what it gives."""
    yield from (
        f"### {verb} {path}",
        "",
        said(operation.get("description") or operation["summary"]),
        "",
    )
    given = operation.get("parameters", [])
    if given:
        yield from ("| Parameter | In | Type | |", "|---|---|---|---|")
        for one in given:
            text = said(one.get("description", ""))
            yield f"| `{one['name']}` | {one['in']} | {kind(one['schema'])} | {text} |"
        yield ""
    if body := operation.get("requestBody"):
        yield from (f"Body: {kind(content(body))}.", "")
    for status, answer in operation["responses"].items():
        if status < "300" and answer.get("content"):
            yield from (f"Answer {status}: {kind(content(answer))}.", "")


def section(name: str, schema: Schema) -> Iterator[str]:
    """One class and its fields."""
    yield from (f"### {name}", "")
    if schema.get("description"):
        yield from (said(schema["description"]), "")
    if "enum" in schema:
        yield from (f"One of {', '.join(f'`{value}`' for value in schema['enum'])}.", "")
    if fields := schema.get("properties"):
        yield from ("| Field | Type | Default | |", "|---|---|---|---|")
        for field, what in fields.items():
            default = (
                "–"
                if field in schema.get("required", ())
                else f"`{json.dumps(what.get('default'))}`"
            )
            text = said(what.get("description", ""))
            yield f"| `{field}` | {kind(what)} | {default} | {text} |"
        yield ""


def content(part: Schema) -> Schema:
    """The schema of a body or an answer; a text where it is no JSON."""
    media, found = next(iter(part["content"].items()))
    return found.get("schema") or {"type": media}


def kind(schema: Schema) -> str:
    """A type in words, classes as links."""
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[1]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(kind(arm) for arm in schema["anyOf"])
    if "enum" in schema:
        return " or ".join(f"`{value}`" for value in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {kind(schema.get('items', {}))}"
    if isinstance(schema.get("additionalProperties"), dict):
        return f"mapping to {kind(schema['additionalProperties'])}"
    return str(schema.get("type", "any")) + limits(schema)


def limits(schema: Schema) -> str:
    """What a number or a text may be."""
    words = {
        "minimum": "at least",
        "maximum": "at most",
        "exclusiveMinimum": "above",
        "exclusiveMaximum": "below",
        "maxLength": "letters at most",
    }
    found = [f"{word} {schema[key]}" for key, word in words.items() if key in schema]
    return f" ({', '.join(found)})" if found else ""


def reachable(openapi: Schema, classes: Schema) -> set[str]:
    """Names of the classes that routes below the API's prefix use, directly or within others."""
    todo = [path for name, path in openapi["paths"].items() if name.startswith(PREFIX)]
    found: set[str] = set()
    while todo:
        node = todo.pop()
        if isinstance(node, dict):
            name = node["$ref"].rsplit("/", 1)[1] if "$ref" in node else None
            if name and name not in found:
                found.add(name)
                todo.append(classes[name])
            todo += node.values()
        elif isinstance(node, list):
            todo += node
    return found


def said(text: str) -> str:
    """A docstring on one line of a table."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
