"""`conversation.ports.DiscordRest` over discord.py's HTTP client."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from discord.http import Route

from llmbot.adapters.discord import errors
from llmbot.adapters.discord.http import DiscordHttp, Reply
from llmbot.adapters.discord.payloads import channel_message
from llmbot.conversation.messages import ChannelMessage, InteractionRef
from llmbot.conversation.ports import Sent
from llmbot.kernel.errors import DiscordNotFoundError, DiscordUnavailableError
from llmbot.kernel.ids import NONCE_LENGTH_MAX

NOBODY = {"parse": [], "replied_user": False}
"""Mentions nobody, whatever the text holds; without it Discord expands everything."""

SEND_DEADLINE_S = 30.0
CALL_DEADLINE_S = 15.0
TYPING_DEADLINE_S = 5.0
CALLBACK_DEADLINE_S = 2.9
"""Discord drops an interaction that is not acknowledged within 3 s."""
HISTORY_MAX = 100

REPLY_NOW = 4
DEFER = 5
PRIVATE = 64
"""Message flag EPHEMERAL: only who asked sees it."""

_MESSAGES = "/channels/{channel_id}/messages"
_MESSAGE = "/channels/{channel_id}/messages/{message_id}"
_FOLLOW_UPS = "/webhooks/{webhook_id}/{webhook_token}"
_FOLLOW_UP = "/webhooks/{webhook_id}/{webhook_token}/messages/{message_id}"
_ORIGINAL = "/webhooks/{webhook_id}/{webhook_token}/messages/@original"
_CALLBACK = "/interactions/{interaction_id}/{webhook_token}/callback"


class DiscordRestAdapter:
    """See `DiscordRest` for the laws; errors come from `discord_errors.classify`."""

    def __init__(self, http: DiscordHttp, our_id: Callable[[], int]) -> None:
        """Take the client, and who we are (0 while unknown)."""
        self._http = http
        self._our_id = our_id
        self._first_response: dict[int, asyncio.Event] = {}

    async def send(
        self, channel_id: int, content: str, *, nonce: str, reply_to: int | None = None
    ) -> Sent:
        """See `DiscordRest.send`."""
        if not 0 < len(nonce) <= NONCE_LENGTH_MAX:
            raise ValueError(f"a nonce has 1 to {NONCE_LENGTH_MAX} characters")
        payload: dict[str, Any] = {
            "content": content,
            "nonce": nonce,
            "enforce_nonce": True,
            "allowed_mentions": NOBODY,
        }
        if reply_to is not None:
            payload["message_reference"] = {
                "message_id": str(reply_to),
                "channel_id": str(channel_id),
                "fail_if_not_exists": False,
            }
        route = Route("POST", _MESSAGES, channel_id=channel_id)
        reply = await self._http.call(route, json=payload, deadline_s=SEND_DEADLINE_S)
        if reply_to is not None and _reference_refused(reply):
            # The answer matters more than the arrow to the question.
            del payload["message_reference"]
            reply = await self._http.call(route, json=payload, deadline_s=SEND_DEADLINE_S)
        return _sent(reply, content)

    async def edit(self, channel_id: int, message_id: int, content: str) -> None:
        """See `DiscordRest.edit`."""
        route = Route("PATCH", _MESSAGE, channel_id=channel_id, message_id=message_id)
        payload = {"content": content, "allowed_mentions": NOBODY}
        (await self._http.call(route, json=payload, deadline_s=CALL_DEADLINE_S)).checked()

    async def delete(self, channel_id: int, message_id: int) -> None:
        """See `DiscordRest.delete`."""
        route = Route("DELETE", _MESSAGE, channel_id=channel_id, message_id=message_id)
        reply = await self._http.call(route, deadline_s=CALL_DEADLINE_S)
        if reply.status != errors.NOT_FOUND:
            reply.checked()

    async def typing(self, channel_id: int) -> None:
        """See `DiscordRest.typing`."""
        route = Route("POST", "/channels/{channel_id}/typing", channel_id=channel_id)
        (await self._http.call(route, deadline_s=TYPING_DEADLINE_S)).checked()

    async def direct(self, user_id: int) -> int:
        """See `DiscordRest.direct`."""
        payload = {"recipient_id": str(user_id)}
        route = Route("POST", "/users/@me/channels")
        reply = await self._http.call(route, json=payload, deadline_s=CALL_DEADLINE_S)
        return _sent(reply, "").id

    def is_tight(self, channel_id: int, call: str) -> bool:
        """See `DiscordRest.is_tight`."""
        method, path = ("POST", _MESSAGES) if call == "send" else ("PATCH", _MESSAGE)
        # As `Route.major_parameters` writes it: the buckets of a route are one for each channel.
        return self._http.limits.is_tight(f"{method} {path}", str(channel_id))

    async def history(
        self,
        channel_id: int,
        *,
        before: int | None = None,
        after: int | None = None,
        limit: int = 50,
    ) -> list[ChannelMessage]:
        """See `DiscordRest.history`."""
        params: dict[str, Any] = {"limit": max(1, min(HISTORY_MAX, limit))}
        # Discord takes one of the two; `before` is then kept here.
        if after is not None:
            params["after"] = after
        elif before is not None:
            params["before"] = before
        route = Route("GET", _MESSAGES, channel_id=channel_id)
        reply = await self._http.call(route, params=params, deadline_s=CALL_DEADLINE_S)
        body = reply.checked()
        if not isinstance(body, list):
            raise DiscordUnavailableError("Discord's history was no list")
        found = [m for each in body if (m := self._readable(each, channel_id)) is not None]
        if before is not None:
            found = [m for m in found if m.id < before]
        return sorted(found, key=lambda m: m.id)

    async def message(self, channel_id: int, message_id: int) -> ChannelMessage | None:
        """See `DiscordRest.message`; only Discord's own word for it says that one is gone."""
        route = Route("GET", _MESSAGE, channel_id=channel_id, message_id=message_id)
        reply = await self._http.call(route, deadline_s=CALL_DEADLINE_S)
        if reply.code == errors.UNKNOWN_MESSAGE:
            return None
        return self._readable(reply.checked(), channel_id)

    async def edit_original(self, interaction: InteractionRef, content: str) -> Sent:
        """See `DiscordRest.edit_original`; waits for a first response that is on its way.

        Where there was none (a kill came first) and Discord still waits for it, it is given now.
        """
        if (given := self._first_response.get(interaction.id)) is not None:
            await given.wait()
        route = Route(
            "PATCH",
            _ORIGINAL,
            webhook_id=interaction.application_id,
            webhook_token=interaction.token,
        )
        payload = {"content": content, "allowed_mentions": NOBODY}
        reply = await self._http.call(route, json=payload, deadline_s=SEND_DEADLINE_S)
        if reply.code == errors.UNKNOWN_WEBHOOK and await self._acknowledged_late(interaction):
            reply = await self._http.call(route, json=payload, deadline_s=SEND_DEADLINE_S)
        return _sent(reply, content)

    @contextmanager
    def first_response(self, interaction: InteractionRef) -> Iterator[None]:
        """While the body gives the first response, edits of the original wait for it."""
        given = self._first_response[interaction.id] = asyncio.Event()
        try:
            yield
        finally:
            # A command that Discord told twice has the second one's event here.
            if self._first_response.get(interaction.id) is given:
                del self._first_response[interaction.id]
            given.set()

    async def _acknowledged_late(self, interaction: InteractionRef) -> bool:
        try:
            await self.acknowledge(interaction)
        except DiscordNotFoundError:
            return False
        return True

    async def follow_up(
        self, interaction: InteractionRef, content: str, *, private: bool = False
    ) -> Sent:
        """See `DiscordRest.follow_up`; not repeated where Discord may have sent it already.

        A `private` one is shown only to who gave the command.
        """
        route = Route(
            "POST",
            _FOLLOW_UPS,
            webhook_id=interaction.application_id,
            webhook_token=interaction.token,
        )
        reply = await self._http.call(
            route,
            json={"content": content, "allowed_mentions": NOBODY}
            | ({"flags": PRIVATE} if private else {}),
            params={"wait": "true"},
            deadline_s=SEND_DEADLINE_S,
            repeatable=False,
        )
        return _sent(reply, content)

    async def edit_follow_up(
        self, interaction: InteractionRef, message_id: int, content: str
    ) -> None:
        """See `DiscordRest.edit_follow_up`."""
        route = Route(
            "PATCH",
            _FOLLOW_UP,
            webhook_id=interaction.application_id,
            webhook_token=interaction.token,
            message_id=message_id,
        )
        payload = {"content": content, "allowed_mentions": NOBODY}
        (await self._http.call(route, json=payload, deadline_s=CALL_DEADLINE_S)).checked()

    async def acknowledge(
        self, interaction: InteractionRef, *, text: str | None = None, private: bool = False
    ) -> bool:
        """Give an interaction its first response: a text, or "is thinking" where there is none.

        False where it was acknowledged already: by an attempt whose answer was lost, or by an
        earlier life of the process.

        Raises:
            DiscordNotFoundError: Discord no longer waits for it.
            DiscordUnavailableError: it may or may not have been acknowledged.
        """
        data: dict[str, Any] = {"flags": PRIVATE} if private else {}
        if text is not None:
            data |= {"content": text, "allowed_mentions": NOBODY}
        route = Route(
            "POST", _CALLBACK, interaction_id=interaction.id, webhook_token=interaction.token
        )
        reply = await self._http.call(
            route,
            json={"type": DEFER if text is None else REPLY_NOW, "data": data},
            deadline_s=CALLBACK_DEADLINE_S,
        )
        if reply.code == errors.UNKNOWN_INTERACTION:
            raise DiscordNotFoundError("the interaction came too late to be acknowledged (10062)")
        if reply.code == errors.ALREADY_ACKNOWLEDGED:
            return False
        reply.checked()
        return True

    def _readable(self, payload: object, channel_id: int) -> ChannelMessage | None:
        """The message, or None for one that cannot be understood: a page must not fail for it."""
        try:
            return channel_message(payload, self._our_id(), channel_id=channel_id)
        except (KeyError, TypeError, ValueError, AttributeError):
            return None


def _reference_refused(reply: Reply) -> bool:
    if reply.code == errors.REFERENCE_NEEDS_HISTORY:
        return True
    fields = reply.body.get("errors") if isinstance(reply.body, dict) else None
    return (
        reply.code == errors.INVALID_FORM
        and isinstance(fields, dict)
        and "message_reference" in fields
    )


def _sent(reply: Reply, content: str) -> Sent:
    body = reply.checked()
    try:
        return Sent(int(body["id"]), str(body.get("content", content)))
    except (KeyError, TypeError, ValueError, AttributeError) as unreadable:
        raise DiscordUnavailableError(f"{reply.route}: the answer named no id") from unreadable
