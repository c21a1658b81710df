"""The operators' runbook against a running demo: every call it names, every script's questions.

For those who have the operators' own scripts as well, `.ci/run` runs these as they stand.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests.support.demo import Demo, demo

pytestmark = pytest.mark.slow

VIEWS = (
    "/api/health/status",
    "/api/health/degradation",
    "/api/health/circuits",
    "/api/health/memory",
    "/api/health/memory/detailed",
    "/api/health/dependencies",
    "/api/health/services",
    "/api/health/external/gemini",
    "/api/health/external/discord",
    "/api/health/performance",
    "/api/admin/ratelimit/status",
    "/api/admin/mutex/status",
    "/api/admin/mutex/deadlocks",
    "/api/admin/race-condition/status",
    "/api/admin/queue/status",
    "/api/admin/config/validate",
    "/api/metrics/gemini",
    "/api/metrics/discord",
    "/api/metrics/queue",
)

ACTIONS = (
    "maintenance/enable",
    "maintenance/disable",
    "circuit/reset/all",
    "circuit/reset/gemini",
    "circuit/reset/discord",
    "gc",
    "cache/clear",
    "degradation/enable",
    "degradation/disable",
    "ratelimit/reset",
    "mutex/cleanup",
    "mutex/reset-stats",
    "race-condition/clear",
    "queue/enable",
    "queue/process",
    "queue/process-priority",
    "queue/disable",
    "concurrency/reduce",
    "concurrency/restore",
    "handlers/restart",
    "datastore/validate-all",
    "temp/cleanup",
    "context/restart",
    "context/retry-failed",
    "discord/reconnect",
)

TESTS: dict[str, dict[str, object]] = {
    "echo": {"message": "test circuit"},
    "command": {"command": "ping", "userId": "test"},
    "gemini": {"prompt": "test"},
    "rate-limit": {},
    "discord-message": {"message": "Recovery test"},
    "e2e": {"test": "recovery validation"},
    "load": {"id": 1},
}

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
"""What `curl -d` calls its JSON."""


@pytest.fixture(scope="module")
def bot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """A demo in a directory of its own."""
    with demo(tmp_path_factory.mktemp("demo")) as running:
        yield running


@pytest.mark.parametrize("path", VIEWS)
def test_views(bot: Demo, path: str) -> None:
    """Every view of the runbook answers with an object, and changes nothing."""
    assert isinstance(bot.get(path), dict)
    assert bot.get("/api/health/degradation")["level"] == "none"


@pytest.mark.parametrize("action", ACTIONS)
def test_actions(bot: Demo, action: str) -> None:
    """Every action does its work, with the state before and after, and stands in the audit."""
    try:
        told = bot.act(action)
        assert {"action", "durationMs", "before", "after"} <= set(told)
        last = bot.get("/api/admin/audit?count=5")["records"]
        assert (told["auditId"], "done") in [(r["id"], r["outcome"]) for r in last]
    finally:
        if action.endswith("/enable"):
            bot.act(f"{action.removesuffix('enable')}disable")


@pytest.mark.parametrize("name", TESTS)
@pytest.mark.parametrize("headers", [{}, FORM], ids=["json", "curl"])
def test_tests(bot: Demo, name: str, headers: dict[str, str]) -> None:
    """Every test of the runbook exercises the real thing, however its body calls itself."""
    content = json.dumps(TESTS[name]).encode()
    status, told = bot.ask("POST", f"/api/test/{name}", content=content, headers=headers)
    assert (status, told["success"]) == (200, True), told


def test_names_in_paths(bot: Demo) -> None:
    """Each service restarts, each document is checked, and unknown names list the known ones."""
    for service in bot.get("/api/health/services")["services"]:
        told = bot.act(f"service/restart/{service}")
        assert told["after"][service]["state"] == "running"
    files = bot.act("datastore/validate-all")["files"]
    for file in files:
        bot.act(f"datastore/validate/{file}")
        bot.act(f"datastore/recover/{file}")
    for path in ("service/restart", "circuit/reset", "mutex/force-release", "datastore/recover"):
        status, told = bot.ask("POST", f"/api/admin/{path}/no-such-name")
        assert (status, told["success"]) == (404, False)
        assert "known" in told


def test_scripts_read_what_they_compare(bot: Demo) -> None:
    """What the scripts compare with -gt and -lt is a whole number, what they read a plain word."""
    for path, steps in (
        ("/api/health/memory", ("heapUsed",)),
        ("/api/health/memory", ("limit",)),
        ("/api/health/performance", ("responseTime", "p95")),
    ):
        found: Any = bot.get(path)
        for step in steps:
            found = found[step]
        assert type(found) is int, path
    circuits = bot.get("/api/health/circuits")
    assert (circuits["gemini"]["state"], circuits["discord"]["state"]) == ("closed", "closed")
    for name in ("gemini", "discord"):
        assert bot.get(f"/api/health/external/{name}")["status"] == "healthy"


def test_a_store_file_with_a_copy_beside_it(bot: Demo) -> None:
    """A document cut short comes back by its endpoint, and by its `.bak` copied over by hand."""
    data = bot.directory / "data"
    document, name = _cut_a_document(bot)
    assert bot.act(f"datastore/recover/{name}")["valid"] is True
    json.loads(document.read_bytes())
    document.write_bytes(b"")
    document.write_bytes(Path(f"{document}.bak").read_bytes())
    assert bot.act("datastore/validate-all")["success"] is True
    assert not [p for p in data.rglob("*.json") if not _parses(p)]


def _cut_a_document(bot: Demo) -> tuple[Path, str]:
    """A document with a copy beside it loses its second half, and the bot finds that out."""
    data = bot.directory / "data"
    documents = [p for p in sorted(data.rglob("*.json")) if Path(f"{p}.bak").exists()]
    document = next(p for p in documents if "backups" not in p.parts)
    name = str(document.relative_to(data))
    document.write_bytes(document.read_bytes()[: document.stat().st_size // 2])
    assert bot.ask("POST", f"/api/admin/datastore/validate/{name}")[0] == 409
    return document, name


def _parses(path: Path) -> bool:
    try:
        json.loads(path.read_bytes())
    except ValueError:
        return False
    return True


def test_load_leaves_it_healthy(bot: Demo) -> None:
    """1, 5, 10 and 20 messages at once are answered, and the bot is healthy afterwards."""
    for count in (1, 5, 10, 20):
        with ThreadPoolExecutor(count) as pool:
            answers = list(
                pool.map(lambda n: bot.ask("POST", "/api/test/load", {"id": n}), range(count))
            )
        assert {status for status, _ in answers} == {200}
        # The loop's lag is the machine's, which other tests keep busy; all else is the bot's.
        parts = bot.get("/api/health/status")["parts"]
        assert [n for n, p in parts.items() if p["status"] != "healthy" and n != "loop"] == []
    assert bot.get("/api/health/performance")["responseTime"]["count"] >= 36


def test_the_operators_commands(bot: Demo) -> None:
    """`config validate`, `config test` and `restart` succeed beside the demo; so does `triage`."""
    assert bot.llmbot("config", "validate").returncode == 0
    assert bot.llmbot("config", "test").returncode == 0
    before = bot.facts.pid
    restarted = bot.llmbot("restart")
    assert restarted.returncode == 0, restarted.stderr
    assert bot.facts.pid != before
    triage = bot.llmbot("triage")
    assert "4. Next" in triage.stdout
    collected = bot.llmbot("metrics", "collect", "acceptance")
    assert collected.returncode == 0, collected.stderr
    folder = bot.directory / "recovery-metrics" / "acceptance"
    assert {"health-status.json", "queue-metrics.json"} <= {p.name for p in folder.iterdir()}
    assert bot.llmbot("audit", "verify").returncode == 0


def test_the_log_has_the_lines_that_are_looked_for(bot: Demo) -> None:
    """The runbook's words stand in the log, one event a line."""
    bot.act("circuit/trip/gemini")
    bot.act("circuit/reset/gemini")
    for name in ("command", "gemini"):
        status, told = bot.ask("POST", f"/api/test/{name}", TESTS[name])
        assert status == 200, told
    _, name = _cut_a_document(bot)
    bot.act(f"datastore/recover/{name}")
    for words in (
        ("Circuit breaker",),
        ("Command ping executed",),
        ("Gemini", "response"),
        ("Data validation failed",),
    ):
        assert bot.logged(*words)
