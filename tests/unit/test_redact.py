"""Secrets are scrubbed by shape and by value, and nothing else is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmbot.kernel.redact import MASK, SCRUB_LENGTH_MAX, Redactor

SECRETS = [
    "MTA1NzM4Njk0OTU4NDQ5MDQ5Ng.GxYzAb.abcdefghijklmnopqrstuvwxyz0123456789AB",
    "mfa." + "a" * 84,
    "AIza" + "S" * 35,
    "AQ." + "Ab8RN6" * 8,
    "sk-proj-" + "a1" * 20,
]


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("around", ["{}", "Key {} refused", '{{"key":"{}"}}', "x={};", "({})"])
def test_known_shapes(secret: str, around: str) -> None:
    """A secret of a known shape is masked wherever it stands."""
    scrubbed = Redactor().scrub(around.format(secret))
    assert secret not in scrubbed
    assert MASK in scrubbed


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("https://discord.com/api/webhooks/123456789012345678/" + "t" * 68, "/webhooks/"),
        ("POST /interactions/123456789012345678/" + "t" * 60 + "/callback", "/interactions/"),
        ("Authorization: Bearer abcdef123456", "Authorization: Bearer "),
        ("authorization: bot something-long", "authorization: bot "),
        ("https://x/v1?key=abcdef123&alt=sse", "alt=sse"),
        ("postgresql://me:verysecret@db/llmbot", "@db/llmbot"),
        ("password=hunter2hunter2", "password="),
    ],
)
def test_secrets_in_their_places(text: str, kept: str) -> None:
    """A secret known by its place is masked, and what stands around it is kept."""
    scrubbed = Redactor().scrub(text)
    assert MASK in scrubbed
    assert kept in scrubbed
    assert len(scrubbed) < len(text) + len(MASK)


WORDS = st.text(st.characters(exclude_characters="\0"), max_size=100)


@given(WORDS.filter(lambda word: len(word) >= 6), WORDS, WORDS)
def test_configured_secrets_by_value(secret: str, before: str, after: str) -> None:
    """A configured secret never comes through, whatever its shape and whatever is around it."""
    scrubbed = Redactor((secret,)).scrub(before + secret + after)
    assert secret not in scrubbed.replace(MASK, "\0")


def test_the_longer_secret_wins() -> None:
    """Of two secrets that begin alike the longer is masked whole."""
    assert Redactor(("abcdef", "abcdefghij")).scrub("abcdefghij!") == f"{MASK}!"


@pytest.mark.parametrize(
    "text",
    [
        "Message 1234567890123456789 accepted from channel 987654321098765432 (live)",
        "Circuit breaker gemini: closed → open (5 failures in a row)",
        "gemini-3.5-flash-lite: model_unavailable at https://127.0.0.1:3001/gemini",
        "2026-11-23T17:59:26.946Z task-skipped mask- risk-free",
    ],
)
def test_plain_words_are_kept(text: str) -> None:
    """Ids, addresses and plain words come through unchanged."""
    assert Redactor(("", "short")).scrub(text) == text


@pytest.mark.parametrize("hostile", ["AIza", "sk-", "M" * 30, "a:" * 5, "key=", "://a:b", "mfa."])
def test_long_texts_are_cut(hostile: str) -> None:
    """A text of any length is cut to the limit before it is searched, so that no search stalls."""
    scrubbed = Redactor(("secret-value",)).scrub(hostile * 300_000)
    assert len(scrubbed) <= SCRUB_LENGTH_MAX * 3
