"""Checks of JSON bodies that answer as Discord does: a tree of what is wrong, field by field.

Fields that are not named are tolerated, as Discord tolerates them; wrong types are not.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

from llmbot.simulators.discord.errors import ErrorTree, invalid_form, leaf

Check = Callable[[Any], ErrorTree | None]

_SNOWFLAKE_MAX = (1 << 64) - 1


def text(
    *, longest: int | None = None, shortest: int = 0, pattern: re.Pattern[str] | None = None
) -> Check:
    """A string within lengths counted in code points."""

    def check(value: Any) -> ErrorTree | None:
        if not isinstance(value, str):
            return leaf("STRING_TYPE_CONVERT", f'Could not interpret "{value!r:.50}" as string.')
        if longest is not None and len(value) > longest:
            if shortest:
                words = f"Must be between {shortest} and {longest} in length."
                return leaf("BASE_TYPE_BAD_LENGTH", words)
            return leaf("BASE_TYPE_MAX_LENGTH", f"Must be {longest} or fewer in length.")
        if len(value) < shortest:
            words = f"Must be between {shortest} and {longest} in length."
            return leaf("BASE_TYPE_BAD_LENGTH", words)
        if pattern is not None and not pattern.fullmatch(value):
            return leaf("STRING_TYPE_REGEX", "String value did not match validation regex.")
        return None

    return check


def integer(least: int | None = None, greatest: int | None = None) -> Check:
    """A whole number; digits in a string are understood too."""

    def check(value: Any) -> ErrorTree | None:
        number = _as_int(value)
        if number is None:
            return leaf("NUMBER_TYPE_COERCE", f'Value "{value!r:.50}" is not int.')
        if least is not None and number < least:
            words = f"int value should be greater than or equal to {least}."
            return leaf("NUMBER_TYPE_MIN", words)
        if greatest is not None and number > greatest:
            return leaf("NUMBER_TYPE_MAX", f"int value should be less than or equal to {greatest}.")
        return None

    return check


def number() -> Check:
    """Any number."""

    def check(value: Any) -> ErrorTree | None:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return leaf("NUMBER_TYPE_COERCE", f'Value "{value!r:.50}" is not float.')
        return None

    return check


def boolean() -> Check:
    """True or false."""

    def check(value: Any) -> ErrorTree | None:
        if not isinstance(value, bool):
            return leaf("BOOLEAN_TYPE_CONVERT", "Must be either true or false.")
        return None

    return check


def snowflake() -> Check:
    """An id, as digits in a string or as a number."""

    def check(value: Any) -> ErrorTree | None:
        number = _as_int(value)
        if number is None or not 0 <= number <= _SNOWFLAKE_MAX:
            return leaf("NUMBER_TYPE_COERCE", f'Value "{value!r:.50}" is not snowflake.')
        return None

    return check


def choice(values: Collection[Any]) -> Check:
    """One of a few values."""

    def check(value: Any) -> ErrorTree | None:
        if isinstance(value, (bool, list, dict)) or value not in values:
            allowed = ", ".join(repr(each) for each in values)
            return leaf("BASE_TYPE_CHOICES", f"Value must be one of ({allowed}).")
        return None

    return check


def items(each: Check, *, most: int | None = None) -> Check:
    """A list of things of one kind."""

    def check(value: Any) -> ErrorTree | None:
        if not isinstance(value, list):
            return leaf("LIST_TYPE_CONVERT", "Only iterables may be used in a ListType")
        if most is not None and len(value) > most:
            return leaf("BASE_TYPE_MAX_LENGTH", f"Must be {most} or fewer in length.")
        errors: ErrorTree = {}
        for index, item in enumerate(value):
            wrong = each(item)
            if wrong is not None:
                errors[str(index)] = wrong
        return errors or None

    return check


def anything() -> Check:
    """Any JSON value; for what the simulator stores and does not look into."""
    return lambda _value: None


def mapping() -> Check:
    """Any JSON object."""
    return shape({})


def any_of(*checks: Check) -> Check:
    """What any of the checks accepts; the last one's words otherwise."""

    def check(value: Any) -> ErrorTree | None:
        wrong = None
        for each in checks:
            wrong = each(value)
            if wrong is None:
                return None
        return wrong

    return check


def shape(
    fields: Mapping[str, Check], *, required: Collection[str] = (), solid: Collection[str] = ()
) -> Check:
    """An object with fields; null counts as absent.

    Args:
        fields: the check of each field that is known.
        required: which must be there and not null.
        solid: which may be absent but not null.
    """

    def check(value: Any) -> ErrorTree | None:
        if not isinstance(value, dict):
            words = "Only dictionaries may be used in a ModelType"
            return leaf("MODEL_TYPE_CONVERT", words)
        errors: ErrorTree = {}
        for name in required:
            if value.get(name) is None:
                errors[name] = leaf("BASE_TYPE_REQUIRED", "This field is required")
        for name in solid:
            if name in value and value[name] is None:
                errors[name] = leaf("BASE_TYPE_REQUIRED", "This field is required")
        for name, field_check in fields.items():
            found = value.get(name)
            wrong = None if found is None else field_check(found)
            if wrong is not None:
                errors[name] = wrong
        return errors or None

    return check


def require(check: Check, body: Any) -> None:
    """Refuse a body that a check finds wrong.

    Raises:
        ApiError: 50035 with the tree of what is wrong.
    """
    wrong = check(body)
    if wrong is not None:
        raise invalid_form(wrong)


def _as_int(value: Any) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, str) and value.isascii() and value.isdecimal():
        return int(value)
    return None
