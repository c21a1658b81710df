"""The command line: what it prints, how it fails, and that it agrees with the API."""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from tests.support.operators import House, Served, serving

from llmbot import __version__
from llmbot.app.cli_entry import AppEntry
from llmbot.console.cli.client import NotRunningError, Remote
from llmbot.console.cli.main import main
from llmbot.console.gate.gate import GateSettings
from llmbot.console.views import Health, PartView
from llmbot.kernel.clock import SystemClock
from llmbot.kernel.errors import CredentialsError
from llmbot.kernel.ids import this_owner
from llmbot.storage.instance import InstanceLock, acquire


@pytest.fixture(autouse=True)
def empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test in a working directory of its own, with none of our names in the environment."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith(("DISCORD_", "GEMINI_", "GOOGLE_API", "HTTP_P", "DATA_", "ADMIN_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "200")


def llmbot(*arguments: str) -> int:
    """Run a command in this process; its exit code."""
    return main(AppEntry(), list(arguments))


class Broken(AppEntry):
    """An application whose start fails as a test says."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def run(self) -> int:
        raise self.error


def test_a_start_error_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    """A known error ends with its exit code, its words and its cure, and no traceback."""
    assert main(Broken(CredentialsError()), ["run"]) == 11
    told = capsys.readouterr().err
    assert told.startswith("Discord refused the token. Copy the token anew")
    assert "Traceback" not in told
    assert len(told.splitlines()) == 1


def test_a_mistake_of_ours_is_one_sentence(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A defect ends with 70 and where to look, without its words; in debugging it is raised."""
    assert main(Broken(KeyError("a user's words")), ["run"]) == 70
    told = capsys.readouterr().err
    assert "KeyError" in told
    assert "application.log" in told
    assert "words" not in told
    monkeypatch.setenv("LLMBOT_DEBUG", "1")
    with pytest.raises(KeyError):
        main(Broken(KeyError()), ["run"])


def test_misuse_is_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    """An unknown command or option ends with 2 and its help."""
    assert llmbot("frobnicate") == 2
    assert llmbot("status", "--frobnicate") == 2
    assert llmbot("demo", "--port", "99999") == 2
    assert "frobnicate" in capsys.readouterr().err


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    """Help lists what there is for people, and not what is there for ourselves."""
    assert llmbot("--help") == 0
    told = capsys.readouterr().out
    for name in ("run", "demo", "simulate", "chat", "fault", "config", "restart", "status"):
        assert f" {name} " in told
    assert "started by" not in told


def test_live_needs_credentials(capsys: pytest.CaptureFixture[str]) -> None:
    """`run` without token and key names both, and the way to try it without them."""
    assert llmbot("run") == 10
    told = capsys.readouterr().err
    assert "DISCORD_TOKEN" in told
    assert "GOOGLE_API_KEY" in told
    assert "llmbot demo" in told


@pytest.mark.parametrize(
    "command",
    [["status"], ["restart"], ["chat", "hello"], ["fault", "list"], ["fault", "on", "gemini.hang"]],
)
def test_nobody_runs(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """What needs a running bot says in one sentence that there is none, with 3."""
    assert llmbot(*command) == 3
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_wrong_setting_stops_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    """A typing error in `.env` is said by whatever command comes first."""
    Path(".env").write_text("DISCORD_TOKN=x\n", encoding="utf-8")
    assert llmbot("config", "validate") == 10
    assert "did you mean DISCORD_TOKEN" in capsys.readouterr().err


def test_config_without_a_bot(capsys: pytest.CaptureFixture[str]) -> None:
    """With no bot running the environment and `.env` are judged, and secrets stay hidden."""
    assert llmbot("config", "validate") == 10
    assert "DISCORD_TOKEN is missing" in capsys.readouterr().out
    Path(".env").write_text("DISCORD_TOKEN=tok-123456\nGOOGLE_API_KEY=key-1\n", encoding="utf-8")
    assert llmbot("config", "validate", "--json") == 0
    assert json.loads(capsys.readouterr().out)["valid"] is True
    assert llmbot("config", "show") == 0
    shown = capsys.readouterr().out
    assert "DISCORD_TOKEN=set" in shown
    assert "ADMIN_TOKEN=missing" in shown
    assert "tok-123456" not in shown


def test_config_test_tries_for_real(capsys: pytest.CaptureFixture[str]) -> None:
    """Credentials that lead nowhere are found out by trying, each named."""
    Path(".env").write_text(
        "DISCORD_TOKEN=t\nGOOGLE_API_KEY=k\nDISCORD_API_BASE_URL=http://127.0.0.1:9/api/v10\n"
        "GEMINI_BASE_URL=http://127.0.0.1:9\n",
        encoding="utf-8",
    )
    assert llmbot("config", "test") == 10
    told = capsys.readouterr().out
    assert "✗ discord" in told
    assert "✗ gemini" in told


def test_example(capsys: pytest.CaptureFixture[str]) -> None:
    """Both forms of the example are printed whole."""
    assert llmbot("config", "example") == 0
    assert "\nDISCORD_TOKEN=\n" in capsys.readouterr().out
    assert llmbot("config", "example", "--markdown") == 0
    assert capsys.readouterr().out.startswith("# Settings")


def test_version_is_told_without_loading_the_bot() -> None:
    """`llmbot version` prints the version and imports neither typer nor pydantic."""
    code = (
        "import sys; sys.argv = ['llmbot', 'version']; from llmbot.__main__ import main; main();"
        "print(sorted({'typer', 'pydantic', 'discord', 'fastapi'} & set(sys.modules)))"
    )
    told = subprocess.run(  # noqa: S603 - our own interpreter and words
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert told.splitlines() == [f"llmbot {__version__}", "[]"]


def test_a_start_leaves_fastapi_for_later() -> None:
    """What only the operator API needs is loaded when it is asked, not before the first reply."""
    code = "import sys, llmbot.app.run; print({'fastapi', 'google.genai'} & set(sys.modules))"
    told = subprocess.run(  # noqa: S603 - our own interpreter and words
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert told.splitlines() == ["set()"]


# ── beside a running bot ────────────────────────────────────────────────────────────────────────


@pytest.fixture
def lock() -> Iterator[InstanceLock]:
    """The lock of a running bot on `data/`."""
    held = acquire(Path("data"), this_owner(), SystemClock())
    yield held
    held.release()


@pytest.fixture
async def served(
    lock: InstanceLock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Served]:
    """A bot whose API is up and whose facts are published."""
    house = House(up_s=3723.0, warnings=("LOG_USER_TEXT loosens",))
    async with serving(tmp_path, house, GateSettings(token="a-token")) as made:
        lock.publish(http_address=made.api.address)
        monkeypatch.setenv("ADMIN_TOKEN", "a-token")
        yield made


async def test_status_agrees_with_the_api(
    served: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    """`status` tells what the API tells, with the token of this directory; 1 when unhealthy."""
    served.house.other_parts.append(
        PartView("model", Health.DEGRADED, "held [back]", essential=True)
    )
    assert await asyncio.to_thread(llmbot, "status") == 0
    told = capsys.readouterr().out
    assert "degraded · simulated · up 1 h 2 min 3 s" in told
    assert "held [back]" in told
    assert await asyncio.to_thread(llmbot, "status", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["parts"]["model"]["status"] == "degraded"
    assert found["services"]["database"]["lastStartMs"] == 12
    served.house.other_parts.append(PartView("disk", Health.UNHEALTHY, "gone"))
    assert await asyncio.to_thread(llmbot, "status") == 1


async def test_config_asks_the_running_bot(
    served: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a bot running its settings are judged, and `test` tries what it runs with."""
    assert served.hands.asked == []
    assert await asyncio.to_thread(llmbot, "config", "validate") == 0
    told = capsys.readouterr().out
    assert "! LOG_USER_TEXT loosens" in told
    assert "of the bot at http://127.0.0.1:" in told
    assert await asyncio.to_thread(llmbot, "config", "test") == 10
    assert "✗ discord: refused Ask." in capsys.readouterr().out


async def test_restart_waits_for_another_life(
    served: Served, lock: InstanceLock, capsys: pytest.CaptureFixture[str]
) -> None:
    """`restart` asks once and returns when another life of the bot is ready."""
    asked = asyncio.create_task(asyncio.to_thread(llmbot, "restart"))
    await served.hands.was_asked.wait()
    address = lock.facts.http_address
    lock.release()
    other = acquire(Path("data"), this_owner(), SystemClock())
    other.publish(http_address=address)
    assert await asked == 0
    other.release()
    assert [name for name, _ in served.hands.asked] == ["restart"]
    assert "Restarted" in capsys.readouterr().out


async def test_a_bot_that_does_not_answer(
    lock: InstanceLock, capsys: pytest.CaptureFixture[str]
) -> None:
    """Facts that lead nowhere are one sentence, not a traceback."""
    lock.publish(http_address="http://127.0.0.1:9")
    assert await asyncio.to_thread(llmbot, "status") == 3
    assert "Nobody answers at http://127.0.0.1:9" in capsys.readouterr().err


async def test_a_live_bot_is_not_chatted_with(
    served: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    """`chat` and `fault` beside a live bot say where to talk to it instead."""
    assert served.house.mode
    assert await asyncio.to_thread(llmbot, "chat", "hello") == 1
    assert "on Discord" in capsys.readouterr().err


def test_a_question_to_this_machine_loads_no_certificates(monkeypatch: pytest.MonkeyPatch) -> None:
    """To load them all takes longer than most answers, and plain HTTP asks for none."""

    def load(*_: object, **__: object) -> None:
        raise AssertionError("certificates are loaded")

    monkeypatch.setattr(ssl.SSLContext, "load_verify_locations", load)
    with pytest.raises(NotRunningError):
        Remote("http://127.0.0.1:9").ask("GET", "/api/health/live")
