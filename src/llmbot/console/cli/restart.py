"""`llmbot restart`: asks, then waits until another life of the bot answers."""

from __future__ import annotations

import asyncio

from llmbot.console.cli.client import CommandError, Local, Remote, running
from llmbot.kernel.clock import Clock
from llmbot.storage.instance import InstanceFacts

BACK_DEADLINE_S = 90.0
"""The grace of the stop and the start of every service, with room."""

_LOOK_EVERY_S = 0.1


def restart_and_wait(local: Local, before: InstanceFacts, clock: Clock) -> float:
    """Restart the bot; the seconds until the new one was ready.

    Raises:
        CommandError: it refused, or did not come back.
    """
    Remote(before.http_address, local.token).ask("POST", "/api/admin/restart")
    began = clock.monotonic()
    asyncio.run(_until_back(local, before, clock, began + BACK_DEADLINE_S))
    return clock.monotonic() - began


async def _until_back(local: Local, before: InstanceFacts, clock: Clock, until: float) -> None:
    while clock.monotonic() < until:
        await clock.sleep(_LOOK_EVERY_S)
        now = running(local)
        if now is None or now.owner == before.owner:
            continue
        if await asyncio.to_thread(Remote(now.http_address, local.token).serves):
            return
    raise CommandError(
        f"The bot did not come back within {BACK_DEADLINE_S:g} s; see its log for why."
    )
