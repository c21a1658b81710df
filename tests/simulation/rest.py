"""The simulated network to Discord's REST side: slow, lossy, and late with bad news."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from llmbot.conversation.messages import ChannelMessage, InteractionRef
from llmbot.conversation.ports import Sent
from llmbot.kernel.clock import Random
from llmbot.kernel.errors import (
    DiscordNotFoundError,
    DiscordRateLimitedError,
    DiscordUnavailableError,
    LlmbotError,
)
from tests.simulation.loop import LifeLoop, Timeline
from tests.simulation.model import has_words
from tests.simulation.server import OUR_ID, Server

T = TypeVar("T")


@dataclass(slots=True)
class RestWeather:
    """How the network to Discord does now; shares of all calls."""

    accepted_but_failed: float = 0.01
    refused: float = 0.01
    rate_limited: float = 0.005
    out: bool = False
    """Nothing gets through; a part of it was accepted all the same."""
    seconds: tuple[float, float] = (0.01, 0.12)
    slow_share: float = 0.01


class SimulatedRest:
    """See `ports.DiscordRest`; one for each life, on the network that all share."""

    def __init__(
        self, server: Server, timeline: Timeline, loop: LifeLoop, rng: Random, weather: RestWeather
    ) -> None:
        self._server = server
        self._timeline = timeline
        self._loop = loop
        self._rng = rng
        self._weather = weather
        self._first_response: dict[int, asyncio.Event] = {}

    async def send(
        self, channel_id: int, content: str, *, nonce: str, reply_to: int | None = None
    ) -> Sent:
        """See `DiscordRest.send`."""
        self._speaks(reply_to, content)

        def act() -> Sent:
            post = self._server.send(channel_id, content, nonce, reply_to)
            return Sent(post.id, post.content)

        return await self._call(act, changes=True)

    async def edit(self, channel_id: int, message_id: int, content: str) -> None:
        """See `DiscordRest.edit`."""
        del channel_id
        self._speaks(self._server.posts[message_id].reply_to, content)
        await self._call(lambda: self._server.edit(message_id, content), changes=True)

    def _speaks(self, question_id: int | None, content: str) -> None:
        if question_id is not None and has_words(content):
            self._server.spoken_s.setdefault(question_id, self._timeline.now)

    async def delete(self, channel_id: int, message_id: int) -> None:
        """See `DiscordRest.delete`."""
        del channel_id
        await self._call(lambda: self._server.delete(message_id), changes=True)

    async def typing(self, channel_id: int) -> None:
        """See `DiscordRest.typing`."""
        await self._call(lambda: self._server.channels[channel_id])

    async def direct(self, user_id: int) -> int:
        """See `DiscordRest.direct`."""
        return await self._call(lambda: 100_000 + user_id)

    def is_tight(self, channel_id: int, call: str) -> bool:
        """See `DiscordRest.is_tight`."""
        del channel_id, call
        return self._rng.random() < 0.02

    async def history(
        self,
        channel_id: int,
        *,
        before: int | None = None,
        after: int | None = None,
        limit: int = 50,
    ) -> list[ChannelMessage]:
        """See `DiscordRest.history`."""
        page = await self._call(lambda: self._server.history(channel_id, before, after, limit))
        posts = self._server.posts
        if before is not None and before - 1 in posts and not posts[before - 1].ours:
            # Up to a question: what became of the open ones is looked up, after a gap.
            for post in (posts[message.id] for message in page):
                if post.contents > 1:
                    post.heard_s.setdefault("edit", self._timeline.now)
        return page

    async def message(self, channel_id: int, message_id: int) -> ChannelMessage | None:
        """See `DiscordRest.message`."""
        del channel_id
        message = await self._call(lambda: self._server.message(message_id))
        if message is None:
            self._server.posts[message_id].heard_s.setdefault("delete", self._timeline.now)
        return message

    async def acknowledge(
        self, interaction: InteractionRef, *, text: str | None = None, private: bool = False
    ) -> None:
        """See `DiscordRestAdapter.acknowledge`; only "is thinking" is said here."""
        del text, private
        await self._call(lambda: self._server.acknowledge(interaction.id), changes=True)

    @contextmanager
    def first_response(self, interaction: InteractionRef) -> Iterator[None]:
        """See `DiscordRestAdapter.first_response`."""
        given = self._first_response[interaction.id] = asyncio.Event()
        try:
            yield
        finally:
            if self._first_response.get(interaction.id) is given:
                del self._first_response[interaction.id]
            given.set()

    async def edit_original(self, interaction: InteractionRef, content: str) -> Sent:
        """See `DiscordRestAdapter.edit_original`."""
        if (given := self._first_response.get(interaction.id)) is not None:
            await given.wait()

        def act() -> Sent:
            post = self._server.edit(self._server.original(interaction.id).id, content)
            return Sent(post.id, post.content)

        try:
            return await self._call(act, changes=True)
        except DiscordNotFoundError:
            await self.acknowledge(interaction)
        return await self._call(act, changes=True)

    async def follow_up(self, interaction: InteractionRef, content: str) -> Sent:
        """See `DiscordRest.follow_up`."""

        def act() -> Sent:
            original = self._server.original(interaction.id)
            post = self._server.post(
                original.channel_id,
                OUR_ID,
                content,
                reply_to=original.id,
                interaction_id=interaction.id,
            )
            return Sent(post.id, post.content)

        return await self._call(act, changes=True)

    async def edit_follow_up(
        self, interaction: InteractionRef, message_id: int, content: str
    ) -> None:
        """See `DiscordRest.edit_follow_up`."""

        def act() -> None:
            self._server.original(interaction.id)
            self._server.edit(message_id, content)

        await self._call(act, changes=True)

    # ── the network ─────────────────────────────────────────────────────────────────────────────

    async def _call(self, act: Callable[[], T], *, changes: bool = False) -> T:
        """There, done or not, and back or not; a process that dies meanwhile changes nothing."""
        weather, rng, loop = self._weather, self._rng, self._loop
        answer = loop.create_future()
        there_s, back_s = rng.uniform(*weather.seconds), rng.uniform(*weather.seconds)
        if rng.random() < weather.slow_share:
            there_s += rng.uniform(0.0, 3.0)
        accepted, error = self._fate(changes=changes)

        def arrive() -> None:
            if loop.dead and rng.random() < 0.5:
                return  # it had not left the machine
            value: T | None = None
            told: LlmbotError | None = error
            if accepted:
                try:
                    value = act()
                except LlmbotError as refused:
                    told = told or refused
            self._timeline.at(back_s, lambda: come_back(value, told))

        def come_back(value: T | None, told: LlmbotError | None) -> None:
            if loop.dead or answer.done():
                return
            if told is not None:
                answer.set_exception(told)
            else:
                answer.set_result(value)

        self._timeline.at(there_s, arrive)
        result: T = await answer
        return result

    def _fate(self, *, changes: bool) -> tuple[bool, LlmbotError | None]:
        weather, rng = self._weather, self._rng
        if weather.out:
            return changes and rng.random() < 0.2, DiscordUnavailableError("503")
        luck = rng.random()
        if luck < weather.accepted_but_failed:
            return changes, DiscordUnavailableError("502 after it had accepted")
        luck -= weather.accepted_but_failed
        if luck < weather.refused:
            return False, DiscordUnavailableError("502")
        luck -= weather.refused
        if luck < weather.rate_limited:
            return False, DiscordRateLimitedError(retry_after_s=rng.uniform(0.2, 3.0))
        return True, None
