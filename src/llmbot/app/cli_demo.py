"""`llmbot demo`: the simulators and the bot as two processes of their own, and this their parent.

A bot that is killed, or asks for a restart, is started again, so that one can watch it finish what
it had begun. Ctrl-C stops the bot first, while the simulated Discord still takes its last words.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections import deque
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from llmbot.app.lifecycle.supervised_tasks import wait_for
from llmbot.app.settings.tree import Settings
from llmbot.console.api.listen import listen_on
from llmbot.console.cli.client import Remote
from llmbot.kernel.clock import Clock
from llmbot.kernel.errors import SecondInstanceError, ServiceStartError
from llmbot.storage.instance import FACTS_NAME, InstanceFacts, read_instance

RESTART = 75
FIRST_STARTUP_CODE, LAST_STARTUP_CODE = 10, 19
"""Exit codes of errors that another start would meet again; see `kernel/errors.py`."""

DEATHS_MAX = 5
DEATHS_WITHIN_S = 60.0
SIMULATORS_DEADLINE_S = 30.0
TEST_CHANNEL = "operator-tests"
LOOK_EVERY_S = 0.05
STOP_EXTRA_S = 10.0
"""On top of the bot's own grace, before it is killed."""

Say = Callable[[str], None]


async def run_demo(settings: Settings, clock: Clock, say: Say) -> int:
    """Run both until a signal; the exit code.

    Raises:
        PortTakenError: before anything is started.
        SecondInstanceError: another bot runs on the same data.
        ServiceStartError: the simulators or the bot did not start.
    """
    holder = read_instance(settings.storage.data_dir)
    if holder is not None:
        raise SecondInstanceError(
            f"Another llmbot (process {holder.pid}) runs on the data in "
            f"{settings.storage.data_dir}."
        )
    if settings.http.port:
        listen_on(settings.http.host, settings.http.port).close()
    demo = Demo(settings, clock, say)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, demo.ask_to_stop)
    try:
        return await demo.run()
    finally:
        await demo.close()


class Demo:
    """The parent of both processes."""

    def __init__(self, settings: Settings, clock: Clock, say: Say) -> None:
        """Nothing is started yet."""
        self._settings = settings
        self._clock = clock
        self._say = say
        self._port = settings.http.port
        self._stopping = asyncio.Event()
        self._simulators: Process | None = None
        self._bot: Process | None = None
        self._deaths: deque[float] = deque(maxlen=DEATHS_MAX)
        self._test_channel = "0"

    def ask_to_stop(self) -> None:
        """Stop cleanly; asked a second time, kill what still runs."""
        if self._stopping.is_set():
            for process in (self._bot, self._simulators):
                _signal(process, signal.SIGKILL)
            return
        self._stopping.set()

    async def run(self) -> int:
        """Start both, look after them, and stop them."""
        self._say("llmbot demo: a simulated Discord, a simulated Gemini, and the bot")
        began = self._clock.monotonic()
        address = await self._start_simulators()
        if self._stopping.is_set():
            return 0
        self._say(f"  simulators  ready after {self._since(began)} at {address}")
        self._test_channel = await asyncio.to_thread(_make_test_channel, address)
        code = await self._look_after_bot(address)
        self._say("Stopped." if code == 0 else f"Stopped with exit code {code}.")
        return code

    async def close(self) -> None:
        """End both processes, the bot first, and wait for them."""
        if self._bot is not None:
            grace = self._settings.deadlines.shutdown_grace_s + STOP_EXTRA_S
            await self._end(self._bot, grace)
        if self._simulators is not None:
            await self._end(self._simulators, STOP_EXTRA_S)

    # ── the simulators ──────────────────────────────────────────────────────────────────────────

    async def _start_simulators(self) -> str:
        command = ["-m", "llmbot.simulators.server", "--port", "0"]
        self._simulators = process = await asyncio.create_subprocess_exec(
            sys.executable,
            *command,
            *("--exit-with-parent", str(os.getpid())),
            # By these its page finds the bot's process, for whoever wants to kill it there.
            *("--bot-facts", str(self._settings.storage.data_dir / FACTS_NAME)),
            stdin=DEVNULL,
            stdout=PIPE,
            start_new_session=True,  # Ctrl-C reaches this process alone, which stops them in order
        )
        first = asyncio.create_task(_first_line(process), name="first words of the simulators")
        if not await wait_for(self._clock, SIMULATORS_DEADLINE_S, first):
            first.cancel()
            words = f"The simulators did not start within {SIMULATORS_DEADLINE_S:g} s."
            raise ServiceStartError(words)
        address = first.result().rpartition(" ")[2]
        if not address.startswith("http"):
            raise ServiceStartError("The simulators did not start; their words stand above.")
        return address

    # ── the bot ─────────────────────────────────────────────────────────────────────────────────

    async def _look_after_bot(self, address: str) -> int:
        """Start the bot, and again whenever it ends without being told to; its last code."""
        first = True
        while True:
            began = self._clock.monotonic()
            process = await self._start_bot(address)
            ready = asyncio.create_task(self._until_ready(process), name="bot is ready")
            ended = asyncio.create_task(process.wait(), name="bot has ended")
            stop = asyncio.create_task(self._stopping.wait(), name="demo is to stop")
            try:
                await asyncio.wait({ready, ended, stop}, return_when=asyncio.FIRST_COMPLETED)
                if ready.done() and not ended.done() and not stop.done():
                    self._port = urlsplit(ready.result().http_address).port or 0
                    self._tell_ready(ready.result(), self._since(began), first=first)
                    first = False
                    await asyncio.wait({ended, stop}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in (ready, ended, stop):
                    task.cancel()
                await asyncio.gather(ready, ended, stop, return_exceptions=True)
            if self._stopping.is_set():
                self._say("Stopping: the bot finishes what it is saying (Ctrl-C again kills it).")
                await self.close()
                return 0
            code = process.returncode or 0
            if not self._may_start_again(code):
                return code if code > 0 else 1

    async def _start_bot(self, address: str) -> Process:
        settings = self._settings
        self._bot = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "llmbot", "bot", "--simulator", address, "--parent", str(os.getpid())),
            stdin=DEVNULL,
            start_new_session=True,
            env={
                **os.environ,
                "HTTP_HOST": settings.http.host,
                "HTTP_PORT": str(self._port),
                "DATA_DIR": str(settings.storage.data_dir),
                "TEST_CHANNEL_ID": self._test_channel,
            },
        )
        return self._bot

    async def _until_ready(self, process: Process) -> InstanceFacts:
        """Where the bot is found, once it answers messages."""
        token = self._settings.http.admin_token.get_secret_value()
        while True:
            await self._clock.sleep(LOOK_EVERY_S)
            facts = read_instance(self._settings.storage.data_dir)
            if facts is None or facts.pid != process.pid or not facts.http_address:
                continue
            if await asyncio.to_thread(Remote(facts.http_address, token).serves):
                return facts

    def _may_start_again(self, code: int) -> bool:
        if code == RESTART:
            self._say("The bot asked to be started again.")
            return True
        if FIRST_STARTUP_CODE <= code <= LAST_STARTUP_CODE:
            return False  # it has said why
        now = self._clock.monotonic()
        crowded = len(self._deaths) == DEATHS_MAX and now - self._deaths[0] < DEATHS_WITHIN_S
        self._deaths.append(now)
        how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        if crowded:
            self._say(f"The bot {how}, {DEATHS_MAX} times within a minute: not started again.")
            return False
        self._say(f"The bot {how}: started again.")
        return True

    def _tell_ready(self, facts: InstanceFacts, after: str, *, first: bool) -> None:
        if not first:
            self._say(f"The bot is back after {after} (process {facts.pid}).")
            return
        self._say(f"  bot         ready after {after} at {facts.http_address}")
        for line in pages(facts):
            self._say(line)
        for line in hints(facts, self._settings.storage.log_dir):
            self._say(line)

    # ── how ─────────────────────────────────────────────────────────────────────────────────────

    async def _end(self, process: Process, patience_s: float) -> None:
        if process.returncode is not None:
            return
        _signal(process, signal.SIGTERM)
        ended = asyncio.create_task(process.wait(), name=f"end of process {process.pid}")
        if not await wait_for(self._clock, patience_s, ended):
            self._say(f"Process {process.pid} did not stop in time: killed.")
            _signal(process, signal.SIGKILL)
        await ended

    def _since(self, began: float) -> str:
        return f"{self._clock.monotonic() - began:.1f} s"


def pages(facts: InstanceFacts) -> list[str]:
    """Where to look and touch, in a browser."""
    return [
        "",
        "In a browser:",
        f"  {facts.simulator_address}/  a simulated Discord: talk to the bot, and break things",
        f"  {facts.http_address}/  the operator page: watch it heal",
    ]


def hints(facts: InstanceFacts, log_dir: Path) -> list[str]:
    """Where to look and what to type next."""
    name = command_name()
    commands = (
        (f'{name} chat "What is a mutex?"', "talk to it"),
        (f"{name} fault on gemini.hang --for 30", "break something; `fault list` shows all"),
        (f"kill -9 {facts.pid}", "kill it; it comes back and finishes what it began"),
        (f"{name} status", "how it is"),
        (f"curl {facts.http_address}/api/health/status", "the same for programs"),
        (f"tail -f {log_dir / 'application.log'}", "all that happens, a line each"),
    )
    width = max(len(command) for command, _ in commands)
    return [
        "",
        "In another terminal, in this directory:",
        *(f"  {command:<{width}}  {words}" for command, words in commands),
        "Ctrl-C stops all of it.",
        "",
    ]


def command_name() -> str:
    """How this program is called from here: by name where the shell finds it, else by path."""
    beside = Path(sys.executable).with_name("llmbot")
    found = shutil.which("llmbot")
    if found is not None and Path(found).resolve() == beside.resolve():
        return "llmbot"
    if not beside.exists():
        return f"{Path(sys.executable).name} -m llmbot"
    with contextlib.suppress(ValueError):
        return str(beside.relative_to(Path.cwd()))
    return str(beside)


def _make_test_channel(address: str) -> str:
    """A channel of the simulated Discord for the operator's tests; its id.

    Raises:
        CommandError: the simulators do not make one.
    """
    made = Remote(address).ask("POST", "/_sim/discord/channels", {"name": TEST_CHANNEL})
    return str(made["id"])


async def _first_line(process: Process) -> str:
    if process.stdout is None:
        return ""
    return (await process.stdout.readline()).decode("utf-8", "replace").strip()


def _signal(process: Process | None, number: signal.Signals) -> None:
    if process is not None and process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(number)
