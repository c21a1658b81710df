"""Each thing is broken first; then the endpoint mends it, and it is looked whether it did.

One demo for all: what a test breaks it leaves mended, or the next one tells.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import psutil
import pytest
from tests.support.demo import Demo, demo

from llmbot.kernel.clock import SystemClock

pytestmark = pytest.mark.slow

QUESTIONS = 6
MIB = 1024 * 1024


@pytest.fixture(scope="module")
def bot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """A demo in a directory of its own."""
    with demo(tmp_path_factory.mktemp("demo")) as running:
        yield running


@pytest.fixture(autouse=True)
def mended(bot: Demo) -> Iterator[None]:
    """After each test nothing outside is broken, and a question is answered."""
    yield
    bot.calm()
    bot.until_it(lambda: bot.ask("POST", "/api/test/e2e", {})[0] == 200)


def say(bot: Demo, content: str) -> str:
    """A user's question to the bot; its id."""
    body = {"channel": "general", "user": "alice", "content": content, "mention_bot": True}
    return str(bot.simulators("POST", "discord/say", body)["id"])


def replies(bot: Demo, questions: list[str]) -> dict[str, int]:
    """How many replies each question has in the channel."""
    channel = bot.simulators("GET", f"discord/messages/{questions[0]}")["channel_id"]
    page = bot.simulators(
        "GET", f"discord/messages?channel={channel}&after=1&limit=1000&versions=0"
    )
    counts = dict.fromkeys(questions, 0)
    for message in page["messages"]:
        if message.get("reply_to") in counts and not message.get("deleted_at"):
            counts[message["reply_to"]] += 1
    return counts


def circuits(bot: Demo) -> dict[str, str]:
    """The state of each breaker."""
    return {name: facts["state"] for name, facts in bot.get("/api/health/circuits").items()}


def audited(bot: Demo, audit_id: str) -> dict[str, Any]:
    """The record of an act."""
    records = bot.get("/api/admin/audit?count=50")["records"]
    return next(dict(record) for record in records if record["id"] == audit_id)


def test_a_breaker_that_failures_have_opened(bot: Demo) -> None:
    """Failing models open their breakers; a reset closes them once the models answer again."""
    bot.fault("gemini.error", params={"status": 503})

    def opened() -> bool:
        bot.ask("POST", "/api/test/gemini", {})
        return "open" in circuits(bot).values()

    bot.until_it(opened)
    assert bot.get("/api/health/status")["status"] in {"degraded", "unhealthy"}
    bot.calm()
    told = bot.act("circuit/reset/all")
    assert "open" in told["before"].values()
    assert set(told["after"].values()) == {"closed"}
    assert set(circuits(bot).values()) == {"closed"}
    assert bot.ask("POST", "/api/test/gemini", {})[0] == 200


def test_a_breaker_that_was_tripped(bot: Demo) -> None:
    """A tripped breaker keeps the bot from asking; the reset lets it ask again at once."""
    bot.act("circuit/trip/discord")
    status, told = bot.ask("POST", "/api/test/discord-message", {})
    assert (status, told["code"]) == (409, "breaker_open")
    told = bot.act("circuit/reset/discord")
    assert (told["before"]["state"], told["after"]["state"]) == ("open", "closed")
    assert bot.ask("POST", "/api/test/discord-message", {})[0] == 200


def test_a_breaker_that_was_tripped_for_a_time(bot: Demo) -> None:
    """Once its time is over the next call probes, a test too: nobody is shut out for good."""
    bot.act("circuit/trip/discord", {"seconds": 0.5})
    bot.until_it(lambda: bot.ask("POST", "/api/test/discord-message", {})[0] == 200)
    assert circuits(bot)["discord"] == "closed"


def test_what_is_told_can_be_measured_from_outside(bot: Demo) -> None:
    """Age and memory are the process's own, and no part of the bot hides behind another's name."""
    process = psutil.Process(bot.facts.pid)
    told = bot.get("/api/health/status")
    assert abs(told["uptimeSeconds"] - (SystemClock().wall() - process.create_time())) < 2
    assert abs(bot.get("/api/health/memory")["heapUsed"] - process.memory_info().rss) < 16 * MIB
    services = bot.get("/api/health/services")["services"]
    assert all(told["parts"][name]["facts"] == {} for name in services)
    assert told["parts"]["memory"]["facts"]["residentBytes"] > 0


def test_errors_of_discord_over_five_minutes(bot: Demo) -> None:
    """Its error rate is that of the last minutes, by class, as the simulated Discord caused it."""
    before = bot.get("/api/health/external/discord")
    bot.fault("rest.error", times=2)
    assert bot.ask("POST", "/api/test/discord-message", {})[0] == 200
    after = bot.get("/api/health/external/discord")
    assert after["errors"] == before["errors"] + 2 == sum(after["errorsByClass"].values())
    assert after["errorRate"] == round(after["errors"] / after["calls"], 4)
    figures = bot.get("/api/metrics/discord")
    assert (figures["calls"], figures["errors"]) == (after["calls"], after["errors"])
    assert 0 < figures["latency"]["count"] <= figures["calls"]


def test_a_jammed_mutex(bot: Demo) -> None:
    """A holder that hangs is seen, keeps others out, and is broken off by a forced release."""
    bot.fault("gateway.refuse")
    with ThreadPoolExecutor(1) as pool:
        jam: Future[tuple[int, Any]] = pool.submit(
            bot.ask, "POST", "/api/admin/discord/reconnect", {}
        )

        def held() -> bool:
            mutexes = bot.get("/api/admin/mutex/status")["mutexes"]
            return mutexes.get("action:discord", {}).get("holder") is not None

        bot.until_it(held)
        assert bot.ask("POST", "/api/admin/discord/reconnect", {})[0] == 409
        told = bot.act("mutex/force-release/action:discord")
        assert told["released"] is True
        status, broken_off = jam.result()
    assert (status, broken_off["code"]) == (503, "fenced")
    assert audited(bot, broken_off["auditId"])["outcome"] == "failed"
    bot.calm()
    bot.act("discord/reconnect")


def test_a_full_queue_through_maintenance_and_a_kill(bot: Demo) -> None:
    """Messages wait through maintenance and a kill; when it ends each is answered exactly once."""
    bot.act("maintenance/enable")
    questions = [say(bot, f"What is {n} plus {n}?") for n in range(QUESTIONS)]
    bot.until_it(lambda: bot.get("/api/admin/queue/status")["depth"] >= QUESTIONS)
    bot.kill_bot()
    assert bot.get("/api/health/status")["status"] == "maintenance"
    assert bot.get("/api/admin/queue/status")["depth"] >= QUESTIONS
    assert bot.get("/api/admin/queue/status")["held"] is True
    told = bot.act("maintenance/disable")
    assert (told["before"]["maintenance"], told["after"]["maintenance"]) == (True, False)
    bot.act("queue/process")
    bot.until_it(lambda: min(replies(bot, questions).values()) >= 1)
    # The notice of maintenance may reply to one of them, once for the whole channel.
    assert sum(replies(bot, questions).values()) <= QUESTIONS + 1


@pytest.mark.parametrize(
    "damage",
    [b"", b'{"version": 1, "da', b"\x00" * 64, b"[]"],
    ids=["empty", "cut", "zeros", "other"],
)
def test_a_store_file_that_is_damaged(bot: Demo, damage: bytes) -> None:
    """A document with its copy destroyed comes back from a generation; the wreck is kept."""
    name = next(iter(bot.act("datastore/validate-all")["files"]))
    document = bot.directory / "data" / name
    whole = document.read_bytes()
    bot.act("datastore/backup")
    document.write_bytes(damage)
    copy = document.with_name(f"{document.name}.bak")
    copy.write_bytes(damage)
    assert bot.ask("POST", f"/api/admin/datastore/validate/{name}")[0] == 409
    assert bot.ask("POST", "/api/admin/datastore/validate-all")[0] == 409
    told = bot.act(f"datastore/recover/{name}")
    assert told["valid"] is True
    assert told["lost"] is False
    assert bool(told["quarantined"]) is bool(damage)
    # The envelope tells when it was saved; all else is as it was.
    assert json.loads(document.read_bytes()) | {"_llmbot": 0} == json.loads(whole) | {"_llmbot": 0}
    assert bot.act(f"datastore/validate/{name}")["valid"] is True


def test_a_gateway_that_is_gone(bot: Demo) -> None:
    """A lost session is told, a reconnect while Discord refuses says so, and one after it mends."""
    bot.fault("gateway.refuse")
    bot.simulators("POST", "discord/gateway", {"action": "drop"})
    bot.until_it(lambda: bot.get("/api/health/external/discord")["status"] == "unhealthy")
    bot.calm()
    told = bot.act("discord/reconnect")
    assert told["after"]["gateway"] == "ready"
    assert bot.get("/api/health/external/discord")["status"] == "healthy"
    question = say(bot, "Are you there again?")
    bot.until_it(lambda: replies(bot, [question])[question] == 1)


def test_a_temp_directory_that_is_full(bot: Demo) -> None:
    """What no live job needs is removed and counted; links are removed and not followed."""
    temp = bot.directory / "temp"
    outside = bot.directory / "not-ours.txt"
    outside.write_text("stays", encoding="utf-8")
    wreck = temp / "context" / "job-of-a-dead-life"
    wreck.mkdir(parents=True)
    (wreck / "part-1").write_bytes(b"x" * 1_000_000)
    (temp / "llmbot-left-over").write_bytes(b"x" * 500_000)
    (temp / "llmbot-link").symlink_to(outside)
    told = bot.act("temp/cleanup")
    assert told["filesRemoved"] == 3
    assert told["bytesFreed"] >= 1_500_000
    assert told["notRemoved"] == []
    assert not wreck.exists()
    assert outside.read_text(encoding="utf-8") == "stays"


def test_memory(bot: Demo) -> None:
    """The figure is the process's own; caches are emptied by the numbers that are told."""
    for n in range(3):
        say(bot, f"Remember the number {n}.")
    bot.until_it(lambda: bot.get("/api/admin/queue/status")["depth"] == 0)
    resident = psutil.Process(bot.facts.pid).memory_info().rss
    assert bot.get("/api/health/memory")["heapUsed"] == pytest.approx(resident, rel=0.1)
    told = bot.act("cache/clear")
    assert told["entriesFreed"] == sum(cache["entries"] for cache in told["caches"].values()) > 0
    stores = bot.get("/api/health/memory/detailed")["stores"]
    for name in told["caches"]:
        assert stores[name]["entries"] == 0
    told = bot.act("gc")
    assert told["bytesFreed"] == told["before"]["heapUsed"] - told["after"]["heapUsed"]


def test_levels_and_workers(bot: Demo) -> None:
    """A forced level holds until it is released; workers are halved and come back step by step."""
    assert bot.act("degradation/enable", {"level": "high"})["after"]["level"] == "high"
    assert bot.get("/api/health/degradation")["switchedOff"]
    assert bot.get("/api/health/status")["status"] == "degraded"
    bot.act("degradation/disable")
    assert bot.get("/api/health/degradation")["manual"] is False
    told = bot.act("concurrency/reduce")
    assert told["after"]["workers"] == max(1, told["before"]["workers"] // 2)
    bot.act("concurrency/restore")
    halved = told["after"]["workers"]
    bot.until_it(lambda: bot.get("/api/admin/queue/status")["workers"]["limit"] > halved)


def test_every_service_can_be_restarted_under_load(bot: Demo) -> None:
    """Whatever is restarted while people ask, each question is answered once."""
    questions = []
    for service in bot.get("/api/health/services")["services"]:
        questions.append(say(bot, f"Do you go on while {service} restarts?"))
        told = bot.act(f"service/restart/{service}")
        assert told["after"][service]["state"] == "running"
    bot.act("handlers/restart")
    bot.until_it(lambda: min(replies(bot, questions).values()) >= 1)
    assert set(replies(bot, questions).values()) == {1}


def test_a_kill_during_an_action_stands_in_the_audit(bot: Demo) -> None:
    """An act that a kill broke off is recorded as interrupted; the chain is whole."""
    bot.fault("gateway.refuse")
    with ThreadPoolExecutor(1) as pool:
        lost = pool.submit(bot.ask, "POST", "/api/admin/discord/reconnect", {"reason": "a kill"})

        def begun() -> bool:
            holders = bot.get("/api/admin/mutex/status")["mutexes"]
            return holders.get("action:discord", {}).get("holder") is not None

        bot.until_it(begun)
        bot.calm()
        bot.kill_bot()
        assert lost.exception() is not None
    records = bot.get("/api/admin/audit?count=50")["records"]
    assert [r["outcome"] for r in records if r["options"].get("reason") == "a kill"] == [
        "interrupted"
    ]
    assert bot.llmbot("audit", "verify").returncode == 0
