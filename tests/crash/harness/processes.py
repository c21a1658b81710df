"""The two child processes: simulators that live for the whole run, a bot that has many lives."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from tests.crash.harness.outside import monotonic, until

ROOT = Path(__file__).parents[3]
_START_S = 60.0
_END_S = 60.0


@dataclass(frozen=True, slots=True)
class Pace:
    """How the simulated world moves, in seconds."""

    seed: int = 1
    first_word_s: float = 0.1
    chunk_s: float = 0.02
    heartbeat_s: float = 41.25
    nonce_window_s: float = 180.0


@dataclass(slots=True)
class Simulators:
    """The simulated Discord and Gemini in a process of their own."""

    directory: Path
    pace: Pace = field(default_factory=Pace)
    address: str = ""
    _process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start, and learn the address."""
        ready = self.directory / "simulators.address"
        choices = {
            "seed": self.pace.seed,
            "first_word_s": self.pace.first_word_s,
            "chunk_s": self.pace.chunk_s,
            "heartbeat_s": self.pace.heartbeat_s,
            "nonce_window_s": self.pace.nonce_window_s,
        }
        with (self.directory / "simulators.log").open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "tests.crash.harness.start_simulators",
                str(ready),
                str(os.getpid()),
                json.dumps(choices),
                cwd=ROOT,
                stdout=log,
                stderr=log,
            )
        deadline = monotonic() + _START_S
        while not ready.exists():
            if self._process.returncode is not None or not await until(deadline):
                raise AssertionError((self.directory / "simulators.log").read_text())
        self.address = ready.read_text(encoding="utf-8").strip()

    async def stop(self) -> None:
        """End the process."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()


class Bot:
    """The bot: `start` begins a life, `kill` ends it without a word, `stop` asks it to end."""

    def __init__(self, directory: Path, simulators: str, **environment: str) -> None:
        """Keep data and logs in `directory`; further settings come by `environment`."""
        self.directory = directory
        self.lives = 0
        self.started_at = 0.0
        self._simulators = simulators
        self._environment = environment
        self._process: asyncio.subprocess.Process | None = None

    @property
    def running(self) -> bool:
        """Whether its process is there."""
        return self._process is not None and self._process.returncode is None

    @property
    def exit_code(self) -> int | None:
        """How the last life ended; None while it lasts."""
        return None if self._process is None else self._process.returncode

    def processor_s(self) -> float:
        """Processor time that this life has used."""
        assert self._process is not None
        used = psutil.Process(self._process.pid).cpu_times()
        return float(used.user + used.system)

    async def start(self) -> None:
        """Begin a life; returns as soon as the process is there."""
        self.lives += 1
        (self.directory / "home").mkdir(exist_ok=True)
        self.started_at = monotonic()
        with (self.directory / "bot.log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                *_command(),
                cwd=self.directory / "home",
                env=self._settings(),
                stdout=log,
                stderr=log,
            )

    async def kill(self) -> None:
        """SIGKILL, wherever it is."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()

    async def stop(self) -> int:
        """SIGTERM, and wait for the clean end; the exit code."""
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(_END_S):
            return await self._process.wait()

    def _settings(self) -> dict[str, str]:
        inherited = {k: v for k, v in os.environ.items() if k in {"PATH", "HOME", "LANG", "TMPDIR"}}
        return {
            **inherited,
            "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}",
            "DISCORD_TOKEN": "simulated-token",
            "DISCORD_API_BASE_URL": f"{self._simulators}/api/v10",
            "GOOGLE_API_KEY": "simulated-key",
            "GEMINI_BASE_URL": f"{self._simulators}/gemini",
            "DATA_DIR": str(self.directory / "data"),
            "LOG_DIR": str(self.directory / "logs"),
            "TEMP_DIR": str(self.directory / "temp"),
            "HTTP_PORT": "0",
            "RATE_LIMIT_RPM": "0",
            "RATE_LIMIT_DAILY": "0",
            "RATE_LIMIT_USER_RPM": "0",
            **self._environment,
        }


def _command() -> tuple[str, ...]:
    """The judged way where there is one."""
    if (ROOT / "src/llmbot/__main__.py").exists():
        return ("-m", "llmbot", "run")
    return ("-m", "tests.crash.harness.start_bot")
