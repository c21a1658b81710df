"""Calls to Discord past the bot's own client say who is calling."""

from __future__ import annotations

from llmbot.adapters.discord.login import probe_headers


def test_a_probe_names_itself_a_bot() -> None:
    """Discord may refuse a user agent that is not "DiscordBot (address, version)"."""
    headers = probe_headers("token")
    assert headers["User-Agent"].startswith("DiscordBot (")
    assert headers["Authorization"] == "Bot token"
