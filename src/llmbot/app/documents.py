"""Put together: the document store, who looks after it, and what is kept in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from llmbot.app.database_backups import build_backups
from llmbot.app.lifecycle.supervisor import Supervisor
from llmbot.app.parts import Documents, House
from llmbot.app.settings.reload import CurrentSettings, Reloader, settings_kind
from llmbot.app.settings.translate import memory_bounds
from llmbot.app.settings.tree import Settings
from llmbot.conversation.memory.conversations import CONVERSATIONS
from llmbot.conversation.memory.documents import ConversationMemory
from llmbot.conversation.memory.journal import MemoryJournal
from llmbot.conversation.memory.privacy import Privacy
from llmbot.conversation.memory.summaries import Summaries
from llmbot.conversation.rules.effective import EffectiveRules, Personas
from llmbot.conversation.rules.preferences import USERS
from llmbot.conversation.rules.server_settings import SERVERS
from llmbot.kernel.clock import Clock
from llmbot.storage.database.opening import Database
from llmbot.storage.documents.admin import DocumentAdmin
from llmbot.storage.documents.kinds import Kinds
from llmbot.storage.documents.patrol import Patrol
from llmbot.storage.documents.store import DocumentStore


def kinds_of(settings: Settings) -> Kinds:
    """Every kind of document of a bot whose environment says `settings`."""
    return Kinds([settings_kind(settings), SERVERS, USERS, CONVERSATIONS])


_FORGET_EVERY_S = 3600.0


def build_store(house: House) -> DocumentStore:
    """The documents in the data directory."""
    root = house.settings.storage.data_dir
    kinds = kinds_of(house.settings)
    return DocumentStore(root, kinds, house.clock, house.bus.publish, locks=house.mutexes)


def build_documents(house: House, store: DocumentStore, database: Database) -> Documents:
    """Store, patrol, rules and memory."""
    bus, clock = house.bus, house.clock
    admin = DocumentAdmin(store, house.bus.publish)
    current = CurrentSettings(house.settings)
    kind = next(kind for kind in store.reader.kinds.all if kind.name == "settings")
    return Documents(
        store=store,
        admin=admin,
        patrol=Patrol(store, admin, clock),
        rules=EffectiveRules(store, bus, lambda: personas_of(current.settings)),
        memory=ConversationMemory(
            store, MemoryJournal(database), bus, clock, memory_bounds(house.settings)
        ),
        current=current,
        reloader=Reloader(store, admin, kind, current, bus, clock),
        backups=build_backups(house, store),
    )


def personas_of(settings: Settings) -> Personas:
    """The personas as servers may choose them."""
    return Personas(settings.personas.system_prompt, settings.personas.all)


@dataclass(slots=True)
class DocumentsService:
    """The documents, their patrol, and what is read of them before the first message comes."""

    documents: Documents
    house: House
    database: Database
    supervisor: Callable[[], Supervisor]
    name: str = "documents"
    needs: tuple[str, ...] = ("database",)

    async def start(self) -> None:
        """Open, read what every message is judged by, begin the patrol.

        A disk that refuses holds nobody up: the bot's own settings hold until it gives way.
        """
        await self.documents.store.start()
        await self.documents.rules.load()
        await self.documents.reloader.load()
        await self.documents.memory.adopt()
        hurry = self.database.was_unclean
        watch = self.supervisor().watch
        watch("patrol", lambda: self.documents.patrol.run(hurry=hurry), owner=self.name)
        watch("watch-edits", self.documents.reloader.watch, owner=self.name)

    async def stop(self) -> None:
        """Save what is not saved."""
        await self.documents.memory.drain()
        await self.documents.store.stop()
        await self.documents.memory.drain()

    def trouble(self) -> str:
        """Why nothing can be saved."""
        facts = self.documents.store.facts()
        if facts.condition:
            return f"{facts.condition} {facts.unsaved} document(s) wait."
        return f"room on the disk: {facts.room}" if facts.room == "critical" else ""


@dataclass(slots=True)
class MemoryService:
    """What conversations need beside the answers: summaries, and forgetting what is too old."""

    memory: ConversationMemory
    summaries: Summaries
    privacy: Privacy
    clock: Clock
    supervisor: Callable[[], Supervisor]
    name: str = "conversation-memory"
    needs: tuple[str, ...] = ("documents", "workers")

    async def start(self) -> None:
        """Begin the rounds."""
        watch = self.supervisor().watch
        watch("summaries", self.summaries.run, owner=self.name)
        watch("forget-old", self._forget_old, owner=self.name)

    async def stop(self) -> None:
        """The supervisor ends the tasks, those of privacy aside."""
        await self.privacy.drain()

    def trouble(self) -> str:
        """What cannot be read now."""
        held_back = self.memory.facts().held_back
        return f"{held_back} turn(s) wait for documents that cannot be read" if held_back else ""

    async def _forget_old(self) -> None:
        while True:
            await self.clock.sleep(_FORGET_EVERY_S)
            await self.memory.forget_old()
