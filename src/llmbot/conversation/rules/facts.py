"""What holds for one message, whoever set it; see `effective.py`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rules:
    """The wishes of the user, the channel and the server, put together."""

    persona: str = ""
    """Instructions for the model; empty for the bot's own."""
    models: tuple[str, ...] = ()
    """Names of the models to ask first."""
    language: str = ""
    """Of notices; empty for the user's own."""
    streaming: bool = True
    """Whether the answer is shown while it grows."""
    remember: bool = True
    """Whether question and answer go into the conversation's memory."""


BOTS_OWN = Rules()
"""What holds where nobody set anything."""
