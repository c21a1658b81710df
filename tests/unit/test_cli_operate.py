"""The commands that the lists of actions and views make: all there, asking what they name."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import typer
from tests.support.here import Here, bot_here, empty_directory
from tests.support.operators import House, service, serving

from llmbot.app.cli_entry import AppEntry
from llmbot.app.lifecycle.supervisor import ServiceState
from llmbot.console.actions import ADMIN_ACTIONS, TESTS, ActionError, UnknownTargetError
from llmbot.console.cli.main import build, command_words, main
from llmbot.console.cli.operate import words_of
from llmbot.console.view_list import VIEWS

COMMANDS_OF_THEIR_OWN = {
    "/api/health/status": ("status",),
    "/api/admin/config/validate": ("config", "validate"),
    "/api/admin/config/settings": ("config", "changeable"),
    "/api/admin/datastore/status": ("data", "list"),
    "/api/admin/audit": ("audit", "tail"),
    "/metrics": ("metrics", "prometheus"),
}
"""Views whose commands do more than show the answer."""

WITHOUT_JSON = {
    *("run", "demo", "simulate", "restart", "version", "chat", "config example"),
    *("drill list", "drill run", "drill all", "loadtest", "metrics prometheus"),
    *("fault on", "fault off", "fault clear"),
}
"""Commands that ask no bot, run for minutes, or have a form of their own."""


@pytest.fixture
async def here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> AsyncIterator[Here]:
    """A bot that runs in the working directory."""
    async with bot_here(tmp_path, monkeypatch, capsys) as found:
        yield found


async def test_the_command_line_equals_the_api(tmp_path: Path) -> None:
    """Whatever the API offers has a command, and no command of the lists lacks its route."""
    async with serving(tmp_path) as served:
        document = (await served.call("/openapi.json")).json()
    commands = set(command_words(AppEntry()))
    reads = {path for path, methods in document["paths"].items() if "get" in methods}
    shown = {view.path: view.words for view in VIEWS} | COMMANDS_OF_THEIR_OWN
    assert reads <= set(shown), "a view of the API has no command"
    templates = [re.compile(re.sub(r"\{\w+\}", "[^/]+", path)) for path in reads]
    for path, words in shown.items():
        assert any(template.fullmatch(path) for template in templates), path
        assert words in commands
    for spec in ADMIN_ACTIONS:
        first, *rest = words_of(spec)
        words = ("data" if first == "datastore" else first, *rest)
        # `circuits reset all`: what is done to one can be done to all, by the same command.
        of_all = words[-1] == "all" and words[:-1] in commands
        assert words in commands or of_all, spec.name
    assert {("test", spec.name) for spec in TESTS} <= commands


def test_commands_print_json_for_scripts() -> None:
    """All do that ask a bot for something, but those that run for minutes or end the bot."""
    below: list[tuple[str, Any]] = [("", typer.main.get_command(build(AppEntry())))]
    lacking: set[str] = set()
    while below:
        words, command = below.pop()
        has_json = any("--json" in parameter.opts for parameter in command.params)
        if words and getattr(command, "invoke_without_command", True) and not has_json:
            lacking.add(words)
        children = getattr(command, "commands", {})
        below += [(f"{words} {name}".strip(), child) for name, child in children.items()]
    assert lacking == WITHOUT_JSON


async def test_views_tell_what_the_api_tells(here: Here) -> None:
    """Each view prints the API's answer as JSON, and all of its single values as a table."""
    for view in VIEWS:
        given = {"external": "gemini", "message": "7"}.get(view.target, "")
        words = [*view.words, given] if given else list(view.words)
        path = re.sub(r"\{\w+\}", given, view.path)
        answer = await here.served.call(path, headers=[("Authorization", "Bearer a-token")])
        code, told, _ = await here.run(*words, "--json")
        assert (code, json.loads(told)) == (0, answer.json()), view.words
        code, told, _ = await here.run(*words)
        assert code == 0
        for value in answer.json().values():
            assert not isinstance(value, int | str) or isinstance(value, bool) or str(value) in told


async def test_tables_fit_a_terminal(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table has a row for each thing with its whole name, and says what JSON has besides."""
    monkeypatch.setenv("COLUMNS", "80")
    served = await here.served.call(
        "/api/health/services", headers=[("Authorization", "Bearer a-token")]
    )
    _, told, _ = await here.run("service")
    rows = [line.split()[0] for line in told.splitlines() if line.strip()]
    assert [name for name in rows if name in served.json()["services"]] == list(
        served.json()["services"]
    )
    _, told, _ = await here.run("circuits")
    assert "with --json also: counts" in told
    assert all(len(line) <= 80 for line in told.splitlines())


@pytest.mark.parametrize(
    ("words", "name", "target", "options"),
    [
        (("circuits", "reset", "gemini"), "circuit/reset", "gemini", {}),
        (("circuits", "reset", "all"), "circuit/reset/all", "", {}),
        (
            ("circuits", "trip", "gemini", "--seconds", "5", "--reason", "a drill"),
            "circuit/trip",
            "gemini",
            {"seconds": 5.0, "reason": "a drill"},
        ),
        (("gc",), "gc", "", {}),
        (("queue", "process-priority"), "queue/process-priority", "", {}),
        (("degradation", "enable", "--level", "high"), "degradation/enable", "", {"level": "high"}),
        (("mutex", "force-release", "action:temp"), "mutex/force-release", "action:temp", {}),
        (("service", "restart", "a b/ä?"), "service/restart", "", {}),
        (("test", "echo", "--message", "hello"), "test/echo", "", {"message": "hello"}),
        (
            ("test", "command", "--user-id", "ada", "--options", "message=a=b"),
            "test/command",
            "",
            {"user_id": "ada", "options": {"message": "a=b"}},
        ),
    ],
)
async def test_actions_ask_for_what_they_name(
    here: Here,
    words: tuple[str, ...],
    name: str,
    target: str,
    options: dict[str, object],
) -> None:
    """A command performs the action of its name, with the target and options that were given."""
    code, told, complaint = await here.run(*words)
    if words[-1] == "a b/ä?":  # no route has such a name: it is refused, and nothing is done
        assert (code, here.served.hands.asked) == (1, [])
        return
    assert (code, complaint) == (0, "")
    assert "success" in told
    ((asked, given),) = here.served.hands.asked
    assert (asked, given.target) == (name, target)
    assert options.items() <= given.options.items()


async def test_refusals(here: Here) -> None:
    """What could not be done ends with 1: words and cure for people, the problem for scripts."""
    here.served.hands.error = ActionError("The disk is full.", code="full", remedy="Make room.")
    assert await here.run("gc") == (1, "", "The disk is full. Make room.\n")
    code, told, _ = await here.run("gc", "--json")
    assert (code, json.loads(told)["code"], json.loads(told)["success"]) == (1, "full", False)
    here.served.hands.error = UnknownTargetError("service", ("database", "discord"))
    code, _, complaint = await here.run("service", "restart", "nope")
    assert code == 1
    assert "known: database, discord" in complaint
    assert (await here.run("degradation", "enable", "--level", "total"))[0] == 2
    assert (await here.run("test", "command", "--options", "message"))[0] == 1


async def test_an_unready_bot_is_exit_code_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`probe ready` tells a script by its exit code whether messages are answered."""
    async with bot_here(tmp_path, monkeypatch, capsys, House()) as here:
        assert (await here.run("probe", "ready"))[0] == 0
        here.served.house.all_services.clear()
        here.served.house.life_now = here.served.house.life_now.STARTING
        assert (await here.run("probe", "ready"))[0] == 1
        assert (await here.run("probe", "live"))[0] == 0


async def test_the_audit_is_read_with_the_bot_up_or_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`audit tail` and `verify` read the files: beside the bot, without it, meddled with."""
    async with bot_here(tmp_path, monkeypatch, capsys) as here:
        await here.run("circuits", "reset", "gemini", "--reason", "it answers again")
        code, told, _ = await here.run("audit", "tail", "--json")
        (record,) = json.loads(told)["records"]
        assert (code, record["action"], record["who"]) == (0, "circuit/reset", "admin token")
        assert (record["before"], record["after"]) == ({"state": "open"}, {"state": "closed"})
        assert (await here.run("audit", "verify"))[0] == 0
    assert main(AppEntry(), ["audit", "tail"]) == 0
    assert "circuit/reset" in capsys.readouterr().out
    assert main(AppEntry(), ["audit", "verify", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["records"] == 1
    log = tmp_path / "data" / "audit" / "audit.log"
    log.write_bytes(log.read_bytes().replace(b"admin token", b"nobody here"))
    assert main(AppEntry(), ["audit", "verify"]) == 1
    assert "NOT WHOLE" in capsys.readouterr().out


def test_a_bot_that_is_down_is_exit_code_3(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a bot each command says so in one sentence, and what works all the same."""
    empty_directory(tmp_path, monkeypatch)
    for words in (("queue",), ("gc",), ("circuits", "reset", "all"), ("triage",), ("test", "e2e")):
        assert main(AppEntry(), list(words)) == 3
        told = capsys.readouterr().err
        assert len(told.splitlines()) == 1
        assert "llmbot audit" in told
    assert main(AppEntry(), ["audit", "verify"]) == 0


async def test_the_shell_completes_names(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    """The names of breakers and services are completed from the running bot; none when it fails."""
    monkeypatch.setenv("_LLMBOT_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "llmbot circuits reset ")
    monkeypatch.setenv("COMP_CWORD", "3")
    _, told, _ = await here.run()
    assert {"gemini", "discord", "all"} <= set(told.split())


async def test_a_snapshot_is_whole_or_not_there(here: Here, tmp_path: Path) -> None:
    """`metrics collect` keeps each figure as the API tells it, in a folder with a plain name."""
    assert (await here.run("metrics", "collect", "../elsewhere"))[0] == 1
    code, _, complaint = await here.run("metrics", "collect", "inc-7")
    assert (code, complaint) == (0, "")
    folder = tmp_path / "recovery-metrics" / "inc-7"
    assert json.loads((folder / "circuit-status.json").read_text())["discord"]["state"] == "open"
    assert "llmbot_up_seconds" in (folder / "metrics.txt").read_text()


async def test_triage_names_the_next_command(here: Here) -> None:
    """On one screen: the four steps of the runbook, and the command that mends what is worst."""
    code, told, _ = await here.run("triage")
    assert code == 0
    assert [line[0] for line in told.splitlines() if line[0].isdigit()] == ["1", "2", "3", "4"]
    # The arranged bot's breaker of Discord is open although Discord answers.
    assert told.splitlines()[-2].strip() == "llmbot circuits reset discord"
    here.served.house.outside["discord"] = "unhealthy"
    here.served.house.all_services.append(service("workers", state=ServiceState.FAILED))
    code, told, _ = await here.run("triage", "--json")
    commands = [action["command"] for action in json.loads(told)["actions"]]
    assert (code, commands) == (1, ["llmbot service restart workers", "llmbot discord reconnect"])
