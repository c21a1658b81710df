"""Every flow, cancelled at each of its awaits: nothing leaks, and the promise holds."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
from tests.support.cancelling import Suspending, at_every_await, descriptors
from tests.support.conversation import Talk, talk
from tests.support.discord import OUR_ID, MemoryDiscord
from tests.support.documents import KINDS, NOTE, Heard, note
from tests.support.models import Piece, ScriptedModel
from tests.support.waiting import PATIENCE_S

from llmbot.conversation.delivery import DeliverySettings
from llmbot.conversation.jobs import Job
from llmbot.conversation.ledger.entries import Ledger
from llmbot.conversation.ledger.reconcile import Reconciler, ReconcileSettings
from llmbot.conversation.messages import Inbound, InteractionRef
from llmbot.conversation.ports import DiscordRest, KnownChannel, Prompt
from llmbot.kernel.clock import SystemClock
from llmbot.kernel.errors import LockTimeoutError
from llmbot.kernel.events import BackfillDone, EventBus
from llmbot.resilience.mutex import Mutexes
from llmbot.storage.documents.store import DocumentStore, StoreSettings

LONG = "One sentence of many. " * 150
AT_ONCE = DeliverySettings(settle_s=0.0, typing_after_s=0.0)


def all_idle(t: Talk) -> None:
    """No lease, no lock, no slot is held."""
    facts = t.queue.facts()
    assert facts.in_flight == 0
    totals = t.mutexes.totals()
    assert (totals.held, totals.waiting) == (0, 0)


async def answered_once(path: Path, discord: MemoryDiscord, *asked: Inbound) -> None:
    """In the next life, to which Discord tells all of them again, each gets its one answer."""
    async with talk(path, discord=discord, running=False) as t:
        for inbound in asked:
            await t.inbox.accept(inbound, None)
        while t.queue.facts().waiting:
            await t.pipeline.answer(await t.queue.next())
        all_idle(t)
        await t.store.tell(1, "looked", "")
        assert await t.store.counts() == {"done": len(asked)}
    for inbound in asked:
        ours = discord.ours(inbound.channel_id, inbound.message_id)
        if inbound.interaction is not None:
            ours = discord.ours(discord.commands.get(inbound.interaction.id, 0))
            ours = [m for m in ours if m.id == discord.originals[inbound.interaction.id]]
        assert [m.content for m in ours] == [f"You said: {inbound.content}"]


def slowly(_: Prompt) -> Iterator[Piece]:
    """A long answer in pieces, with a wait before each."""
    for piece in (LONG[:100], LONG[100:2500], LONG[2500:]):
        go_on = asyncio.Event()
        asyncio.get_running_loop().call_soon(go_on.set)
        yield go_on
        yield piece


def suspending(discord: MemoryDiscord) -> DiscordRest:
    """Discord, with a wait before and after each call."""
    return cast("DiscordRest", Suspending(discord))


async def running(t: Talk, until: Awaitable[object]) -> None:
    """Let the search's task run for so long."""
    task = asyncio.create_task(t.catch_up.run(), name="catch-up")
    try:
        await until
    finally:
        task.cancel()
        await asyncio.wait({task})


@pytest.mark.parametrize("command", [False, True], ids=["message", "command"])
async def test_a_claim(tmp_path: Path, *, command: bool) -> None:
    """A message or command whose claim is cut off is answered once when it is told again."""
    discord = MemoryDiscord()
    asked: list[Inbound] = []
    async with talk(tmp_path / "db", discord=discord, running=False) as t:

        async def claim() -> None:
            inbound = t.question(f"number {len(asked)}", author=len(asked))
            if command:
                inbound = replace(inbound, interaction=InteractionRef(inbound.message_id, 6, "t"))
            asked.append(inbound)
            await t.inbox.accept(inbound, None)

        async def check() -> None:
            all_idle(t)

        open_before = descriptors()
        assert await at_every_await(claim, check) > 0
        assert descriptors() == open_before
    await answered_once(tmp_path / "db", discord, *asked)


@pytest.mark.parametrize("streaming", [True, False])
async def test_an_answer(tmp_path: Path, *, streaming: bool) -> None:
    """Context, model, delivery: cut off anywhere the job waits again, and ends in one reply."""
    settings = replace(AT_ONCE, streaming=streaming)
    model = ScriptedModel(slowly)
    async with talk(tmp_path / "db", model, delivery=settings, running=False, way=suspending) as t:
        jobs: list[Job] = []

        async def next_job() -> None:
            await t.inbox.accept(t.question("hello", author=len(jobs)), None)
            jobs.append(await t.queue.next())

        async def answer() -> None:
            await t.pipeline.answer(jobs[-1])

        async def check() -> None:
            while t.queue.facts().waiting:
                await t.pipeline.answer(await t.queue.next())
            all_idle(t)
            assert t.reply(jobs[-1].message_id).split() == LONG.split()
            await next_job()

        await next_job()
        open_before = descriptors()
        assert await at_every_await(answer, check) > 15
        assert descriptors() == open_before
        await t.store.tell(1, "looked", "")
        assert await t.store.counts() == {"done": len(jobs) - 1, "leased": 1}


async def test_a_back_fill(tmp_path: Path) -> None:
    """A search that is cut off goes on when its task is started anew, and finds all, once."""
    discord = MemoryDiscord()
    asked: list[Inbound] = []
    async with talk(tmp_path / "db", discord=discord, running=False, way=suspending) as t:
        await t.inbox.continue_from()
        await t.catch_up.load()

        async def search() -> None:
            inbound = t.question(f"<@{OUR_ID}> number {len(asked)}", author=len(asked))
            asked.append(inbound)
            discord.seed(t.as_it_stands(inbound))
            found = t.bus.expect(BackfillDone)
            channels = [KnownChannel(100, 1, inbound.message_id)]
            t.inbox.on_session(resumed=False, channels=channels, session_id=f"s{len(asked)}")
            await running(t, found)

        async def check() -> None:
            if await t.store.job(asked[-1].message_id) is None:
                await running(t, t.bus.wait_for(BackfillDone, timeout_s=PATIENCE_S))
            all_idle(t)

        of_the_inbox = ("gap-", "note-", "load-", "saver-")
        assert await at_every_await(search, check, not_its_own=of_the_inbox) > 2
    await answered_once(
        tmp_path / "db", discord, *(replace(i, content=i.content.split("> ")[1]) for i in asked)
    )


async def test_a_reconciling_round(tmp_path: Path) -> None:
    """A round that is cut off harms nothing: the next ones mend what is amiss."""
    async with talk(tmp_path / "db") as t:
        delivered = await t.ask("hello")
        await t.store.tell(delivered.message_id, "looked", "")
        ours = t.discord.ours(100, delivered.message_id)[0]
        known = Reconciler(
            suspending(t.discord),
            t.store,
            Ledger(t.database),
            t.queue,
            t.queue.knows,
            t.bus,
            t.clock,
            ReconcileSettings(settled_s=-1.0),
        )

        async def look() -> None:
            t.discord.seed(replace(ours, id=next(t.ids)))
            await known.look()

        async def check() -> None:
            await known.look()
            await known.look()
            assert t.discord.ours(100, delivered.message_id) == [ours]

        assert await at_every_await(look, check) > 1


async def test_a_document_that_is_saved(tmp_path: Path) -> None:
    """A save that is cut off leaves the old or the new document, and nothing half written."""
    root = tmp_path / "data"
    root.mkdir()
    store = DocumentStore(root, KINDS, SystemClock(), Heard(), settings=StoreSettings())
    await store.start()
    saved = 0

    async def save() -> None:
        nonlocal saved
        saved += 1
        await store.put(NOTE.ref(1), note(saved))

    async def check() -> None:
        await store.put(NOTE.ref(2), note(saved))
        assert await store.get(NOTE.ref(1)) in (None, note(saved - 1), note(saved))

    open_before = descriptors()
    assert await at_every_await(save, check) > 0
    await store.stop()
    assert descriptors() <= open_before
    names = {path.name for path in root.rglob("*") if path.is_file()}
    assert not {name for name in names if "partial" in name or name.endswith(".tmp")}


async def test_a_lock(tmp_path: Path) -> None:
    """Whether it waits for a lock or holds it: cut off, it neither waits nor holds."""
    del tmp_path
    clock = SystemClock()
    mutexes = Mutexes(clock, EventBus(clock))

    async def hold() -> None:
        async with mutexes.hold("one", reason="test"), mutexes.hold("two", reason="test"):
            await clock.sleep(0)

    async def check() -> None:
        totals = mutexes.totals()
        assert (totals.held, totals.waiting) == (0, 0)

    assert await at_every_await(hold, check) > 0
    async with mutexes.hold("two", reason="held"):
        assert await at_every_await_while_held(mutexes) > 0


async def at_every_await_while_held(mutexes: Mutexes) -> int:
    """Cut off others that wait for a lock which somebody holds."""

    async def wait() -> None:
        async with mutexes.hold("one", reason="test"):
            try:
                async with mutexes.hold("two", reason="test", wait_s=0.05):
                    raise AssertionError("two hold it")
            except LockTimeoutError:
                return

    async def check() -> None:
        totals = mutexes.totals()
        assert (totals.held, totals.waiting) == (1, 0)

    return await at_every_await(wait, check)
