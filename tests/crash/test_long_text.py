"""A long file and a real bot that is killed while it reads: one answer, in one message, honestly.

Real processes on real sockets: simulators in one, the bot in another, killed by signal 9.
"""

from __future__ import annotations

import base64
import re
from pathlib import Path

import pytest
from tests.crash.harness.outside import monotonic, until
from tests.crash.harness.processes import Pace
from tests.crash.harness.run import Stage, stage

FILE_BYTES = 1_000_000
AT_ONCE = 4
PATIENCE_S = 150.0
PLACE = {"channel": "general"}

BLOCKED = 300_000
"""About here the file holds what the simulated model's safety rules stop."""

_BAR = re.compile(r"`[█░]+` (\d+)/(\d+)")
_PART = re.compile(r'<part number=\\?"(\d+)')


def long_file() -> bytes:
    """A megabyte of paragraphs, every one of its own, and one that no model may read."""
    paragraphs: list[str] = []
    size = 0
    while size < FILE_BYTES:
        number = len(paragraphs)
        blocked = "[[finish:SAFETY]] " if size < BLOCKED <= size + 700 else ""
        paragraphs.append(f"{blocked}Section {number} tells of place-{number}. " * 15)
        size += len(paragraphs[-1]) + 2
    return "\n\n".join(paragraphs).encode()


async def our_messages(play: Stage, channel_id: str) -> dict[str, str]:
    """What the bot has in the channel: texts by their ids."""
    found = await play.control.messages(channel_id)
    return {m["id"]: m["content"] for m in found if m["author"]["bot"] and not m["deleted_at"]}


async def parts_asked(play: Stage) -> list[int]:
    """The parts that the model was asked to read, in the order of the calls."""
    calls = (await play.control.call("GET", "gemini/requests"))["requests"]
    texts = [str(call["contents"]) for call in calls]
    return [int(found[1]) for text in texts if (found := _PART.search(text))]


@pytest.mark.slow
async def test_a_killed_bot_goes_on_reading_in_the_same_message(tmp_path: Path) -> None:
    """After a kill the next life reads the rest, and completes the message that showed the bar.

    No part that was noted is read again, never more calls at once than allowed, what was blocked is
    told, and nothing stays in TEMP_DIR.
    """
    file = {"filename": "big.txt", "data_base64": base64.b64encode(long_file()).decode()}
    pace = Pace(first_word_s=0.8, chunk_s=0.005)
    async with stage(tmp_path, pace=pace, LONG_TEXT_PARTS_AT_ONCE=str(AT_ONCE)) as play:
        await play.bot.start()
        await play.ready()
        asked = await play.control.say(
            PLACE, "ada", "what is this?", mention_bot=True, attachments=[file]
        )
        channel = asked["channel_id"]
        deadline = monotonic() + PATIENCE_S
        read = total = 0
        while read < 2 * AT_ONCE:
            assert await until(deadline, 0.05)
            for text in (await our_messages(play, channel)).values():
                if bar := _BAR.search(text):
                    read, total = int(bar[1]), int(bar[2])
        (message,) = await our_messages(play, channel)
        await play.bot.kill()
        before = await parts_asked(play)
        folder = tmp_path / "temp/context" / str(asked["id"])
        noted = {int(note.stem[5:]) for note in folder.glob("part-*.note")}
        assert len(noted) >= read
        await play.bot.start()
        answer = ""
        while "parts of the text" not in answer:
            assert await until(deadline, 0.05)
            answer = "".join((await our_messages(play, channel)).values())
        after = (await parts_asked(play))[len(before) :]
        assert noted.isdisjoint(after)
        assert noted | set(after) == set(range(1, total + 1))
        assert message in await our_messages(play, channel)
        assert f"I could not read 1/{total} parts of the text" in answer
        assert _BAR.search(answer) is None
        stats = await play.control.call("GET", "gemini/stats")
        # One more than for parts: the bot may look for itself whether the model is well.
        assert stats["inFlightMost"] <= AT_ONCE + 1
        while any((tmp_path / "temp/context").iterdir()):
            assert await until(deadline, 0.05)
        assert await play.bot.stop() == 0
