"""Secrets are scrubbed by shape, at every sink: logs, errors, audit, incidents.

A sink that gets a secret by mistake still does not show it. Known secrets (the configured token
and keys) are scrubbed by value as well, whatever their shape.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

MASK = "[secret]"
SCRUB_LENGTH_MAX = 20_000
"""Longer texts are cut before they are searched: no sink needs more, and no search may stall."""

_SHAPES = re.compile(
    r"""
      [MNO][A-Za-z0-9_-]{22,30}\.[A-Za-z0-9_-]{5,8}\.[A-Za-z0-9_-]{25,50}   # Discord bot token
    | mfa\.[A-Za-z0-9_-]{60,100}                                            # Discord user token
    | AIza[A-Za-z0-9_-]{30,45}                                              # Google API key
    | AQ\.[A-Za-z0-9_-]{30,80}                                              # Google AI key, 2025 on
    | sk-[A-Za-z0-9_-]{16,200}                                              # OpenAI and its kin
    | (?<=/webhooks/)\d{15,21}/[A-Za-z0-9._-]{30,200}                       # webhook address
    | (?<=/interactions/)\d{15,21}/[A-Za-z0-9._-]{30,300}                   # interaction callback
    | (?i:(?<=bearer\ )|(?<=authorization:\ bot\ )|(?<=key=)|(?<=token=)|(?<=password=))
      [^\s&"']{6,300}
    | (?<=://)[^\s/:@]{1,100}:[^\s/@]{1,200}(?=@)                           # user:password@host
    """,
    re.VERBOSE,
)


class Redactor:
    """Scrubs secrets out of texts; told the configured secrets at start."""

    def __init__(self, secrets: tuple[str, ...] = ()) -> None:
        """Take the secrets known by value; those under 6 characters would scrub plain words."""
        self.found = 0
        """How many secrets were taken out so far: each is a defect of whoever tried to show it."""
        known = sorted({s for s in secrets if len(s) >= 6}, key=len, reverse=True)  # noqa: PLR2004 - said above
        self._known = re.compile("|".join(map(re.escape, known))) if known else None

    def scrub(self, text: str) -> str:
        """The text without anything that is, or looks like, a secret; cut to a limit."""
        if len(text) > SCRUB_LENGTH_MAX:
            text = text[:SCRUB_LENGTH_MAX] + "…"
        if self._known is not None:
            text, known = self._known.subn(MASK, text)
            self.found += known
        text, shaped = _SHAPES.subn(MASK, text)
        self.found += shaped
        return text


def scrub_all(value: Any, scrub: Callable[[str], str]) -> Any:
    """The same with every text in it scrubbed, those in mappings and lists too."""
    if isinstance(value, str):
        return scrub(value)
    if isinstance(value, Mapping):
        return {str(key): scrub_all(each, scrub) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [scrub_all(each, scrub) for each in value]
    return value
