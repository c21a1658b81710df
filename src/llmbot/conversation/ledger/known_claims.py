"""Which messages nobody can have claimed, told without a look at the disk.

A disk that hangs lets nobody read either. But ids grow with time, and one process at a time claims:
what is newer than all that earlier lives have claimed, and was not claimed by this one, is new.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from functools import partial

from llmbot.storage.database.opening import Database

KEPT_MAX = 2_000
"""Claims of this life that are kept one by one."""


class KnownClaims:
    """Hears the claims of this life."""

    def __init__(self, database: Database) -> None:
        """Know nothing before `look_back`."""
        self._db = database
        self._up_to: int | None = None
        self._here: OrderedDict[int, None] = OrderedDict()

    async def look_back(self) -> None:
        """Learn what earlier lives have claimed.

        Raises:
            StoreUnavailableError: the database could not be read.
        """
        rows = await self._db.read(lambda s: s.execute("SELECT MAX(message_id) FROM jobs"))
        self._up_to = int(rows[0][0] or 0)

    def hear(self, message_id: int, claimed: asyncio.Future[bool]) -> asyncio.Future[bool]:
        """A claim is on its way; it counts when it is stored."""
        claimed.add_done_callback(partial(self._note, message_id))
        return claimed

    def is_new(self, message_id: int) -> bool:
        """Whether nobody has claimed a message; False where that cannot be told."""
        return self._up_to is not None and message_id > self._up_to and message_id not in self._here

    def _note(self, message_id: int, claimed: asyncio.Future[bool]) -> None:
        if claimed.cancelled() or claimed.exception() is not None:
            return
        self._here[message_id] = None
        if len(self._here) > KEPT_MAX:
            oldest, _ = self._here.popitem(last=False)
            self._up_to = max(oldest, self._up_to or 0)
