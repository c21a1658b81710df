"""Put together: the document store, who looks after it, and what is kept in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from llmbot.app.parts import Documents, House
from llmbot.app.reload import SETTINGS
from llmbot.app.settings import Settings
from llmbot.app.supervisor import Supervisor
from llmbot.conversation.house_rules import HouseRules, Personas
from llmbot.conversation.preferences import USERS
from llmbot.conversation.server_settings import SERVERS
from llmbot.kernel.errors import LlmbotError
from llmbot.kernel.events import Noted
from llmbot.storage.document_admin import DocumentAdmin
from llmbot.storage.document_kinds import Kinds
from llmbot.storage.documents import DocumentStore
from llmbot.storage.patrol import Patrol

KINDS = Kinds([SETTINGS, SERVERS, USERS])


def build_store(house: House) -> DocumentStore:
    """The documents in the data directory."""
    root = house.settings.storage.data_dir
    return DocumentStore(root, KINDS, house.clock, house.bus.publish)


def build_documents(house: House, store: DocumentStore) -> Documents:
    """Store, patrol and rules."""
    admin = DocumentAdmin(store, house.bus.publish)
    return Documents(
        store=store,
        admin=admin,
        patrol=Patrol(store, admin, house.clock),
        rules=HouseRules(store, house.bus, lambda: personas_of(house.settings)),
    )


def personas_of(settings: Settings) -> Personas:
    """The personas as servers may choose them."""
    return Personas(settings.personas.system_prompt, settings.personas.all)


@dataclass(slots=True)
class DocumentsService:
    """The documents, their patrol, and what is read of them before the first message comes."""

    documents: Documents
    house: House
    supervisor: Callable[[], Supervisor]
    was_unclean: Callable[[], bool]
    name: str = "documents"
    needs: tuple[str, ...] = ("database",)

    async def start(self) -> None:
        """Open, read what every message is judged by, begin the patrol.

        A disk that refuses holds nobody up: the bot's own settings hold until it gives way.
        """
        await self.documents.store.start()
        await self.documents.rules.load()
        await self._first_settings()
        hurry = self.was_unclean()
        self.supervisor().watch(
            "patrol", lambda: self.documents.patrol.run(hurry=hurry), owner=self.name
        )

    async def stop(self) -> None:
        """Save what is not saved."""
        await self.documents.store.stop()

    def trouble(self) -> str:
        """Why nothing can be saved."""
        facts = self.documents.store.facts()
        if facts.condition:
            return f"{facts.condition} {facts.unsaved} document(s) wait."
        return f"room on the disk: {facts.room}" if facts.room == "critical" else ""

    async def _first_settings(self) -> None:
        """Let there be a file to edit from the first start on."""
        store, ref = self.documents.store, SETTINGS.ref(SETTINGS.key)
        try:
            if await store.get(ref) is None:
                await store.put(ref, SETTINGS.default())
        except LlmbotError as error:
            self.house.bus.publish(Noted("settings", f"settings.json: {error.code}"))
