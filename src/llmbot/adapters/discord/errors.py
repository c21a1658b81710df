"""What Discord's statuses, error codes and close codes mean, in terms of `kernel.errors`.

Sources: Discord API reference, "Opcodes and Status Codes" (gateway close codes, JSON error codes)
and "Rate Limits" (invalid requests).
"""

from __future__ import annotations

from llmbot.kernel.errors import (
    CredentialsError,
    DiscordForbiddenError,
    DiscordNotFoundError,
    DiscordRateLimitedError,
    DiscordRequestRefusedError,
    DiscordUnavailableError,
    IntentsError,
    LlmbotError,
    RefusedError,
    StartupError,
)

UNAUTHORIZED = 401
FORBIDDEN = 403
NOT_FOUND = 404
RATE_LIMITED = 429
SERVER_ERROR = 500

REFERENCE_NEEDS_HISTORY = 160002
"""Cannot reply without permission to read message history."""
INVALID_FORM = 50035
UNKNOWN_MESSAGE = 10008
UNKNOWN_INTERACTION = 10062
UNKNOWN_WEBHOOK = 10015
"""Of an interaction: its token has ended, or it was never acknowledged."""
ALREADY_ACKNOWLEDGED = 40060
OLD_MESSAGE_EDITS = 30046
"""Too many edits to a message older than an hour; may come as 429, but a wait is no cure."""
DAILY_COMMANDS = 30034
"""Too many application commands created today."""

_INVALID_WEBHOOK_TOKEN = 50027

_WORDS = {
    10003: "unknown channel",
    10004: "unknown guild",
    10008: "unknown message",
    10015: "unknown webhook: the interaction's token has ended or was never acknowledged",
    10062: "unknown interaction: answered too late",
    30034: "the day's quota of command creations is used up",
    30046: "too many edits to a message older than an hour",
    40001: "unauthorized for this route",
    40005: "request too large",
    40060: "interaction has been acknowledged already",
    50001: "missing access",
    50006: "empty message",
    50007: "cannot send messages to this user",
    50008: "cannot send messages in a voice channel",
    50013: "missing permissions",
    50024: "not possible in this kind of channel",
    50027: "the interaction's token has ended",
    50035: "invalid form body",
    50083: "the thread is archived",
    160002: "cannot reply without permission to read message history",
    160005: "the thread is locked",
    200000: "blocked by the server's automatic moderation",
    200001: "title blocked by the server's automatic moderation",
    240000: "contains a link that the server or Discord blocks",
}

# What these mean does not depend on the status that they come with.
_BY_CODE: dict[int, type[RefusedError]] = {
    _INVALID_WEBHOOK_TOKEN: DiscordNotFoundError,
    OLD_MESSAGE_EDITS: DiscordRequestRefusedError,
    **dict.fromkeys(
        (50001, 50007, 50008, 50013, 50024, 50083, 160002, 160005), DiscordForbiddenError
    ),
}

_INTENTS_DISALLOWED = 4014
_INTENTS_INVALID = 4013
_TOKEN_REFUSED = 4004
_FATAL_CLOSES = {
    4010: "Discord's gateway refused the shard (4010).",
    4011: "Discord demands sharding: the bot is in too many servers for one connection (4011).",
    4012: "Discord's gateway no longer speaks this API version (4012).",
}

SESSION_LOST_CLOSES = frozenset({4003, 4007, 4009})
"""After these the session cannot be resumed: not authenticated, invalid sequence, timed out."""


def fatal_close(code: int | None) -> StartupError | None:
    """The error that a gateway close code stands for, where a retry can never help; else None."""
    if code == _TOKEN_REFUSED:
        return CredentialsError("Discord's gateway refused the token (4004).")
    if code in (_INTENTS_INVALID, _INTENTS_DISALLOWED):
        return IntentsError(f"Discord's gateway refused the intents ({code}).")
    if code in _FATAL_CLOSES:
        return StartupError(_FATAL_CLOSES[code])
    return None


def classify(
    status: int, code: int, *, route: str, understood: bool, retry_after_s: float | None = None
) -> LlmbotError:
    """The error for an answer that is no success.

    Args:
        status: the HTTP status.
        code: Discord's JSON error code; 0 where there is none.
        route: method and path template, free of ids and tokens.
        understood: whether the body was Discord's JSON; a 403 without it comes from some proxy.
        retry_after_s: the wait in seconds that Discord named.
    """
    words = _WORDS.get(code, f"code {code}" if code else f"status {status}")
    message = f"{route}: {words} ({status}{f', {code}' if code else ''})"
    if code in _BY_CODE:
        return _BY_CODE[code](message)
    if status == RATE_LIMITED:
        return DiscordRateLimitedError(message, retry_after_s=retry_after_s)
    # 401: the work is good and the token is not; it must wait for a new one, not be thrown away.
    if status in (UNAUTHORIZED, *range(SERVER_ERROR, 600)):
        return DiscordUnavailableError(message, retry_after_s=retry_after_s)
    if status == FORBIDDEN:
        return DiscordForbiddenError(message) if understood else DiscordUnavailableError(message)
    if status == NOT_FOUND:
        return DiscordNotFoundError(message)
    return DiscordRequestRefusedError(message)
