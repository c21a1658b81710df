"""Reads JSON as protobuf's JSON form, the way the live API's front door does.

Names are accepted in camelCase and snake_case, null means absent, a lone object may stand for a
list of one, numbers and booleans may be strings, bytes are base64 of either alphabet. Whatever
cannot be placed is collected and refused together in one 400, worded like the real one.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import orjson

from llmbot.simulators.gemini.errors import FieldViolation, bad_payload

_PAYLOAD = "Invalid JSON payload received."
_QUOTED_CHARS = 120  # of a wrong value in an error message
_UPPER = re.compile(r"(?<!^)([A-Z])")
_URLSAFE = bytes.maketrans(b"-_", b"+/")
_INT_LIMITS = {"INT32": 2**31, "INT64": 2**63}
_VIOLATIONS_MAX = 64


@dataclass(frozen=True, slots=True)
class Field:
    """One field: `type` is a protobuf type name, ANY, MESSAGE or ENUM."""

    type: str
    message: Message | None = None
    enum: frozenset[str] = frozenset()
    enum_name: str = ""
    repeated: bool = False
    mapped: bool = False


@dataclass(frozen=True, slots=True)
class Message:
    """A message: its fields by camelCase name, and at most one `oneof` among them."""

    fields: Mapping[str, Field]
    oneof: str = ""
    oneof_members: frozenset[str] = frozenset()


@cache
def snake(name: str) -> str:
    """The protobuf name of a camelCase JSON name."""
    return _UPPER.sub(r"_\1", name).lower()


@cache
def camel(name: str) -> str:
    """The JSON name of a protobuf name; a camelCase name stays as it is."""
    head, *rest = name.split("_")
    return head + "".join(part[:1].upper() + part[1:] for part in rest)


def read(message: Message, value: object) -> dict[str, Any]:
    """The payload with camelCase names and Python values.

    Bytes fields come back decoded, enums as upper-case names.

    Raises:
        GeminiError: 400 listing every unknown name and every value of a wrong type.
    """
    violations: list[FieldViolation] = []
    result = _message(message, value, "", violations)
    if violations:
        raise bad_payload(violations)
    return result


def _message(
    message: Message, value: object, path: str, violations: list[FieldViolation]
) -> dict[str, Any]:
    if not isinstance(value, dict):
        _wrong(path, "MESSAGE", value, violations)
        return {}
    result: dict[str, Any] = {}
    chosen = ""
    for given, item in value.items():
        name = given if given in message.fields else _known(message, given)
        if name is None:
            _unknown(path, given, violations)
            continue
        if item is None:
            continue
        if name in message.oneof_members:
            if chosen:
                _oneof(message.oneof, path, given, violations)
                continue
            chosen = name
        where = f"{path}.{snake(name)}" if path else snake(name)
        result[name] = _field(message.fields[name], item, where, violations)
    return result


def _known(message: Message, given: str) -> str | None:
    name = camel(given) if "_" in given and len(given) <= 64 else ""  # noqa: PLR2004  # no field is longer; keeps the cache small
    return name if name in message.fields and snake(name) == given else None


def _field(field: Field, value: object, path: str, violations: list[FieldViolation]) -> Any:
    if field.mapped:
        if not isinstance(value, dict):
            _wrong(path, "MAP", value, violations)
            return {}
        return {key: _single(field, item, path, violations) for key, item in value.items()}
    if not field.repeated:
        if isinstance(value, list) and field.type != "ANY":
            text = f'{_PAYLOAD} Unknown name "{path.rpartition(".")[2]}"'
            _add(violations, path, f"{text}: Proto field is not repeating, cannot start list.")
            return None
        return _single(field, value, path, violations)
    items = value if isinstance(value, list) else [value]
    return [
        _single(field, item, f"{path}[{index}]", violations) for index, item in enumerate(items)
    ]


def _single(field: Field, value: object, path: str, violations: list[FieldViolation]) -> Any:
    if field.type == "ANY":
        return value
    if field.message is not None:
        return _message(field.message, value, path, violations)
    if field.type == "ENUM":
        return _enum(field, value, path, violations)
    try:
        return _SCALARS[field.type](value)
    except binascii.Error:
        shown = str(value)[:_QUOTED_CHARS]
        text = f"Invalid value at '{path}' (TYPE_BYTES), Base64 decoding failed for \"{shown}\""
        _add(violations, path, text)
    except (ValueError, TypeError, OverflowError):
        _wrong(path, field.type, value, violations)
    return None


def _enum(field: Field, value: object, path: str, violations: list[FieldViolation]) -> str:
    name = value.upper().replace("-", "_") if isinstance(value, str) else ""
    if name not in field.enum:
        _wrong(path, field.enum_name, value, violations)
    return name


def _string(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _bool(value: object) -> bool:
    if isinstance(value, bool):
        return value
    if value in ("true", "false"):
        return value == "true"
    raise TypeError


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise TypeError
    number = float(value)
    if not math.isfinite(number):
        raise ValueError
    return number


def _int(value: object, limit: int) -> int:
    number = int(value) if isinstance(value, str) else _number(value)
    if number != int(number) or not -limit <= number < limit:
        raise ValueError
    return int(number)


def _bytes(value: object) -> bytes:
    raw = _string(value).encode("ascii").translate(_URLSAFE)
    return base64.b64decode(raw + b"=" * (-len(raw) % 4), validate=True)


_SCALARS = {
    "STRING": _string,
    "BOOL": _bool,
    "FLOAT": _number,
    "INT32": lambda value: _int(value, _INT_LIMITS["INT32"]),
    "INT64": lambda value: _int(value, _INT_LIMITS["INT64"]),
    "BYTES": _bytes,
}


def _unknown(path: str, name: str, violations: list[FieldViolation]) -> None:
    where = f" at '{path}'" if path else ""
    text = f'{_PAYLOAD} Unknown name "{name[:_QUOTED_CHARS]}"{where}: Cannot find field.'
    _add(violations, path, text)


def _oneof(oneof: str, path: str, name: str, violations: list[FieldViolation]) -> None:
    text = f"Invalid value at '{path}' (oneof), oneof field '{oneof}' is already set. "
    _add(violations, path, f"{text}Cannot set '{name}'")


def _wrong(path: str, type_name: str, value: object, violations: list[FieldViolation]) -> None:
    label = type_name if "." in type_name else f"TYPE_{type_name}"
    shown = orjson.dumps(value).decode()[:_QUOTED_CHARS]
    _add(violations, path, f"Invalid value at '{path}' ({label}), {shown}")


def _add(violations: list[FieldViolation], path: str, text: str) -> None:
    if len(violations) < _VIOLATIONS_MAX:
        violations.append(FieldViolation(path, text))
