"""Who says what where: users, places, questions, and the whole answer that each must get."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from tests.crash.harness.control import Control, Json
from tests.crash.harness.outside import Random

_AT_ONCE = 32

SERVER = "Simulated Server"
SECOND = "Second Server"

PLACES: tuple[Json, ...] = (
    {"guild": SERVER, "channel": "general"},
    {"guild": SERVER, "channel": "help"},
    {"guild": SERVER, "channel": "general", "thread": "long-talk"},
    {"guild": SECOND, "channel": "general"},
    {"guild": SECOND, "channel": "lounge", "thread": "aside"},
    {"dm": True},
)

_SHAPES = (
    "[[echo]]The answer to {token} is {token} and no other. End of {token}.",
    "[[echo]]Yes, {token}.",
    "[[paragraphs]] Please tell me about {token} in short",
    "[[paragraphs]][[length:5200]] Please tell me everything about {token}",
    "[[list]][[length:3100]] Please list all about {token}",
    "[[unbroken:4100]] One word for {token}",
    "[[cjk]][[length:2600]] Write of {token}",
    "[[mentions]] Who is {token}",
    "[[emoji]] Cheer for {token}",
)
LONG = "[[paragraphs]][[length:5200]] Please tell me everything about {token}"


@dataclass(slots=True)
class Question:
    """A message that the bot must answer once, whole; `channel` is the id of its channel."""

    id: int
    user: str
    channel: str
    text: str
    expected: str
    command: bool = False
    taken_back: bool = False


@dataclass(slots=True)
class Talk:
    """Asks questions and remembers them."""

    control: Control
    rng: Random
    users: tuple[str, ...]
    asked: list[Question] = field(default_factory=list)
    _number: int = 0

    async def ask(
        self,
        *,
        user: str | None = None,
        place: Json | None = None,
        shape: str | None = None,
        **more: object,
    ) -> Question:
        """Ask one question, of chance where nothing is named."""
        user = user or self.rng.choice(self.users)
        place = self.rng.choice(PLACES) if place is None else place
        text, expected = self._words(shape)
        direct = bool(place.get("dm"))
        said = await self.control.say(place, user, text, **({"mention_bot": not direct} | more))
        question = Question(int(said["id"]), user, said["channel_id"], text, expected)
        self.asked.append(question)
        return question

    async def command(self, *, user: str | None = None, place: Json | None = None) -> Question:
        """Ask by the slash command."""
        user = user or self.rng.choice(self.users)
        place = place or self.rng.choice(PLACES)
        text, expected = self._words(None)
        made = await self.control.interact(place, user, "chat", message=text)
        question = Question(int(made["id"]), user, made["channel_id"], text, expected, command=True)
        self.asked.append(question)
        return question

    def _words(self, shape: str | None) -> tuple[str, str]:
        self._number += 1
        token = f"q{self._number}x{self.rng.randrange(10**6):06}"
        text = (shape or self.rng.choice(_SHAPES)).format(token=token)
        if text.startswith("[[echo]]"):
            return text, text.removeprefix("[[echo]]")
        return text, ""

    async def learn(self) -> None:
        """Ask the model itself for the answers that are not known yet; without faults only."""
        gate = asyncio.Semaphore(_AT_ONCE)

        async def one(question: Question) -> None:
            async with gate:
                question.expected = await self.control.answer_of_model(question.text)

        await asyncio.gather(*(one(q) for q in self.asked if not q.expected))
