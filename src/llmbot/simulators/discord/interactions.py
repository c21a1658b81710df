"""Uses of commands and buttons: tokens, the three seconds to answer, the fifteen minutes after."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from llmbot.simulators.discord.errors import ApiError, unknown
from llmbot.simulators.discord.model import Attachment, Channel, Message, User
from llmbot.simulators.discord.settings import DiscordSettings

PING = 1
COMMAND = 2
COMPONENT = 3
AUTOCOMPLETE = 4
MODAL = 5


@dataclass(slots=True)
class Interaction:
    """One use of a command, and what became of it."""

    id: int
    token: str
    type: int
    user: User
    channel: Channel
    name: str
    created_at: float  # monotonic seconds
    data: dict[str, Any] = field(default_factory=dict)
    files: list[Attachment] = field(default_factory=list)  # that came with the command
    source: Message | None = None  # the message whose button was pressed
    callback: int | None = None  # the type of the first answer
    callback_data: dict[str, Any] = field(default_factory=dict)
    answered_after_s: float | None = None
    original: Message | None = None
    loading: bool = False  # deferred and not filled yet
    followups: list[int] = field(default_factory=list)

    @property
    def guild_id(self) -> int | None:
        """The server it was used in."""
        return self.channel.guild_id


class Interactions:
    """All interactions whose tokens live; finished ones are forgotten."""

    def __init__(self, settings: DiscordSettings, now: Callable[[], float]) -> None:
        self._settings = settings
        self._now = now
        self._by_id: OrderedDict[int, Interaction] = OrderedDict()
        self._by_token: dict[str, Interaction] = {}

    def add(
        self, interaction_id: int, kind: int, user: User, channel: Channel, name: str
    ) -> Interaction:
        """Begin an interaction."""
        self.expire()
        while len(self._by_id) >= self._settings.interactions_max:
            self._forget(next(iter(self._by_id.values())))
        token = secrets.token_urlsafe(120)
        made = Interaction(interaction_id, token, kind, user, channel, name, self._now())
        self._by_id[made.id] = made
        self._by_token[token] = made
        return made

    def find(self, interaction_id: int) -> Interaction | None:
        """Find an interaction that is not forgotten yet."""
        return self._by_id.get(interaction_id)

    def unanswered(self, interaction_id: int, token: str) -> Interaction:
        """Return an interaction that may still get its first answer.

        Raises:
            ApiError: 10062 for one that is unknown or late, 40060 for one answered before.
        """
        found = self._by_id.get(interaction_id)
        if found is None or not secrets.compare_digest(found.token, token):
            raise unknown("Interaction")
        if found.callback is not None:
            raise ApiError(400, 40060, "Interaction has already been acknowledged.")
        if self._age(found) > self._settings.interaction_response_s:
            raise unknown("Interaction")
        return found

    def answered(self, interaction: Interaction, callback: int, data: dict[str, Any]) -> None:
        """Note the first answer."""
        interaction.callback = callback
        interaction.callback_data = data
        interaction.answered_after_s = self._age(interaction)

    def with_token(self, token: str) -> Interaction:
        """Return the interaction that a webhook token belongs to.

        Raises:
            ApiError: 50027 once the token has expired, 10015 for an unknown one.
        """
        found = self._by_token.get(token)
        if found is None:
            raise unknown("Webhook")
        if self._age(found) > self._settings.interaction_token_s:
            raise ApiError(401, 50027, "Invalid Webhook Token")
        if found.callback is None:
            raise unknown("Webhook")
        return found

    def expire(self) -> None:
        """Forget the interactions whose tokens ended a while ago."""
        # Kept as long again, so that a late use is told "invalid token" and not "unknown".
        oldest = self._now() - 2 * self._settings.interaction_token_s
        while self._by_id:
            first = next(iter(self._by_id.values()))
            if first.created_at >= oldest:
                break
            self._forget(first)

    def __len__(self) -> int:
        return len(self._by_id)

    def _age(self, interaction: Interaction) -> float:
        return self._now() - interaction.created_at

    def _forget(self, interaction: Interaction) -> None:
        del self._by_id[interaction.id]
        del self._by_token[interaction.token]
