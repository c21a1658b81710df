"""The group of the settings tree about what is remembered. Every default has its reason."""

from __future__ import annotations

from llmbot.app.settings.fields import Group, setting


class MemorySettings(Group):
    """What is remembered."""

    turns: int = setting(
        "MEMORY_TURNS",
        40,
        unit="questions and answers, for each channel",
        what="Most turns of a conversation that are remembered word for word",
        reason="40: twenty exchanges, as far back as people refer to",
        ge=2,
        le=1000,
    )
    characters: int = setting(
        "MEMORY_CHARACTERS",
        24_000,
        unit="characters, for each channel",
        what="Most characters of a conversation that are remembered word for word",
        reason="24000: half of what the model is told, at three characters a token",
        ge=8000,
        le=500_000,
    )
    days: int = setting(
        "MEMORY_DAYS",
        30,
        unit="days",
        what="How long anything of a conversation is remembered, copies included",
        reason="30: long enough to go on after a holiday, short enough to be forgotten",
        ge=1,
        le=3650,
    )
    summaries: int = setting(
        "MEMORY_SUMMARIES",
        6,
        unit="calls to the model an hour",
        what="Most summaries of older turns, made while the bot is idle; 0 makes none",
        reason="6: the last model of the chain is asked first, and people's quota is spared",
        ge=0,
        le=1000,
    )
