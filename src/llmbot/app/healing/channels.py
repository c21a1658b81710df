"""The ways to people: a signed webhook, and a channel on Discord."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import httpx2

from llmbot.adapters.models.transport import new_http_client
from llmbot.conversation.ports import DiscordRest
from llmbot.kernel.clock import Clock
from llmbot.operations.incidents.notify import Notice, signed
from llmbot.resilience.deadline import Deadline

SEND_S = 10.0
_FIRST_REFUSAL = 300


@dataclass(frozen=True, slots=True)
class Webhook:
    """Posts to an address; any 2xx answer means that it arrived."""

    url: str
    clock: Clock
    secret: str = field(repr=False)
    name: str = "webhook"

    async def send(self, notice: Notice) -> None:
        """See `Channel.send`."""
        body, headers = signed(notice, self.secret, self.clock.wall())
        try:
            async with (
                Deadline.after(self.clock, SEND_S).limit(),
                new_http_client(self.url, connections_max=1) as client,
            ):
                answer = await client.post(self.url, content=body, headers=dict(headers))
        except httpx2.HTTPError as error:
            raise OSError(f"{urlsplit(self.url).hostname}: {type(error).__name__}") from None
        if answer.status_code >= _FIRST_REFUSAL:
            raise OSError(f"{urlsplit(self.url).hostname} answers {answer.status_code}")


@dataclass(frozen=True, slots=True)
class OperationsChannel:
    """Says it in a channel; the nonce lets Discord recognise a second try."""

    rest: DiscordRest
    channel_id: int
    clock: Clock
    name: str = "channel"

    async def send(self, notice: Notice) -> None:
        """See `Channel.send`."""
        words = f"**{notice.severity}** incident {notice.incident} {notice.change}: {notice.title}"
        nonce = hashlib.sha256(notice.key.encode()).hexdigest()[:25]
        async with Deadline.after(self.clock, SEND_S).limit():
            await self.rest.send(self.channel_id, words[:1900], nonce=nonce)
