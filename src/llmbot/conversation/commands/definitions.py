"""The slash commands as Discord knows them."""

from __future__ import annotations

from llmbot.conversation.commands.long_texts import WHERE
from llmbot.conversation.commands.privacy import CHOICES as PRIVACY_CHOICES
from llmbot.conversation.commands.privacy import CONFIRM
from llmbot.conversation.commands.settings import SERVER_CHOICES, USER_CHOICES
from llmbot.conversation.messages import CommandDefinition, CommandOption

ESSENTIAL = frozenset({"chat", "ping", "status", "clear", "privacy", "admin"})
"""Commands that ask, tell how the bot is, mend it or protect privacy: overload leaves them on."""

ASKING = frozenset({"chat", "summarize", "analyze"})
"""Commands that the model answers: a server may allow them to some, or in some channels, alone."""

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
    CommandDefinition(
        "summarize",
        "Sum up a file, this channel, a thread, or what was said lately",
        WHERE,
        deferred=True,
    ),
    CommandDefinition(
        "analyze",
        "Ask something about a file, or about what was said in a channel",
        (CommandOption("question", "What you want to know", required=True), *WHERE),
        deferred=True,
    ),
    CommandDefinition("ping", "See whether the bot is there, and how fast"),
    CommandDefinition("status", "See how the bot is doing"),
    CommandDefinition("clear", "Make the bot forget what was said in this channel"),
    CommandDefinition(
        "settings",
        "For who manages the server: see and set how the bot behaves here",
        (
            CommandOption("setting", "What to set; leave out to see all", choices=SERVER_CHOICES),
            CommandOption("value", "The new value; `default` sets it back"),
            CommandOption("channel", "For this channel alone", kind="channel"),
        ),
        for_managers=True,
    ),
    CommandDefinition(
        "preferences",
        "See and set what you like, wherever you talk to the bot",
        (
            CommandOption("setting", "What to set; leave out to see all", choices=USER_CHOICES),
            CommandOption("value", "The new value; `default` sets it back"),
        ),
    ),
    CommandDefinition(
        "privacy",
        "See or delete everything the bot keeps of you",
        (
            CommandOption("action", "What to do; leave out to be told", choices=PRIVACY_CHOICES),
            CommandOption("confirm", f"Say {CONFIRM} to delete"),
            CommandOption("page", "Of a long export"),
        ),
    ),
    CommandDefinition("help", "What the bot can do"),
)
