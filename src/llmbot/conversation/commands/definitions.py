"""The slash commands as Discord knows them."""

from __future__ import annotations

from llmbot.conversation.messages import CommandDefinition, CommandOption

ESSENTIAL = frozenset({"chat", "status", "clear"})
"""Commands that ask, tell how the bot is, or protect privacy: overload does not switch them off."""

DEFINITIONS: tuple[CommandDefinition, ...] = (
    CommandDefinition(
        "chat",
        "Ask the language model",
        (
            CommandOption("message", "What you want to ask", required=True),
            CommandOption("file", "A picture, PDF or text to look at", kind="attachment"),
        ),
        deferred=True,
    ),
    CommandDefinition("ping", "See whether the bot is there, and how fast"),
    CommandDefinition("status", "See how the bot is doing"),
    CommandDefinition("clear", "Make the bot forget what was said in this channel"),
    CommandDefinition("help", "What the bot can do"),
)
