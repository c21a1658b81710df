"""Answers in JSON mode: a value that fits the schema of the request."""

from __future__ import annotations

from typing import Any

import orjson

_DEPTH_MAX = 12


def as_json(text: str, schema: object) -> str:
    """The answer's text as JSON; without a schema an object with one member."""
    value = {"answer": text} if not isinstance(schema, dict) else _value(schema, text, 0)
    return orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()


def _value(schema: dict[str, Any], text: str, depth: int) -> Any:
    if depth > _DEPTH_MAX:
        return None
    if choices := schema.get("enum"):
        return choices[0]
    branches = schema.get("anyOf") or schema.get("any_of")
    if branches:
        return _value(branches[0], text, depth + 1)
    kind = str(schema.get("type", "object")).lower()
    if kind == "object":
        members: dict[str, Any] = schema.get("properties") or {}
        return {name: _value(member, text, depth + 1) for name, member in members.items()}
    if kind == "array":
        return [_value(schema.get("items") or {"type": "string"}, text, depth + 1)]
    simple: dict[str, Any] = {"string": text, "integer": 42, "number": 4.2, "boolean": True}
    return simple.get(kind)
