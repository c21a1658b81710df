"""What is kept of a user: shown to them alone, and gone from the disk when they say so."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.conversation import Talk, talk
from tests.support.models import ScriptedModel

from llmbot.app.limits import Limits
from llmbot.app.settings.tree import Settings
from llmbot.conversation.commands.privacy import PART_CHARACTERS, PrivacyCommand
from llmbot.conversation.memory.privacy import Privacy, UserLimits
from llmbot.conversation.messages import CommandReply, CommandRequest, InteractionRef
from llmbot.conversation.rules.preferences import USERS, Preferences
from llmbot.kernel.ids import snowflake_at
from llmbot.storage.database.backups import DatabaseBackups
from llmbot.storage.database.opening import Session
from llmbot.storage.documents.admin import DocumentAdmin

ANN, BOB = 111_222_333_444_555_666, 777_888_999_000_111_222
SECRET = "my cat is called Xanthippe"


@dataclass(slots=True)
class Rig:
    """A conversation with somebody who may want to be forgotten."""

    talk: Talk
    limits: Limits
    privacy: Privacy
    folder: Path

    async def says(self, user: int, **options: str) -> CommandReply:
        """Give `/privacy`."""
        reference = InteractionRef(snowflake_at(self.talk.clock.wall() + 5), 42, "token")
        request = CommandRequest("privacy", user, "ann", 100, 1, options, reference)
        return await PrivacyCommand(self.privacy).privacy(request)

    def holding(self, *words: bytes) -> list[str]:
        """The files below the data directory that hold any of these bytes."""
        return sorted(
            path.relative_to(self.folder).as_posix()
            for path in self.folder.rglob("*")
            if path.is_file() and any(word in path.read_bytes() for word in words)
        )


@asynccontextmanager
async def rig(folder: Path, *models: ScriptedModel) -> AsyncIterator[Rig]:
    """A conversation whose data stand below one folder."""
    async with talk(folder / "llmbot.db", *models) as t:
        limits = Limits(Settings(), t.database, t.clock)
        privacy = Privacy(
            t.documents,
            t.memory,
            t.database,
            t.queue,
            UserLimits(limits.told_of, limits.forget_user),
            t.bus,
            t.clock,
        )
        try:
            yield Rig(t, limits, privacy, folder)
        finally:
            limits.flush()
            await privacy.drain()


async def test_a_forgotten_user_is_in_no_file(tmp_path: Path) -> None:
    """After `/privacy delete` no file below the data directory holds their words, name or id."""
    async with rig(tmp_path) as r:
        t = r.talk
        for number in range(4):
            inbound = t.question(f"{SECRET} {number}", author=ANN, author_name="Annabella")
            r.limits.admit(inbound)
            done = t.delivered(inbound.message_id)
            t.inbox.on_message(inbound, None)
            await done
            await t.documents.saved()
        await t.ask("I am Bob", author=BOB)
        await t.ask(SECRET, author=ANN, author_name="Annabella", channel=200)
        await t.documents.saved()
        await t.documents.put(USERS.ref(ANN), Preferences(language="de"))
        await t.rules.change_user(ANN, lambda p: p, what="nothing")
        admin = DocumentAdmin(t.documents, t.bus.publish)
        await admin.backup("conversations/100.json")
        documents = tmp_path / "llmbot.db-documents"
        live = documents / "conversations/200.json"
        copy = documents / "backups/200.json.corrupted.1700000000"
        copy.write_bytes(live.read_bytes())
        (documents / "conversations/100.json.backup").write_bytes(
            (documents / "conversations/100.json").read_bytes()
        )
        aside = documents / "conversations/300.json"
        aside.write_bytes(live.read_bytes()[:-20])
        await admin.recover("conversations/300.json")
        assert list((documents / "quarantine").rglob("*"))
        await DatabaseBackups(documents / "backups", t.clock).take(t.database)
        r.limits.flush()
        await t.store.tell(1, "looked", "")
        traces = (b"Xanthippe", b"Annabella", str(ANN).encode())
        holding = r.holding(*traces)
        assert len(holding) > 7
        for kind in ("llmbot.db-wal", "quarantine/", "llmbot.db.bak-", ".json.bak", "backups/"):
            assert any(kind in name for name in holding), kind

        reply = await r.says(ANN, action="delete", confirm="yes")
        assert reply.text.startswith("Deleted")
        assert r.holding(*traces) == []
        assert r.holding(b"I am Bob") != []

        def rows(session: Session) -> int:
            return int(
                session.execute("SELECT COUNT(*) FROM jobs WHERE author_id = ?", (ANN,))[0][0]
            )

        assert await t.database.read(rows) == 0
        again = t.question("once more", message_id=inbound.message_id, author=ANN)
        assert not await t.inbox.accept(again, None)
    assert Rig(t, r.limits, r.privacy, tmp_path).holding(*traces) == []


async def test_delete_asks_first(tmp_path: Path) -> None:
    """Without the confirmation nothing is deleted, and what would be is told in private."""
    async with rig(tmp_path) as r:
        await r.talk.ask(SECRET, author=ANN)
        reply = await r.says(ANN, action="delete")
        assert reply.private
        assert "cannot be undone" in reply.text
        assert len(await r.talk.memory.words_of(ANN)) == 2


async def test_the_export_holds_everything_and_nobody_else(tmp_path: Path) -> None:
    """The export is JSON with a user's own words, answers, wishes and counts, in private parts."""
    async with rig(tmp_path) as r:
        long = "x" * 3000
        inbound = r.talk.question(f"{SECRET} ```{long}", author=ANN)
        r.limits.admit(inbound)
        done = r.talk.delivered(inbound.message_id)
        r.talk.inbox.on_message(inbound, None)
        await done
        await r.talk.ask("I am Bob", author=BOB)
        await r.talk.rules.change_user(
            ANN, lambda p: p.model_copy(update={"language": "de"}), what="language"
        )
        reply = await r.says(ANN, action="export")
        assert reply.private
        assert all(len(part) <= 2000 for part in reply.more)
        inner = [part.removeprefix("```json\n").removesuffix("\n```") for part in reply.more]
        assert all(len(part) <= PART_CHARACTERS for part in inner)
        assert all("```" not in part for part in inner)
        told = json.loads("".join(inner).replace("\u200b", ""))
        assert told["user"] == str(ANN)
        assert told["preferences"]["language"] == "de"
        assert [entry["from"] for entry in told["memory"]] == ["you", "llmbot"]
        assert SECRET in told["memory"][0]["text"]
        assert told["messages"] == [{"message": str(inbound.message_id), "state": "done"}]
        assert told["counts"] == [f"user:{ANN}: 1"]
        assert "Bob" not in "".join(reply.more)


async def test_a_long_export_comes_in_pages(tmp_path: Path) -> None:
    """What does not fit into one answer is asked for by page, and the pages make one whole."""
    async with rig(tmp_path) as r:
        for number in range(7):
            await r.talk.ask(f"{number} " + "y" * 1500, author=ANN)
        pages: list[str] = []
        for page in range(1, 10):
            reply = await r.says(ANN, action="export", page=str(page))
            pages += reply.more
            if f"page:{page + 1}" not in reply.text:
                break
        assert len(pages) > 8
        whole = "".join(p.removeprefix("```json\n").removesuffix("\n```") for p in pages)
        assert len(json.loads(whole)["memory"]) == 14


async def test_a_waiting_question_is_taken_back(tmp_path: Path) -> None:
    """Questions of a forgotten user that wait are never answered; the one under way is not kept."""
    go_on = asyncio.Event()
    model = ScriptedModel(lambda _: ["Half. ", go_on, "Whole."])
    async with rig(tmp_path, model) as r:
        t = r.talk
        first = t.question(SECRET, author=ANN)
        done = t.delivered(first.message_id)
        t.inbox.on_message(first, None)
        t.inbox.on_message(t.question(f"{SECRET} again", author=ANN), None)
        await t.discord.changed.wait()
        await t.inbox.drain()
        await r.says(ANN, action="delete", confirm="yes")
        go_on.set()
        await done
        await t.memory.drain()
        assert await t.memory.words_of(ANN) == []
        assert len(model.prompts) == 1
        await t.store.tell(1, "looked", "")
        assert (await t.store.counts()) == {"done": 2}
