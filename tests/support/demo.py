"""A running demo, the real thing: bot and simulators as processes, asked over HTTP like any bot."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

from llmbot.storage.instance import InstanceFacts, read_instance

PATIENCE_S = 90.0


@dataclass
class Demo:
    """Where it is, and how it is asked."""

    process: subprocess.Popen[str]
    directory: Path
    client: httpx2.Client
    _pause: threading.Event = field(default_factory=threading.Event)

    @property
    def facts(self) -> InstanceFacts:
        """What the running bot says of itself."""
        facts = read_instance(self.directory / "data")
        assert facts is not None
        return facts

    def until(self, words: str) -> str:
        """Read what it prints until a line has these words."""
        assert self.process.stdout is not None
        told: list[str] = []
        # A demo that says nothing any more would be waited for for ever.
        patience = threading.Timer(PATIENCE_S, self.process.kill)
        patience.start()
        try:
            for line in self.process.stdout:
                told.append(line)
                if words in line:
                    return line
        finally:
            patience.cancel()
        raise AssertionError("".join(["the demo ended early:\n", *told]))

    def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, Any]:
        """A request to the bot: the status and the JSON."""
        answer = self.client.request(
            method,
            self.facts.http_address + path,
            json=body,
            content=content,
            headers=dict(headers or {}),
        )
        return answer.status_code, answer.json()

    def get(self, path: str) -> Any:
        """The JSON of a view that answers."""
        status, found = self.ask("GET", path)
        assert status == 200, (path, found)
        return found

    def act(self, path: str, body: object = None) -> Any:
        """The JSON of an action that did its work."""
        status, found = self.ask("POST", f"/api/admin/{path}", body)
        assert (status, found["success"]) == (200, True), (path, found)
        assert found["auditId"]
        return found

    def simulators(self, method: str, path: str, body: object = None) -> Any:
        """The JSON of the simulators' control API."""
        answer = self.client.request(
            method,
            f"{self.facts.simulator_address}/_sim/{path}",
            json=body if method != "GET" else None,
        )
        assert answer.status_code < 300, answer.text
        return answer.json() if answer.content else {}

    def fault(self, name: str, **shape: object) -> None:
        """Break something outside."""
        self.simulators("PUT", f"faults/{name}", shape)

    def calm(self) -> None:
        """Mend all that is broken outside."""
        self.simulators("DELETE", "faults")

    def llmbot(self, *words: str) -> subprocess.CompletedProcess[str]:
        """A command beside it."""
        return subprocess.run(  # noqa: S603 - our own program and words
            [sys.executable, "-m", "llmbot", *words],
            cwd=self.directory,
            env=_environment(self.directory),
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )

    def logged(self, *words: str) -> str:
        """The first line of the log that has all these words, as soon as it is written."""
        log = self.directory / "logs" / "application.log"
        deadline = time.monotonic() + PATIENCE_S  # noqa: TID251 - another process's time
        while time.monotonic() < deadline:  # noqa: TID251 - as above
            for line in log.read_text(encoding="utf-8").splitlines():
                if all(word in line for word in words):
                    return line
            self._pause.wait(0.05)
        raise AssertionError(f"never logged: {words}")

    def until_it(self, holds: Callable[[], bool]) -> None:
        """Look again and again until something holds, as an operator with `watch` does."""
        deadline = time.monotonic() + PATIENCE_S  # noqa: TID251 - another process's time
        while not holds():
            assert time.monotonic() < deadline, "it never held"  # noqa: TID251 - as above
            self._pause.wait(0.05)

    def kill_bot(self) -> None:
        """Pull the plug; the demo starts the bot anew."""
        os.kill(self.facts.pid, signal.SIGKILL)
        self.until("back after")


@contextmanager
def demo(directory: Path, **settings: str) -> Iterator[Demo]:
    """One on a free port, ready; it is stopped at the end whatever happens."""
    process = subprocess.Popen(
        [sys.executable, "-m", "llmbot", "demo", "--port", "0"],
        cwd=directory,
        env=_environment(directory) | settings,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        with httpx2.Client(timeout=PATIENCE_S, trust_env=False) as client:
            running = Demo(process, directory, client)
            running.until("Ctrl-C stops")
            yield running
    finally:
        process.terminate()
        process.communicate(timeout=PATIENCE_S)


def _environment(directory: Path) -> dict[str, str]:
    """Nothing of ours but where our code is."""
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    return {**kept, "HOME": str(directory)}
