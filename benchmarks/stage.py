"""The simulators and the users of a bench, in one process: who asks also sees every answer.

A question's time is taken as its gateway event is made, an answer's time as the simulated Discord
takes it in: one process, one monotonic clock, and nothing of the driver between them.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from llmbot.kernel.clock import SystemClock
from llmbot.simulators.discord import control_talk
from llmbot.simulators.discord.control_parts import Ask
from llmbot.simulators.discord.core import Core
from llmbot.simulators.discord.model import Channel, Message
from llmbot.simulators.discord.ratelimits import RateLimits
from llmbot.simulators.discord.settings import DiscordSettings
from llmbot.simulators.faults import FaultBoard
from llmbot.simulators.gemini.answers import compose
from llmbot.simulators.gemini.questions import read_question
from llmbot.simulators.gemini.service import SimulatedGemini
from llmbot.simulators.server import Simulators, SimulatorSettings

SEED = 0
MODEL = "gemini-3.5-flash-lite"
STAND_IN = "gemini-3.1-flash-lite"
_KINDS = ("paragraphs", "chat", "paragraphs", "list", "paragraphs")
_LONG_EVERY = 20
_LONG_CHARACTERS = 3500
_OUT_OF_REACH = 1_000_000
_FOOTNOTE = re.compile(r"^-# .*$", re.MULTILINE)
_ROUTES = (
    "POST /channels/{}/messages",
    "PATCH /channels/{}/messages/{}",
    "GET /channels/{}/messages",
    "POST /channels/{}/typing",
)


@dataclass(slots=True)
class Exchange:
    """One question and all that the bot wrote in reply to it; times in monotonic seconds."""

    user: str
    expected: str
    asked_s: float
    first_s: float = 0.0
    last_s: float = 0.0
    parts: dict[int, str] = field(default_factory=dict)
    writes: int = 0

    @property
    def whole(self) -> bool:
        """Whether the reply is the model's answer: nothing missing, nothing twice."""
        return _bare_text("".join(self.parts.values())) == self.expected

    @property
    def cut(self) -> bool:
        """Whether the reply ends within the model's answer."""
        text = _bare_text("".join(self.parts.values()))
        return bool(text) and not self.whole and self.expected.startswith(text)


def question_text(number: int, given: str = "") -> str:
    """A question that no other is like; one in twenty has an answer of two messages."""
    if given:
        kind = f"[[{given}]]"
    elif number % _LONG_EVERY == _LONG_EVERY - 1:
        kind = f"[[paragraphs]][[length:{_LONG_CHARACTERS}]]"
    else:
        kind = f"[[{_KINDS[number % len(_KINDS)]}]]"
    return f"{kind} How does replica{number} recover once partition{number} has healed?"


class Stage:
    """One set of simulators with one bot on it, and the record of what was said."""

    def __init__(self, *, first_word_s: float = 0.0, chunk_s: float = 0.0) -> None:
        """Discord's rate limits are out of reach until `limit` is called.

        The model's pace is given in seconds before its first words and between its words.
        """
        discord = DiscordSettings(
            guild_names=("Bench",), feed_events_max=1, replay_events_max=1000, messages_max=50_000
        )
        settings = SimulatorSettings(
            seed=SEED, first_word_s=first_word_s, chunk_s=chunk_s, discord=discord
        )
        self._simulators = Simulators(settings)
        # There is no public way to hear of a message in the step in which it is taken in.
        self._core: Core = self._simulators.discord._core  # noqa: SLF001 - see the line above
        self._exchanges: dict[int, Exchange] = {}
        self._asked = 0
        self.written_s = 0.0
        self.on_whole: Callable[[Exchange], None] = _ignore
        self.limit(real=False)
        announcer: Any = self._core.announcer
        announcer.message_created = self._heard(announcer.message_created, first=True)
        announcer.message_updated = self._heard(announcer.message_updated, first=False)
        announcer.message_deleted = self._forgotten(announcer.message_deleted)

    async def start(self) -> str:
        """Listen; answers the address."""
        await self._simulators.start()
        return self._simulators.address

    async def stop(self) -> None:
        """End the simulators."""
        await self._simulators.stop()

    def limit(self, *, real: bool) -> None:
        """Keep Discord's own rate limits, or such as nobody reaches; begin to count anew.

        The headers are there in both cases: without them clients fall back to one call at a time.
        """
        settings = self._core.settings
        if not real:
            settings = replace(
                settings,
                global_limit=_OUT_OF_REACH,
                bucket_limits=dict.fromkeys(_ROUTES, (_OUT_OF_REACH, 1.0)),
            )
        self._core.limits = RateLimits(settings, SystemClock().monotonic)

    @property
    def board(self) -> FaultBoard:
        """The faults that can be switched on."""
        return self._simulators.board

    @property
    def gemini(self) -> SimulatedGemini:
        """The simulated provider: its quotas, and what it was asked."""
        return self._simulators.gemini

    @property
    def bot_is_here(self) -> bool:
        """Whether a bot listens."""
        return any(session.link is not None for session in self._core.sessions)

    def calls(self) -> dict[str, int]:
        """Answered REST calls by route since the start, and those refused with 429."""
        counted: dict[str, int] = {}
        for route, statuses in self._core.statistics.snapshot()["calls"].items():
            counted[route] = sum(statuses.values())
            counted["429"] = counted.get("429", 0) + statuses.get("429", 0)
        return counted

    def ask(self, user: str, channel: str | None, *, kind: str = "") -> Exchange:
        """Ask the next question as a user, in a channel by a mention or (None) directly.

        `kind` is the kind of its answer; without it they vary, and one in twenty is long.
        """
        number, self._asked = self._asked, self._asked + 1
        text = question_text(number, kind)
        place: dict[str, Any] = {"dm": True} if channel is None else {"channel": channel}
        body = {"user": user, "content": text, "mention_bot": channel is not None, **place}
        expected = _bare_text(compose(SEED, read_question(text)).text)
        exchange = Exchange(user, expected, time.perf_counter())
        said = control_talk.say(Ask(self._core, "", {}, body))
        self._exchanges[int(said["id"])] = exchange
        return exchange

    @property
    def exchanges(self) -> list[Exchange]:
        """All exchanges since they were taken last."""
        return list(self._exchanges.values())

    def take_exchanges(self) -> list[Exchange]:
        """All exchanges since this was asked last."""
        taken, self._exchanges = list(self._exchanges.values()), {}
        return taken

    def _heard(
        self, announce: Callable[[Channel, Message], None], *, first: bool
    ) -> Callable[[Channel, Message], None]:
        def heard(channel: Channel, message: Message) -> None:
            now = time.perf_counter()
            announce(channel, message)
            if message.author is self._core.world.bot and message.reference is not None:
                exchange = self._exchanges.get(message.reference[1])
                if exchange is not None:
                    self._note(exchange, message, now, first=first)

        return heard

    def _forgotten(
        self, announce: Callable[[Channel, Message], None]
    ) -> Callable[[Channel, Message], None]:
        def forgotten(channel: Channel, message: Message) -> None:
            announce(channel, message)
            if message.reference is not None and message.reference[1] in self._exchanges:
                self._exchanges[message.reference[1]].parts.pop(message.id, None)

        return forgotten

    def _note(self, exchange: Exchange, message: Message, now: float, *, first: bool) -> None:
        was_whole = exchange.whole if exchange.parts else False
        exchange.writes += 1
        exchange.last_s = self.written_s = now
        if first and not exchange.first_s:
            exchange.first_s = now
        exchange.parts[message.id] = message.content
        if not was_whole and exchange.whole:
            # In a later step of the loop: what comes of it is not charged to this answer.
            asyncio.get_running_loop().call_soon(self.on_whole, exchange)


def _bare_text(text: str) -> str:
    """The text without footnotes, and the blanks that a border between two messages swallows."""
    return "".join(_FOOTNOTE.sub("", text).split())


def _ignore(_: Exchange) -> None:
    """Nobody waits for this answer."""


__all__ = ["MODEL", "STAND_IN", "Exchange", "Stage", "question_text"]
