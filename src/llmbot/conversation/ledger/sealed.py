"""Texts with the proof of their own integrity: SQLite notices damage of its pages, not of words.

A byte that flips inside a question or an answer leaves a sound database with another text in it.
"""

from __future__ import annotations

import re
from zlib import crc32

_SEAL = re.compile(r"[0-9a-f]{8}:")


def seal(text: str) -> str:
    """The text behind its checksum."""
    return f"{crc32(text.encode()):08x}:{text}"


def unseal(sealed: str) -> str:
    """The text that was sealed.

    Raises:
        ValueError: it is not what was sealed.
    """
    text = sealed[9:]
    if not _SEAL.match(sealed) or int(sealed[:8], 16) != crc32(text.encode()):
        raise ValueError("a text is not what was stored")
    return text
