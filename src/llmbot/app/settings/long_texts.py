"""The group of the settings tree about texts too long for one prompt."""

from __future__ import annotations

from llmbot.app.settings.fields import Group, setting

MIB = 1024 * 1024


class LongTextSettings(Group):
    """Long files and histories, read part by part."""

    jobs_max: int = setting(
        "LONG_TEXTS_MAX",
        2,
        unit="texts at once",
        what="Most long texts that are read side by side, others stand in line; 0 reads none",
        reason="2: each is dozens of calls to a model that people wait for as well",
        ge=0,
        le=50,
    )
    line_max: int = setting(
        "LONG_TEXT_LINE_MAX",
        8,
        unit="texts",
        what="Most long texts that stand in line; whoever comes then is told to come later",
        reason="8: at some minutes each nobody should wait longer",
        ge=0,
        le=1000,
    )
    parts_at_once: int = setting(
        "LONG_TEXT_PARTS_AT_ONCE",
        4,
        unit="calls at once",
        what="Most parts that are read side by side, over all long texts; fewer in trouble",
        reason="4: a megabyte within a minute or two, and room in the quota for everybody else",
        ge=1,
        le=100,
    )
    characters_max: int = setting(
        "LONG_TEXT_CHARACTERS_MAX",
        4_000_000,
        unit="characters",
        what="Longest text of one file or history; a longer file is left out, a history cut",
        reason="4000000: a book of two thousand pages, about ninety calls",
        ge=10_000,
        le=100_000_000,
    )
    messages_max: int = setting(
        "LONG_TEXT_MESSAGES_MAX",
        2_000,
        unit="messages",
        what="Most messages of a history that /summarize and /analyze read, the newest",
        reason="2000: twenty calls to Discord, and more than anybody scrolls back",
        ge=1,
        le=100_000,
    )
    deadline_s: float = setting(
        "LONG_TEXT_DEADLINE_S",
        600,
        unit="seconds",
        what="Time for reading one long text; then the answer rests on what was read",
        reason="600: within the quarter of an hour for which a command can be answered",
        gt=0,
        le=86_400,
    )
    disk_bytes_max: int = setting(
        "LONG_TEXT_DISK_BYTES_MAX",
        256 * MIB,
        unit="bytes",
        what="Most that long texts take in TEMP_DIR; beyond it they are read without a copy there",
        reason="256 MiB: every text that may wait, with room for its notes",
        ge=MIB,
        le=1024 * 1024 * MIB,
    )
