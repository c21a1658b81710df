"""Every action of the API as the page offers it, read off the API's own description.

The page keeps no list of its own: what the API learns to do, the page offers, with the same words,
the same warning and the same fields.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from llmbot.console.actions import ADMIN_ACTIONS
from llmbot.console.gate.permits import needed_role

__all__ = ["Known", "offers_of"]

Known = Callable[[str], Sequence[str]]
"""The names that a target of a kind may have now."""

_IN_PATH = re.compile(r"\{(\w+)\}")
_KINDS = {f"/api/admin/{spec.name}": spec.target for spec in ADMIN_ACTIONS if spec.target}
_TYPES = {
    "integer": "number",
    "number": "number",
    "boolean": "flag",
    "object": "pairs",
    "array": "list",
}

Schema = Mapping[str, Any]


def offers_of(api: Schema, known: Known) -> list[dict[str, object]]:
    """The actions of an OpenAPI document, in its order; `known` names what they can be done to."""
    return [
        {
            "path": path,
            "what": operation.get("summary", ""),
            "harm": operation.get("description", ""),
            "role": int(needed_role("POST", path)),
            "targets": [
                {"name": name, "choices": list(known(_kind(path)))}
                for name in _IN_PATH.findall(path)
            ],
            "fields": list(_fields(api, operation)),
        }
        for path, operations in api["paths"].items()
        if (operation := operations.get("post")) is not None
    ]


def _kind(path: str) -> str:
    return _KINDS.get(path.partition("/{")[0], "")


def _fields(api: Schema, operation: Schema) -> Iterator[dict[str, object]]:
    """The fields of a request's body, as far as a form needs to know them."""
    content = operation.get("requestBody", {}).get("content", {})
    body = _resolved(api, content.get("application/json", {}).get("schema", {}))
    required = body.get("required", ())
    for name, told in body.get("properties", {}).items():
        schema = _resolved(api, told)
        yield {
            "name": name,
            "type": _type(schema),
            "choices": list(schema.get("enum", ())),
            "required": name in required,
            "hint": schema.get("description", ""),
            "preset": told.get("default"),
            "longest": schema.get("maxLength"),
        }


def _type(schema: Schema) -> str:
    if "enum" in schema:
        return "choice"
    if schema.get("format") == "date-time":
        return "time"
    return _TYPES.get(schema.get("type", ""), "text")


def _resolved(api: Schema, schema: Schema) -> Schema:
    """What a schema says, without its detours by name and by "this or null"."""
    for choice in schema.get("anyOf", ()):
        if choice.get("type") != "null":
            return {**schema, **_resolved(api, choice)}
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        found: Schema = api["components"]["schemas"][name]
        return found
    return schema
