"""The honest words a user gets in place of an answer, or beside one.

Short, never blaming the user, saying what happens next, never showing a raw error. Chosen by the
user's language where it is known, else English; varied by message, so that a channel in trouble
does not read like a broken record. The words stand in `notices.toml`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from importlib import resources

LANGUAGES = ("en", "de", "fr", "es", "pt")

_TABLE = tomllib.loads(
    resources.files("llmbot.conversation.text").joinpath("notices.toml").read_text(encoding="utf-8")
)
_TEXTS: Mapping[str, Mapping[str, list[str]]] = _TABLE["notices"]
_REASONS: Mapping[str, Mapping[str, str]] = _TABLE["reasons"]
_UNITS: Mapping[str, list[str]] = _TABLE["units"]


def language_of(locale: str) -> str:
    """The language of a Discord locale such as `de` or `pt-BR`; English where it is not ours."""
    language = locale.split("-", 1)[0].lower()
    return language if language in LANGUAGES else "en"


def notice(key: str, locale: str = "", *, variant: int = 0, **values: str) -> str:
    """The words for a key in the user's language; `variant` chooses among several."""
    texts = _TEXTS[key].get(language_of(locale)) or _TEXTS[key]["en"]
    return texts[variant % len(texts)].format(**values)


def reason(code: str, locale: str = "") -> str:
    """Why a file was left out, as a phrase."""
    return _REASONS[code][language_of(locale)]


def span(seconds: float, locale: str = "") -> str:
    """A span of time for people, rounded up: 40 s, 5 min, 3 h."""
    per_unit = _UNITS[language_of(locale)]
    minute, hour = 60, 3600
    for size, text in ((hour, per_unit[2]), (minute, per_unit[1])):
        if seconds > size:
            return text.format(n=int(-(-seconds // size)))
    return per_unit[0].format(n=max(1, int(-(-seconds // 1))))


def keys() -> tuple[str, ...]:
    """All keys, for the test that every language has every notice."""
    return tuple(_TEXTS)


def languages_of(key: str) -> frozenset[str]:
    """The languages that a key is translated to."""
    return frozenset(_TEXTS[key])
