"""A bot under measurement: a process of its own on a core of its own."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil
from benchmarks.lag import read_lags
from benchmarks.stage import MODEL, Stage

from llmbot.kernel.clock import SystemClock

START_S = 60.0
_STOP_S = 15.0
_POLL_S = 0.02
_SHOWN_CHARACTERS = 2000
_ROOT = Path(__file__).resolve().parent.parent
_CLOCK = SystemClock()
MIB = 1024 * 1024

NAMES = ("llmbot", "bare")


def pin(pid: int, core: int) -> bool:
    """Keep a process on one core; False where this system does not let us, or has only one."""
    if not hasattr(os, "sched_setaffinity") or len(os.sched_getaffinity(0)) < 2:
        return False
    try:
        os.sched_setaffinity(pid, {core})
    except OSError:
        return False
    return True


class Contender:
    """One running bot."""

    def __init__(self, name: str, process: subprocess.Popen[bytes], log: Path, lag: Path) -> None:
        """Watch a process just started that writes to `log`, and its loop's lag to `lag`."""
        self.name = name
        self._log = log
        self._lag = lag
        self._process = process
        self.pid = process.pid
        self._watched = psutil.Process(process.pid)

    @property
    def cpu_s(self) -> float:
        """Processor seconds of the process until now, all its threads together."""
        times = self._watched.cpu_times()
        return float(times.user + times.system)

    @property
    def rss_mib(self) -> float:
        """Resident memory."""
        return float(self._watched.memory_info().rss) / MIB

    def lags_ms(self) -> list[float]:
        """How late its loop was at each look since the start; see `lag.py`."""
        return read_lags(self._lag)

    async def ready(self, stage: Stage) -> None:
        """Return once it has answered a message.

        Raises:
            RuntimeError: it ended, or did not answer within `START_S` seconds.
        """
        answered = asyncio.Event()
        stage.on_whole = lambda _: answered.set()
        asked = False
        end = time.perf_counter() + START_S
        while not answered.is_set():
            if self._process.poll() is not None or time.perf_counter() > end:
                last = self._log.read_text(errors="replace")[-_SHOWN_CHARACTERS:]
                raise RuntimeError(f"{self.name} did not answer; the end of its output:\n{last}")
            if stage.bot_is_here and not asked:
                stage.ask("first", "warm-up")
                asked = True
            await _CLOCK.sleep(_POLL_S)
        stage.take_exchanges()

    def stop(self) -> None:
        """End the process."""
        self._process.send_signal(signal.SIGTERM if self.name == "llmbot" else signal.SIGKILL)
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@contextmanager
def contender(
    name: str,
    address: str,
    directory: Path,
    *,
    core: int | None,
    models: Sequence[str] = (MODEL,),
    options: Sequence[str] = (),
) -> Iterator[Contender]:
    """Run a bot on the simulators at `address`, its files in `directory`.

    The bare bot knows the first of the models only, and none of the further options.
    """
    module = {"llmbot": "benchmarks.whole_bot", "bare": "benchmarks.bare_bot"}[name]
    command = [sys.executable, "-m", module, "--simulators", address]
    command += ["--model", models[0] if name == "bare" else ",".join(models)]
    command += ["--lag", str(directory / "lag")]
    if name == "llmbot":
        command += ["--directory", str(directory), *options]
    path = directory / f"{name}.log"
    with path.open("wb") as log:
        process = subprocess.Popen(command, cwd=_ROOT, stdout=log, stderr=log)  # noqa: S603 - our own two modules
    bot = Contender(name, process, path, directory / "lag")
    try:
        if core is not None:
            pin(process.pid, core)
        yield bot
    finally:
        bot.stop()
