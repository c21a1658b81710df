"""The honest words: in every language, never raw, never blaming."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmbot.conversation.text.notices import (
    LANGUAGES,
    keys,
    language_of,
    languages_of,
    notice,
    span,
)
from llmbot.kernel import errors


@pytest.mark.parametrize("key", keys())
def test_every_notice_is_in_every_language(key: str) -> None:
    """No user meets a notice that is missing in a language we claim to speak."""
    assert languages_of(key) == frozenset(LANGUAGES)
    for language in LANGUAGES:
        text = notice(key, language, wait="1 min", name="x", reason="y")
        assert text.strip()
        assert "{" not in text


def test_every_refusal_has_its_words() -> None:
    """Each error that a user may meet names a notice that exists."""
    found = [
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.RefusedError)
    ]
    assert len(found) > 5
    assert {kind.notice for kind in found} <= set(keys())


def test_locales_choose_the_language() -> None:
    """Discord's locales are understood; an unknown one gets English."""
    assert language_of("pt-BR") == "pt"
    assert language_of("de") == "de"
    assert language_of("es-419") == "es"
    assert language_of("ja") == "en"
    assert language_of("") == "en"


def test_notices_take_turns() -> None:
    """A channel in trouble does not read the same sentence each time."""
    assert notice("waiting", variant=0) != notice("waiting", variant=1)


@given(st.floats(0.001, 10**6))
def test_spans_are_never_too_short(seconds: float) -> None:
    """A wait that is told to a user is rounded up."""
    number, unit = span(seconds).split()
    size = {"s": 1, "min": 60, "h": 3600}[unit]
    assert int(number) * size >= seconds
    assert (int(number) - 1) * size < seconds
