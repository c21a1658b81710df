"""`llmbot demo` as a user starts it: real processes, real signals."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import psutil
import pytest
from tests.support.waiting import PATIENCE_S

from llmbot.storage.instance import InstanceFacts, read_instance


class Demo:
    """A running demo, its words, and where things are."""

    def __init__(self, process: Process, data_dir: Path) -> None:
        self.process = process
        self.data_dir = data_dir
        self.words: list[str] = []

    async def until(self, told: Callable[[str], bool]) -> str:
        """Read on until a line is as wanted."""
        assert self.process.stdout is not None
        async with asyncio.timeout(PATIENCE_S):
            while line := (await self.process.stdout.readline()).decode():
                self.words.append(line.rstrip())
                if told(line):
                    return line
        raise AssertionError("\n".join(["the demo ended early:", *self.words]))

    @property
    def facts(self) -> InstanceFacts:
        """What the running bot says of itself."""
        facts = read_instance(self.data_dir)
        assert facts is not None
        return facts

    def family(self) -> list[psutil.Process]:
        """The demo's processes but itself."""
        return psutil.Process(self.process.pid).children(recursive=True)


@asynccontextmanager
async def demo(directory: Path) -> AsyncIterator[Demo]:
    """Start one on a free port; at the end it is stopped whatever the test has done."""
    process = await start(directory, "demo", "--port", "0")
    running = Demo(process, directory / "data")
    try:
        yield running
    finally:
        if process.returncode is None:
            process.terminate()
        async with asyncio.timeout(PATIENCE_S):
            await process.communicate()


async def start(directory: Path, *arguments: str, complaints: int = DEVNULL) -> Process:
    """`llmbot …` in a directory, with nothing of ours in its environment."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "llmbot", *arguments),
        cwd=directory,
        env={"PATH": os.environ["PATH"], "HOME": str(directory)},
        stdin=DEVNULL,
        stdout=PIPE,
        stderr=complaints,
    )


async def run(directory: Path, *arguments: str) -> tuple[int, str, str]:
    """Run a command to its end: code, words, complaints."""
    process = await start(directory, *arguments, complaints=PIPE)
    async with asyncio.timeout(PATIENCE_S):
        out, err = await process.communicate()
    return process.returncode or 0, out.decode(), (err or b"").decode()


async def gone(processes: list[psutil.Process]) -> None:
    """Wait until these are no more."""
    _, alive = await asyncio.to_thread(psutil.wait_procs, processes, timeout=PATIENCE_S)
    assert not alive


async def test_a_newcomers_path(tmp_path: Path) -> None:
    """It starts, says where to look, answers, survives kill -9 and a restart, and stops whole."""
    async with demo(tmp_path) as running:
        await running.until(lambda line: line.startswith("Ctrl-C stops"))
        told = "\n".join(running.words)
        assert "chat " in told
        assert running.facts.http_address in told

        code, reply, _ = await run(tmp_path, "chat", "What is a mutex?")
        assert code == 0
        assert len(reply.strip()) > 20

        code, status, _ = await run(tmp_path, "status", "--json")
        assert code == 0
        assert json.loads(status)["mode"] == "simulated"
        assert (await run(tmp_path, "config", "test"))[0] == 0

        before = running.facts
        os.kill(before.pid, signal.SIGKILL)
        await running.until(lambda line: "killed by signal 9" in line)
        await running.until(lambda line: "back after" in line)
        assert running.facts.pid != before.pid
        assert running.facts.http_address == before.http_address
        assert (await run(tmp_path, "chat", "--dm", "And now?"))[0] == 0

        code, words, _ = await run(tmp_path, "restart")
        assert code == 0
        assert "Restarted" in words

        family = running.family()
        running.process.send_signal(signal.SIGINT)
        await running.until(lambda line: line.startswith("Stopped"))
        async with asyncio.timeout(PATIENCE_S):
            assert await running.process.wait() == 0
        await gone(family)
    log = (tmp_path / "logs" / "application.log").read_text(encoding="utf-8")
    assert "delivered" in log
    assert "simulated-token" not in log


async def test_no_orphan_of_a_killed_demo(tmp_path: Path) -> None:
    """Even a demo that is killed outright leaves no process behind."""
    async with demo(tmp_path) as running:
        await running.until(lambda line: "bot" in line and "ready" in line)
        family = running.family()
        assert len(family) == 2
        running.process.kill()
        await gone(family)


async def test_a_taken_port_stops_it_before_it_starts(tmp_path: Path) -> None:
    """A port that is taken ends it with 13 and one sentence; no process and no data were made."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        process = await start(tmp_path, "demo", "--port", port, complaints=PIPE)
        out, err = await process.communicate()
    assert process.returncode == 13
    assert out == b""
    assert f"Port {port}" in err.decode()
    assert not (tmp_path / "data").exists()


async def test_a_signal_during_the_start(tmp_path: Path) -> None:
    """Ctrl-C before anything is ready stops it as cleanly."""
    async with demo(tmp_path) as running:
        await running.until(lambda line: line.startswith("llmbot demo"))
        running.process.send_signal(signal.SIGINT)
        async with asyncio.timeout(PATIENCE_S):
            assert await running.process.wait() == 0


async def test_simulators_alone(tmp_path: Path) -> None:
    """`simulate` serves both protocols, says how to point a bot at them, and ends by a signal."""
    process = await start(tmp_path, "simulate", "--port", "0")
    running = Demo(process, tmp_path)
    line = await running.until(lambda line: "listening on" in line)
    assert "DISCORD_API_BASE_URL" in "\n".join(running.words)
    address = line.split()[-1]
    async with httpx2.AsyncClient(trust_env=False) as client:
        assert (await client.get(f"{address}/_sim/health")).json()["status"] == "ok"
    process.terminate()
    async with asyncio.timeout(PATIENCE_S):
        await process.communicate()
    assert process.returncode == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_both_signals_stop_it(tmp_path: Path, number: signal.Signals) -> None:
    """SIGTERM and SIGINT both end a ready demo with 0 and without rest."""
    async with demo(tmp_path) as running:
        await running.until(lambda line: line.startswith("Ctrl-C stops"))
        family = running.family()
        running.process.send_signal(number)
        async with asyncio.timeout(PATIENCE_S):
            assert await running.process.wait() == 0
        await gone(family)
