"""What the command line asks of the application. Each import waits until it is needed."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmbot.console.cli.client import DemoOptions, Local
from llmbot.console.views import ConfigView
from llmbot.kernel.clock import SystemClock
from llmbot.kernel.errors import SettingsError

if TYPE_CHECKING:
    from llmbot.storage.documents.recovery import DocumentShelf

# Everything below is imported where it is used: settings cost 0.2 s and the bot a second, which
# `llmbot version` or `llmbot --help` need not pay.
# ruff: noqa: PLC0415

RESTART = 75
"""Exit code of a bot that asks to be started again; see `run.py`."""

PARENT_LOOK_S = 0.5


class AppEntry:
    """Fulfils `console.cli_client.Entry`."""

    def local(self, data_dir: Path | None) -> Local:
        """Where the bot of this directory keeps its facts, and its token."""
        from llmbot.app.settings.tree import load_settings

        settings = load_settings()
        chosen = data_dir or settings.storage.data_dir
        return Local(chosen, settings.http.admin_token.get_secret_value())

    def run(self) -> int:
        """Run live until the end; a requested restart replaces this process by a fresh one."""
        _without_pauses()
        from llmbot.app.settings.tree import load_settings

        settings = load_settings()
        missing = settings.missing_for_live()
        if missing:
            error = SettingsError("\n".join([*missing, "Without an account: `llmbot demo`."]))
            error.remedy = ""  # type: ignore[misc] # each line has its own
            raise error
        from llmbot.app.run import run_bot

        code = _run(
            lambda: run_bot(settings, mode="live", simulator_address=None, announce=_announce)
        )
        if code == RESTART:
            _begin_anew("run")
        return code

    def bot(self, simulator: str, parent: int) -> int:
        """Run on simulators; a parent that is gone ends it."""
        _without_pauses()
        from llmbot.app.run import run_bot
        from llmbot.app.settings.tree import load_settings

        settings = load_settings().for_demo(
            discord_api_base_url=f"{simulator}/api/v10", gemini_base_url=f"{simulator}/gemini"
        )

        async def watched() -> int:
            watch = asyncio.create_task(_end_with(parent), name="parent watch")
            try:
                return await run_bot(
                    settings, mode="simulated", simulator_address=simulator, announce=_silent
                )
            finally:
                watch.cancel()
                await asyncio.gather(watch, return_exceptions=True)

        return _run(watched)

    def demo(self, options: DemoOptions) -> int:
        """Run simulators and bot until Ctrl-C."""
        from llmbot.app.cli_demo import run_demo
        from llmbot.app.settings.tree import load_settings

        settings = load_settings()
        if options.port is not None:
            settings = settings.replaced(http={"port": options.port})
        if options.host is not None:
            settings = settings.replaced(http={"host": options.host})
        if options.data_dir is not None:
            settings = settings.replaced(storage={"data_dir": options.data_dir})
        return asyncio.run(run_demo(settings, SystemClock(), _announce))

    def simulate(self, arguments: list[str]) -> int:
        """Become the simulators; they are a program of their own and share no code with the bot."""
        _announce("Point a bot at it with DISCORD_API_BASE_URL=ADDRESS/api/v10 and")
        _announce("GEMINI_BASE_URL=ADDRESS/gemini; any token and key will do.")
        return _become([sys.executable, "-m", "llmbot.simulators.server", *arguments])

    def config(self, *, live: bool) -> ConfigView:
        """Judge the environment and `.env`."""
        from llmbot.app.settings.check import check_settings
        from llmbot.app.settings.tree import load_settings

        return asyncio.run(check_settings(load_settings(), SystemClock(), live=live))

    def shelf(self, data_dir: Path) -> DocumentShelf:
        """The documents of a bot that is down."""
        from llmbot.app.documents import kinds_of
        from llmbot.app.settings.tree import load_settings
        from llmbot.storage.documents.reader import DocumentReader
        from llmbot.storage.documents.recovery import DocumentShelf
        from llmbot.storage.filesystem import RealFileSystem

        reader = DocumentReader(data_dir, kinds_of(load_settings()), RealFileSystem())
        return DocumentShelf(reader, SystemClock())

    def restore_database(self, data_dir: Path, at_s: float) -> dict[str, Any]:
        """Bring back the SQLite database of a bot that is down, as it was at a time."""
        from llmbot.app.settings.tree import load_settings
        from llmbot.console.documents_told import database_copy_told
        from llmbot.conversation.ledger.schema import after_a_jump_back
        from llmbot.storage.database.backups import DatabaseBackups, bring_back
        from llmbot.storage.documents.kinds import BACKUPS

        storage = load_settings().replaced(storage={"data_dir": data_dir}).storage
        if storage.sqlite_file is None:
            raise SettingsError("DATABASE_URL names another database than SQLite's file.")
        clock = SystemClock()
        backups = DatabaseBackups(data_dir / BACKUPS, clock)
        then = after_a_jump_back(clock.wall())
        copy, put_aside = bring_back(storage.sqlite_file, backups, at_s, then, clock)
        kept = "" if put_aside is None else put_aside.kept_as
        return {**database_copy_told(copy), "putAside": kept, "valid": True}

    def example(self, *, markdown: bool) -> str:
        """Every setting with its default and reason."""
        from llmbot.app.settings.docs import env_example, settings_page

        return settings_page() if markdown else env_example()


def _without_pauses() -> None:
    """Look for rubbish only once the bot stands (`run.py` sees to that).

    Looking through what is being imported costs a sixth of the start, and finds nothing.
    """
    gc.disable()


def _run(life: Callable[[], Coroutine[Any, Any, int]]) -> int:
    """On uvloop where there is one: it halves what a message costs."""
    try:
        import uvloop
    except ModuleNotFoundError:  # Windows
        return asyncio.run(life())
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(life())


async def _end_with(parent: int) -> None:
    """Stop cleanly when the demo that started this process is gone, however it went."""
    clock = SystemClock()
    while os.getppid() == parent:
        await clock.sleep(PARENT_LOOK_S)
    os.kill(os.getpid(), signal.SIGTERM)


def _begin_anew(command: str) -> None:
    _announce("Starting anew, as was asked.")
    _become([sys.executable, "-m", "llmbot", command])


def _become(command: list[str]) -> int:
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(command[0], command)  # noqa: S606 - our own program, and no shell to misread it


def _announce(words: str) -> None:
    sys.stdout.write(f"{words}\n")
    sys.stdout.flush()


def _silent(_: str) -> None:
    """The demo's parent says it."""
