"""Actions on memory and disk: collect, empty caches, remove temporary files, large contexts."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable, Mapping

from llmbot.app.running import Running
from llmbot.app.stores import stores_of
from llmbot.console.actions import ActionError, Asked, Done
from llmbot.kernel.errors import StoreUnavailableError
from llmbot.operations import temp_files

__all__ = ["host_actions"]

Handler = Callable[[Asked], Awaitable[Done]]


def host_actions(bot: Running) -> Mapping[str, Handler]:
    """The actions by name."""
    host = _Host(bot)
    return {
        "gc": host.collect,
        "cache/clear": host.clear_caches,
        "temp/cleanup": host.clean_temp,
        "context/restart": host.restart_contexts,
        "context/retry-failed": host.retry_chunks,
        "context/cleanup": host.clean_contexts,
    }


class _Host:
    def __init__(self, bot: Running) -> None:
        self._bot = bot
        self._temp = bot.house.settings.storage.temp_dir

    # ── memory ──────────────────────────────────────────────────────────────────────────────────

    async def collect(self, asked: Asked) -> Done:
        del asked
        host = self._bot.edges.host
        before = {"heapUsed": host.resident_bytes(), "tracked": sum(gc.get_count())}
        # The collector holds the interpreter wherever it runs: a thread would not spare the loop.
        unreachable = gc.collect()
        trimmed = await asyncio.to_thread(host.give_back)
        after = {"heapUsed": host.resident_bytes(), "tracked": sum(gc.get_count())}
        told = {
            "collected": unreachable,
            "uncollectable": len(gc.garbage),
            "arenasReturned": trimmed,
            "bytesFreed": before["heapUsed"] - after["heapUsed"],
        }
        return Done(before, after, told)

    async def clear_caches(self, asked: Asked) -> Done:
        del asked
        host = self._bot.edges.host
        before: dict[str, object] = {"heapUsed": host.resident_bytes()}
        caches: dict[str, dict[str, int]] = {}
        for name, store in stores_of(self._bot).items():
            if store.clear is None:
                continue
            entries, size = store.entries(), store.bytes()
            store.clear()
            left = store.entries()
            caches[name] = {"entries": entries - left, "bytes": size - store.bytes(), "left": left}
        after: dict[str, object] = {"heapUsed": host.resident_bytes()}
        return Done(
            before,
            after,
            {
                "caches": caches,
                "entriesFreed": sum(cache["entries"] for cache in caches.values()),
                "bytesFreed": sum(cache["bytes"] for cache in caches.values()),
            },
        )

    # ── temporary files ─────────────────────────────────────────────────────────────────────────

    async def clean_temp(self, asked: Asked) -> Done:
        del asked
        try:
            before = await asyncio.to_thread(temp_files.use_of, self._temp)
            cleaned = await asyncio.to_thread(temp_files.clean, self._temp, self._live_jobs())
            after = await asyncio.to_thread(temp_files.use_of, self._temp)
        except OSError as error:
            raise _no_room(error) from error
        told = {
            "filesRemoved": cleaned.files,
            "bytesFreed": cleaned.bytes,
            "notRemoved": list(cleaned.left),
        }
        if cleaned.left and not cleaned.files:
            raise ActionError(
                f"Nothing could be removed: {cleaned.left[0]}.",
                code="not_removed",
                remedy="Give this user the right to write TEMP_DIR and what is in it.",
                facts=told,
            )
        return Done(
            {"files": before.files, "bytes": before.bytes},
            {"files": after.files, "bytes": after.bytes},
            told,
        )

    # ── large contexts ──────────────────────────────────────────────────────────────────────────

    async def restart_contexts(self, asked: Asked) -> Done:
        """Break off what is read and go on from the disk; first make its room and prove it."""
        del asked
        large = self._bot.conversation.large
        try:
            own = await asyncio.to_thread(temp_files.prepare, self._temp)
        except OSError as error:
            raise _no_room(error) from error
        before = {"jobs": len(large.facts())}
        restarted = large.restart()
        after = {
            "jobs": len(large.facts()),
            "directoryWritable": True,
            "directoryIsOurs": own,
        }
        return Done(before, after, {"restarted": restarted})

    async def retry_chunks(self, asked: Asked) -> Done:
        """Read failed parts again; answers that were given without them are written anew."""
        del asked
        large = self._bot.conversation.large
        before = {"failedChunks": large.failed}
        retried = await large.retry_failed()
        told = {
            "retried": retried.parts,
            "succeeded": retried.read,
            "failed": retried.parts - retried.read,
        }
        return Done(before, {"failedChunks": large.failed}, told)

    async def clean_contexts(self, asked: Asked) -> Done:
        """Remove the folders of long texts that no message needs."""
        del asked
        keeper = self._bot.conversation.large.keeper
        try:
            before = await keeper.use()
            await keeper.adopt()
            await keeper.drain()
            after = await keeper.use()
        except OSError as error:
            raise _no_room(error) from error
        return Done(
            {"folders": before.folders, "bytes": before.bytes},
            {"folders": after.folders, "bytes": after.bytes},
            {
                "foldersRemoved": before.folders - after.folders,
                "bytesFreed": before.bytes - after.bytes,
            },
        )

    def _live_jobs(self) -> frozenset[str]:
        return self._bot.conversation.large.live()


def _no_room(error: OSError) -> ActionError:
    return ActionError(
        f"TEMP_DIR cannot be used ({error.strerror}).",
        code=StoreUnavailableError.code,
        remedy="Free space, or make the directory writable for this user.",
    )
