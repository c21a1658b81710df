"""A life that ends at any await of a message's flow is followed by one whole answer.

In one process, so that every await is met: something happens at the n-th turn of the event loop
after the question came, for each n. Killed: the disk is what it was at that moment, and nothing
more reaches Discord. Cancelled: as by a stop without patience. Then a new life begins on what is
left, and Discord replays the question to it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from tests.crash.harness.steps import MortalDiscord, SteppedLoop, begin_counting, copy_disk
from tests.support.conversation import Talk, talk
from tests.support.discord import MemoryDiscord
from tests.support.waiting import PATIENCE_S

from llmbot.conversation.delivery import DeliverySettings
from llmbot.conversation.jobs import ENDED
from llmbot.conversation.messages import Inbound, InteractionRef, SessionCursor, Source
from llmbot.conversation.ports import Finish, FinishReason, ModelDeadlines, Prompt, Words
from llmbot.conversation.trouble import TroubleSettings
from llmbot.kernel.clock import SystemClock
from llmbot.kernel.errors import DiscordUnavailableError, LlmbotError, ModelUnavailableError
from llmbot.kernel.events import BackfillDone, JobMoved

LONG = " ".join(f"word{n}" for n in range(700))
"""Three messages long."""
SHORT = "That is all."
_TURNS_MAX = 1000
_QUICK = DeliverySettings(settle_s=0.001, typing_after_s=0.003)
_SOON = TroubleSettings(pause_first_s=0.004, pause_max_s=0.004)


@dataclass(frozen=True, slots=True)
class Flow:
    """What happens to one question; `first` and `later` are said in the first life and after."""

    first: str = SHORT
    later: str = SHORT
    down: int = 0
    """So many calls of the first life's model fail."""
    lost: int = 0
    """So many sends of the first life are accepted and then answered with an error."""
    command: bool = False


FLOWS = {
    "short": Flow(),
    "long": Flow(first=LONG, later=LONG),
    "shorter the second time": Flow(first=LONG),
    "longer the second time": Flow(later=LONG),
    "the model is away at first": Flow(down=2),
    "sends are accepted and lost": Flow(first=LONG, later=LONG, lost=2),
    "slash command": Flow(first=LONG, later=LONG, command=True),
}


@dataclass(slots=True)
class PacedModel:
    """Speaks in pieces of more than a message, with a breath between them."""

    text: str
    down: int = 0
    name: str = "paced-1"
    provider: str = "paced"
    prompts: list[Prompt] = field(default_factory=list)

    async def stream(
        self, prompt: Prompt, deadlines: ModelDeadlines
    ) -> AsyncGenerator[Words | Finish]:
        """See `Model.stream`."""
        del deadlines
        self.prompts.append(prompt)
        if len(self.prompts) <= self.down:
            raise ModelUnavailableError
        for start in range(0, len(self.text), 2500):
            yield Words(self.text[start : start + 2500])
            await SystemClock().sleep(0.008)
        yield Finish(FinishReason.STOP, self.name, 10, 10)


@dataclass(slots=True)
class World:
    """One question and the Discord that outlives the lives."""

    flow: Flow
    forgetful: bool
    discord: MemoryDiscord = field(default_factory=MemoryDiscord)
    question: Inbound | None = None
    first_call_done: bool = False

    def life(
        self, path: Path, model: PacedModel, mortal: MortalDiscord | None = None
    ) -> AbstractAsyncContextManager[Talk]:
        """A life of the process."""
        return talk(
            path,
            model,  # type: ignore[arg-type] # a Model as good as the scripted one
            discord=self.discord,
            delivery=_QUICK,
            trouble=_SOON,
            catching_up=True,
            way=lambda discord: discord if mortal is None else mortal,
            grace_s=0,
        )

    async def connect(self, t: Talk, *, resumed: bool) -> None:
        """A session begins; a new one is followed by a search for what was missed."""
        searched = asyncio.ensure_future(t.bus.expect(BackfillDone))
        t.inbox.on_session(resumed=resumed, channels=[], session_id="s1")
        if not resumed:
            await searched
        searched.cancel()

    def ask(self, t: Talk) -> Coroutine[Any, Any, object] | None:
        """Let the question come, for the first time or again; a command comes once."""
        if self.question is None:
            self.question = t.question("hello")
            if self.flow.command:
                reference = InteractionRef(self.question.message_id, 1, "token")
                self.question = replace(
                    self.question, source=Source.INTERACTION, interaction=reference
                )
                self.discord.commands[self.question.message_id] = 100
            else:
                self.discord.seed(t.as_it_stands(self.question))
        elif self.flow.command:
            return None
        if self.flow.command:
            return t.inbox.accept(self.question, None)
        t.inbox.on_message(self.question, SessionCursor("s1", 1, "ws://gateway"))
        return None

    def between_lives(self) -> None:
        """Time passes."""
        if self.forgetful:
            self.discord.nonces.clear()

    def faults(self) -> None:
        """Those of the first life."""
        left = [self.flow.lost]

        def lose(call: str) -> LlmbotError | None:
            if call != "send" or not left[0]:
                return None
            left[0] -= 1
            return DiscordUnavailableError()

        self.discord.late_fault = lose

    async def ended(self, t: Talk) -> None:
        """Until the question's job has ended, if there is one."""
        assert self.question is not None
        message_id = self.question.message_id
        end = asyncio.ensure_future(
            t.bus.expect(JobMoved, lambda e: e.message_id == message_id and e.after in ENDED)
        )
        await t.inbox.drain()
        facts = {line.fact for line in await t.store.story(message_id)}
        if not facts & ENDED and (facts or not self.flow.command):
            await asyncio.wait_for(end, PATIENCE_S)
        end.cancel()

    def judge(self, where: str) -> None:
        """One whole answer, in order, and nothing else; a command that was not claimed has none."""
        assert self.question is not None
        ours = [m for m in self.discord.channels.get(100, []) if m.author_is_us]
        if self.flow.command and not ours:
            return
        said = " ".join(m.content for m in sorted(ours, key=lambda m: m.id))
        assert said in (self.flow.first, self.flow.later), (
            f"{where}: {[m.content[:40] for m in ours]}"
        )
        assert all(len(m.content) <= 2000 for m in ours)


async def killed(world: World, path: Path, turn: int) -> bool:
    """A life that is killed at a turn, then one that is not; False where the first had ended."""
    mortal = MortalDiscord(world.discord)
    dead = asyncio.Event()

    def kill() -> None:
        mortal.dead = True
        copy_disk(path / "db", path / "left")
        dead.set()

    world.faults()
    async with world.life(path / "db", PacedModel(world.flow.first, world.flow.down), mortal) as t:
        await world.connect(t, resumed=False)
        begin_counting(turn, kill)
        asked = world.ask(t)
        asking = asyncio.ensure_future(asked) if asked is not None else None
        ended = asyncio.ensure_future(_both(asking, world, t))
        died = asyncio.ensure_future(dead.wait())
        await asyncio.wait((ended, died), return_when=asyncio.FIRST_COMPLETED)
        begin_counting(-1, kill)
        for task in (ended, died, asking):
            if task is not None:
                task.cancel()
        mortal.over.set()
    world.discord.late_fault = lambda _: None
    if not dead.is_set():
        world.judge("never killed")
        return False
    world.between_lives()
    async with world.life(path / "left" / "db", PacedModel(world.flow.later)) as t:
        await world.connect(t, resumed=True)
        world.ask(t)
        await world.ended(t)
    world.judge(f"killed at turn {turn}")
    return True


async def stopped(world: World, path: Path, turn: int) -> bool:
    """A life that is cancelled at a turn, then one that is not; False where the first had ended."""
    stop = asyncio.Event()
    world.faults()
    async with world.life(path / "db", PacedModel(world.flow.first, world.flow.down)) as t:
        await world.connect(t, resumed=False)
        begin_counting(turn, stop.set)
        asked = world.ask(t)
        asking = asyncio.ensure_future(asked) if asked is not None else None
        ended = asyncio.ensure_future(_both(asking, world, t))
        stopping = asyncio.ensure_future(stop.wait())
        await asyncio.wait((ended, stopping), return_when=asyncio.FIRST_COMPLETED)
        begin_counting(-1, stop.set)
        for task in (ended, stopping, asking):
            if task is not None:
                task.cancel()
    left = {task for task in asyncio.all_tasks() if not task.done()} - {asyncio.current_task()}
    assert {task for task in left if not task.cancelling()} == set(), f"leaked at turn {turn}"
    world.discord.late_fault = lambda _: None
    if not stop.is_set():
        world.judge("never stopped")
        return False
    world.between_lives()
    async with world.life(path / "db", PacedModel(world.flow.later)) as t:
        await world.connect(t, resumed=True)
        world.ask(t)
        await world.ended(t)
    world.judge(f"stopped at turn {turn}")
    return True


async def _both(asking: asyncio.Future[object] | None, world: World, t: Talk) -> None:
    if asking is not None:
        await asking
    await world.ended(t)


def at_every_turn(
    kind: Any, flow: Flow, tmp_path: Path, *, forgetful: bool, every: int = 1, first: int = 1
) -> int:
    """Try each turn until the flow ends before it; how many that were."""
    for turn in range(first, _TURNS_MAX, every):
        world = World(flow, forgetful)
        path = tmp_path / f"{turn}"
        path.mkdir()
        with asyncio.Runner(loop_factory=SteppedLoop) as runner:
            if not runner.run(kind(world, path, turn)):
                return turn
    raise AssertionError("the flow does not end")


@pytest.mark.parametrize("name", FLOWS)
@pytest.mark.parametrize("kind", [killed, stopped], ids=["killed", "stopped"])
def test_some_turns(name: str, kind: Any, tmp_path: Path) -> None:
    """Ended at every ninth turn of its flow, a question gets one whole answer in the next life."""
    at_every_turn(kind, FLOWS[name], tmp_path, forgetful=False, every=9, first=1 + len(name) % 9)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["long", "slash command"])
def test_many_turns(name: str, tmp_path: Path) -> None:
    """Killed at every fourth turn, one whole answer; a command's though no nonce is remembered."""
    flow = FLOWS[name]
    assert at_every_turn(killed, flow, tmp_path, forgetful=flow.command, every=4) > 10
