"""Reads the JSON bodies of the control API and names the field that is wrong."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import web

_BODY_BYTES_MAX = 4 * 1024 * 1024


class BadBodyError(Exception):
    """A body of the control API that cannot be read; `field` says where."""

    def __init__(self, field_name: str, rule: str) -> None:
        """`field_name` is empty for the body as a whole."""
        super().__init__(f"{field_name or 'body'}: {rule}")
        self.field = field_name
        self.rule = rule

    def response(self, status: int = 400) -> web.Response:
        """The error as the control API answers it."""
        return error_response(status, str(self), field_name=self.field)


def error_response(status: int, message: str, *, field_name: str = "") -> web.Response:
    """`{"error": {"message", "field"}}`."""
    error = {"message": message, **({"field": field_name} if field_name else {})}
    return web.json_response({"error": error}, status=status)


async def read_json(request: web.Request) -> object:
    """The JSON value of a request; an empty body is an empty object.

    Raises:
        BadBodyError: too long, or no JSON.
    """
    body = await request.read()
    if len(body) > _BODY_BYTES_MAX:
        raise BadBodyError("", f"must be at most {_BODY_BYTES_MAX} bytes")
    if not body.strip():
        return {}
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadBodyError("", f"is not JSON: {error.msg}") from error


@dataclass(slots=True)
class Fields:
    """The members of one object, taken one by one; what is left at the end is unknown."""

    values: dict[str, Any]
    prefix: str = ""
    known: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, body: object, prefix: str = "") -> Fields:
        """Begin to read an object.

        Raises:
            BadBodyError: it is no object.
        """
        if not isinstance(body, dict):
            raise BadBodyError(prefix, "must be an object")
        return cls(dict(body), prefix)

    def path(self, name: str) -> str:
        """The full name of a member."""
        return f"{self.prefix}.{name}" if self.prefix else name

    def take(self, name: str, default: Any = None) -> Any:
        """A member as it is."""
        self.known.append(name)
        return self.values.pop(name, default)

    def string(self, name: str, default: str) -> str:
        """A string member.

        Raises:
            BadBodyError: it is something else.
        """
        value = self.take(name, default)
        if not isinstance(value, str):
            raise BadBodyError(self.path(name), "must be a string")
        return value

    def choice(self, name: str, choices: tuple[str, ...], default: str) -> str:
        """A string member out of a few.

        Raises:
            BadBodyError: it is something else.
        """
        value = self.string(name, default)
        if value not in choices:
            raise BadBodyError(self.path(name), f"must be one of {', '.join(choices)}")
        return value

    def number(self, name: str, default: float, *, least: float, most: float) -> float:
        """A number within limits, both included.

        Raises:
            BadBodyError: it is something else.
        """
        value = self.optional_number(name, least=least, most=most)
        return default if value is None else value

    def optional_number(self, name: str, *, least: float, most: float) -> float | None:
        """A number within limits, or None where it is absent or null.

        Raises:
            BadBodyError: it is something else.
        """
        value = self.take(name)
        if value is None:
            return None
        real = isinstance(value, int | float) and not isinstance(value, bool)
        if not real or not math.isfinite(value) or not least <= value <= most:
            raise BadBodyError(self.path(name), f"must be a number from {least:g} to {most:g}")
        return float(value)

    def objects(self, name: str, *, most: int) -> list[Fields]:
        """A list of objects.

        Raises:
            BadBodyError: it is something else, or too long.
        """
        value = self.take(name)
        if not isinstance(value, list) or len(value) > most:
            raise BadBodyError(self.path(name), f"must be a list of at most {most}")
        return [Fields.of(item, f"{self.path(name)}[{n}]") for n, item in enumerate(value)]

    def done(self) -> None:
        """Check that nothing is left.

        Raises:
            BadBodyError: an unknown member.
        """
        for name in self.values:
            raise BadBodyError(self.path(name), f"is unknown; known: {', '.join(self.known)}")
