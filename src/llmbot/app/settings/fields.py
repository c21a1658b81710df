"""How one setting is declared and read: its flat name, its unit, its range, its reason."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin
from urllib.parse import urlsplit

import annotated_types
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr
from pydantic.config import JsonDict
from pydantic.fields import FieldInfo

SNOWFLAKE_LIMIT = 2**64
"""Discord's ids are unsigned 64-bit numbers. Source: Discord API reference, "Snowflakes"."""


class Group(BaseModel):
    """What every group of settings is: frozen, closed, its defaults checked like all else."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, hide_input_in_errors=True
    )


def setting(
    env: str,
    default: Any,
    *,
    what: str,
    reason: str,
    unit: str = "",
    alias: str = "",
    **limits: Any,
) -> Any:
    """Declare a setting; `default` is spelled as it would be in the environment.

    Args:
        env: its name in the environment and in `.env`.
        default: the value where none is given.
        what: what it sets, one line.
        reason: why the default is what it is, one line.
        unit: of the number, where the value is one.
        alias: a second name that is understood as well; the first wins.
        limits: pydantic's constraints (`ge`, `le`, `min_length` and so on).
    """
    extra: JsonDict = {"env": env, "reason": reason, "unit": unit, "alias": alias}
    return Field(default, description=what, json_schema_extra=extra, **limits)


@dataclass(frozen=True, slots=True)
class SettingFacts:
    """What is known of one setting; for reading it, for `.env.example` and for the docs."""

    env: str
    alias: str
    path: tuple[str, ...]
    what: str
    reason: str
    unit: str
    allowed: str
    default: str
    secret: bool


@cache
def settings_of(model: type[BaseModel], path: tuple[str, ...] = ()) -> tuple[SettingFacts, ...]:
    """Every setting below a group, in the order of declaration."""
    found: list[SettingFacts] = []
    for name, info in model.model_fields.items():
        kind = info.annotation
        if isinstance(kind, type) and issubclass(kind, Group):
            found += settings_of(kind, (*path, name))
        elif isinstance(info.json_schema_extra, dict) and "env" in info.json_schema_extra:
            found.append(_facts(info, (*path, name)))
    return tuple(found)


def _facts(info: FieldInfo, path: tuple[str, ...]) -> SettingFacts:
    extra = info.json_schema_extra
    if not isinstance(extra, dict):
        raise TypeError(f"{'.'.join(path)} is not declared with setting()")
    return SettingFacts(
        env=str(extra["env"]),
        alias=str(extra["alias"]),
        path=path,
        what=info.description or "",
        reason=str(extra["reason"]),
        unit=str(extra["unit"]),
        allowed=_allowed(info),
        default=_spelled(info.default),
        secret=info.annotation is SecretStr,
    )


def _spelled(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)


def _allowed(info: FieldInfo) -> str:
    """The range in words; from the constraints, so that it cannot differ from what is checked."""
    kind = info.annotation
    if get_origin(kind) is Literal:
        return ", ".join(str(word) for word in get_args(kind))
    if kind is bool:
        return "true or false"
    low = high = ""
    for rule in reversed(info.metadata):
        if isinstance(rule, annotated_types.Ge):
            low = f"{rule.ge}"
        elif isinstance(rule, annotated_types.Gt):
            low = f"above {rule.gt}"
        elif isinstance(rule, annotated_types.Le):
            high = f"{rule.le}"
        elif isinstance(rule, annotated_types.MaxLen):
            high = high or f"{rule.max_length}"
        elif isinstance(rule, SpelledRange):
            return rule.words
    if low and high:
        return f"{low} to {high}"
    return f"up to {high}" if high else low and f"{low} or more"


@dataclass(frozen=True, slots=True)
class SpelledRange:
    """The range of a value that is no plain number, in words for the docs."""

    words: str


def _parts(text: str) -> tuple[str, ...]:
    return tuple(part for part in (piece.strip() for piece in text.split(",")) if part)


def _split(value: object) -> object:
    return _parts(value) if isinstance(value, str) else value


def _prices(value: object) -> object:
    """`name=in/out` for each model, with commas between."""
    if not isinstance(value, str):
        return value
    found = []
    for piece in _parts(value):
        match = re.fullmatch(r"([^=\s]+)=(\d+(?:\.\d+)?)/(\d+(?:\.\d+)?)", piece)
        if match is None:
            raise ValueError("must be like gemini-3.8-flash=0.3/2.5, with commas between")
        found.append((match[1], (float(match[2]), float(match[3]))))
    return tuple(found)


def _whole_address(value: str) -> str:
    address = urlsplit(value)
    if address.scheme not in {"http", "https"} or not address.hostname:
        raise ValueError("must be a whole address that begins with http:// or https://")
    if address.query or address.fragment:
        raise ValueError("must have no ? or # part")
    return value.rstrip("/")


def _database_address(value: str) -> str:
    if value and not re.match(r"sqlite:///.|postgres(ql)?://.", value):
        raise ValueError("must begin with sqlite:/// or postgresql://")
    return value


def _one_word(value: str) -> str:
    if any(character.isspace() or not character.isprintable() for character in value):
        raise ValueError("must have no spaces or line breaks inside")
    return value


def _secret_word(value: SecretStr) -> SecretStr:
    _one_word(value.get_secret_value())
    return value


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def _host(value: str) -> str:
    if not value or "/" in value or value != value.strip():
        raise ValueError("must be a host name or an IP address, without http:// and without a port")
    return value.strip("[]").lower()


def _directory(value: Path) -> Path:
    try:
        is_other = value.exists() and not value.is_dir()
    except (OSError, ValueError) as error:
        raise ValueError(f"is no path: {getattr(error, 'strerror', None) or error}") from None
    if is_other:
        raise ValueError("must be a directory, and a file is there")
    return value


class Persona(BaseModel):
    """A character that the bot can take on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1, max_length=32, pattern=r"^[\w -]+$")
    instructions: str = Field(min_length=1, max_length=8000)


def _personas(value: object) -> object:
    """JSON with names and instructions, or the name of a file that holds it."""
    if not isinstance(value, str):
        return value
    text = value.strip()
    if not text:
        return ()
    if not text.startswith("{"):
        try:
            text = Path(text).read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            words = getattr(error, "strerror", None) or "no UTF-8"
            raise ValueError(f"must be JSON or a readable file: {words}") from None
    try:
        table = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"is not JSON: {error}") from None
    if not isinstance(table, dict):
        raise ValueError('must be JSON like {"pirate": "You talk like a pirate."}')  # noqa: TRY004 - pydantic reports ValueError, a TypeError would escape
    return tuple({"name": name, "instructions": words} for name, words in table.items())


Address = Annotated[str, AfterValidator(_whole_address), SpelledRange("an http or https address")]
DatabaseAddress = Annotated[
    str,
    AfterValidator(_database_address),
    SpelledRange("sqlite:///PATH or postgresql://USER:PASSWORD@HOST/NAME"),
]
Secret = Annotated[SecretStr, AfterValidator(_secret_word)]
Names = Annotated[tuple[str, ...], BeforeValidator(_split), SpelledRange("names, with commas")]
Prices = Annotated[
    tuple[tuple[str, tuple[float, float]], ...],
    BeforeValidator(_prices),
    SpelledRange("NAME=IN/OUT, with commas"),
]
Hosts = Annotated[
    tuple[Annotated[str, AfterValidator(str.lower)], ...],
    BeforeValidator(_split),
    SpelledRange("host or host:port, with commas"),
]
Host = Annotated[str, AfterValidator(_host), SpelledRange("a host name or an IP address")]
Snowflake = Annotated[
    int, Field(ge=0, lt=SNOWFLAKE_LIMIT), SpelledRange("a Discord id; 0 means none")
]
Snowflakes = Annotated[
    tuple[Annotated[int, Field(gt=0, lt=SNOWFLAKE_LIMIT)], ...],
    BeforeValidator(_split),
    SpelledRange("Discord ids, with commas"),
]
Directory = Annotated[Path, AfterValidator(_directory), SpelledRange("a directory")]
LogLevel = Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_lower)]
Personas = Annotated[
    tuple[Persona, ...], BeforeValidator(_personas), SpelledRange("JSON or the path of a file")
]
