"""Questions that were claimed before a gap: what their authors did to them in it is followed."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

from tests.support.conversation import Talk, talk
from tests.support.models import Piece, ScriptedModel
from tests.support.waiting import until

from llmbot.conversation.messages import Inbound
from llmbot.conversation.ports import Prompt
from llmbot.kernel.events import BackfillDone


def asked(t: Talk, text: str) -> Inbound:
    """A question that stands in its channel and was heard."""
    inbound = t.question(text)
    t.inbox.on_message(inbound, None)
    return inbound


async def test_what_authors_did_in_a_gap_to_open_questions_is_followed(tmp_path: Path) -> None:
    """No session tells of it: a page of the channel shows what was edited and what is gone."""
    thinking, go_on = asyncio.Event(), asyncio.Event()

    def think(prompt: Prompt) -> list[Piece]:
        thinking.set()
        return [go_on, f"Answer to {prompt.turns[-1].text.split(chr(10))[1]}."]

    async with talk(tmp_path / "db", ScriptedModel(think), catching_up=True) as t:
        begun, edited, gone, left = [asked(t, text) for text in ("teh", "waht", "gone", "left")]
        await thinking.wait()
        await until(lambda: t.queue.waiting(left.message_id) is not None)
        for inbound, text in ((begun, "the"), (edited, "what")):
            t.discord.seed(replace(t.as_it_stands(inbound), content=text))
        await t.discord.delete(100, gone.message_id)
        calls = t.discord.calls.count("history")
        done = t.bus.expect(BackfillDone)
        finished = asyncio.ensure_future(t.delivered(left.message_id))
        t.inbox.on_session(resumed=False, channels=[], session_id="s2")
        assert (await done).complete
        assert t.discord.calls.count("history") == calls + 1
        go_on.set()
        await finished
        said = [t.reply(inbound.message_id) for inbound in (begun, edited, gone, left)]
        assert said == ["Answer to the.", "Answer to what.", "", "Answer to left."]


async def test_a_channel_whose_history_is_hidden_takes_no_open_question_back(
    tmp_path: Path,
) -> None:
    """Who may not read a history is shown an empty one: a deletion is believed of the message."""
    go_on = asyncio.Event()
    model = ScriptedModel(lambda _: [go_on, "Here."])
    async with talk(tmp_path / "db", model, catching_up=True) as t:
        first, second = asked(t, "one"), asked(t, "two")
        await until(lambda: t.queue.waiting(second.message_id) is not None)
        t.discord.hidden.add(100)
        done = t.bus.expect(BackfillDone)
        finished = asyncio.ensure_future(t.delivered(second.message_id))
        t.inbox.on_session(resumed=False, channels=[], session_id="s2")
        await done
        go_on.set()
        await finished
        assert [t.reply(inbound.message_id) for inbound in (first, second)] == ["Here."] * 2
