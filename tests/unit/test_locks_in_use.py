"""Where the bot itself locks: conversations, documents, the services; seen, and taken away."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.support.conversation import talk
from tests.support.documents import KINDS, NOTE, ONE, Heard, Note, note
from tests.support.models import ScriptedModel

from llmbot.app.lifecycle.supervisor import Supervisor
from llmbot.conversation.turns import Turns
from llmbot.kernel.clock import SystemClock
from llmbot.kernel.errors import FencedError, StoreUnavailableError
from llmbot.kernel.events import EventBus, JobMoved
from llmbot.resilience.mutex import Mutexes
from llmbot.resilience.mutex_facts import LockBroken, MutexSettings
from llmbot.storage.documents.admin import DocumentAdmin
from llmbot.storage.documents.store import DocumentStore


async def test_who_answers_holds_the_conversation(tmp_path: Path) -> None:
    """While a message is answered the lock of its conversation says by whom; then it is free."""
    go_on = asyncio.Event()
    model = ScriptedModel(lambda _: ["a", go_on, "b"])
    async with talk(tmp_path / "db", model) as t:
        question = t.question("one")
        generating = t.bus.expect(JobMoved, lambda e: e.after == "generating")
        done = t.delivered(question.message_id)
        t.inbox.on_message(question, None)
        await generating
        holder = t.mutexes.status()["conversation:100:7"].holder
        assert holder is not None
        assert holder.owner == f"answer-{question.message_id}"
        assert holder.reason == f"message {question.message_id}"
        go_on.set()
        await done
        await t.workers.drain(5)
        assert t.mutexes.status()["conversation:100:7"].holder is None


async def test_a_jammed_answer_is_taken_its_turn_and_given_once(tmp_path: Path) -> None:
    """Force-release cancels who holds a conversation; the message is answered anew, and once."""
    never = asyncio.Event()
    pieces: list[list[str | asyncio.Event]] = [["stuck", never], ["whole"]]
    model = ScriptedModel(lambda _: pieces.pop(0))
    async with talk(tmp_path / "db", model) as t:
        question = t.question("one")
        generating = t.bus.expect(JobMoved, lambda e: e.after == "generating")
        done = t.delivered(question.message_id)
        t.inbox.on_message(question, None)
        await generating
        broken = t.bus.expect(LockBroken)
        assert t.mutexes.force_release("conversation:100:7", "it hangs") is not None
        assert (await broken).reason == "it hangs"
        await done
        assert t.reply(question.message_id) == "whole"
        assert len(t.discord.ours(100)) == 1


async def test_who_lost_the_turn_says_nothing_any_more(tmp_path: Path) -> None:
    """A reply whose turn was taken away refuses to speak, however late it tries."""
    async with talk(tmp_path / "db", running=False) as t:
        await t.inbox.accept(t.question("one"), None)
        job = await t.queue.next()
        turns = Turns(t.mutexes)

        async def speak() -> None:
            async with turns.of(job) as turn, t.pipeline.delivery.open(job, turn) as reply:
                t.mutexes.force_release("conversation:100:7", "a test")
                with pytest.raises(asyncio.CancelledError):
                    await asyncio.Event().wait()
                await reply.finish("too late")

        with pytest.raises(FencedError):
            await speak()
        assert t.discord.ours(100) == []
        t.queue.release(job)


async def test_changes_of_a_document_follow_each_other(tmp_path: Path) -> None:
    """Whoever changes a document holds its lock; others wait for it, and no change is lost."""
    clock = SystemClock()
    mutexes = Mutexes(clock, EventBus(clock))
    store = DocumentStore(tmp_path, KINDS, clock, Heard(), locks=mutexes)
    await store.start()

    def add(value: Note) -> Note:
        holder = mutexes.status()["document:notes/1.json"].holder
        assert holder is not None
        assert holder.reason == "update"
        return value.model_copy(update={"count": value.count + 1})

    await asyncio.gather(*(store.update(ONE, add) for _ in range(10)))
    value = await store.get(ONE)
    assert value is not None
    assert value.count == 10
    figures = mutexes.status()["document:notes/1.json"].figures
    assert figures.contended == 9
    await store.stop()


async def test_a_document_that_others_hold_is_refused_in_time(tmp_path: Path) -> None:
    """Where a lock is not given back in time the change is refused, as by a disk that refuses."""
    clock = SystemClock()
    mutexes = Mutexes(clock, EventBus(clock), MutexSettings(wait_s=0.02))
    store = DocumentStore(tmp_path, KINDS, clock, Heard(), locks=mutexes)
    await store.start()
    await store.put(ONE, note(1))
    admin = DocumentAdmin(store, Heard())
    async with mutexes.hold("document:notes/1.json", reason="a test"):
        changes = (store.remove(ONE), admin.recover(ONE.name), admin.backup(ONE.name))
        refusals = await asyncio.gather(*changes, return_exceptions=True)
    assert [type(refusal) for refusal in refusals] == [StoreUnavailableError] * 3
    assert await store.get(NOTE.ref(1)) == note(1)
    await store.stop()


async def test_a_restart_holds_the_lock_of_the_services() -> None:
    """A service that is being restarted shows who does it; the lock is free afterwards."""
    clock = SystemClock()
    bus = EventBus(clock)
    mutexes = Mutexes(clock, bus)
    seen: list[str] = []

    class Part:
        name = "part"
        needs: tuple[str, ...] = ()

        async def start(self) -> None:
            holder = mutexes.status()["services"].holder
            seen.append("" if holder is None else holder.reason)

        async def stop(self) -> None:
            """Nothing to end."""

        def trouble(self) -> str:
            """Never."""
            return ""

    supervisor = Supervisor([Part()], bus, clock, mutexes=mutexes)
    await supervisor.start_all()
    await supervisor.restart("part")
    assert seen == ["start", "restart of part"]
    assert mutexes.status()["services"].holder is None
