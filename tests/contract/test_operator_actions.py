"""What operators do through the API, on a real socket: answers, refusals, the audit of all."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from fastapi import APIRouter
from tests.support.operators import Hands, serving

from llmbot.console.actions import (
    ADMIN_ACTIONS,
    TESTS,
    ActionError,
    Asked,
    BusyError,
    Done,
    UnknownTargetError,
    WrongOptionError,
)
from llmbot.kernel.errors import BreakerOpenError, DiscordUnavailableError
from llmbot.operations.audit.files import NAME, verify

RESET = "/api/admin/circuit/reset/gemini"


async def test_success(tmp_path: Path) -> None:
    """A success tells the state before and after, how long it took, and its record in the audit."""
    async with serving(tmp_path) as served:
        answer = await served.call(RESET, "POST")
        told = answer.json()
        assert answer.status == 200
        assert told["success"] is True
        assert (told["action"], told["durationMs"]) == ("circuit/reset", told["durationMs"] // 1)
        assert (told["before"], told["after"]) == ({"state": "open"}, {"state": "closed"})
        assert served.hands.asked[0][1].target == "gemini"
        (record,) = served.records()
        assert record.act.id == told["auditId"]
        assert (record.act.who, record.act.via) == ("loopback", "api")
        assert (record.act.action, record.act.target) == ("circuit/reset", "gemini")
        assert (record.outcome, record.before, record.after) == (
            "done",
            {"state": "open"},
            {"state": "closed"},
        )


async def test_what_was_meant_for_elsewhere_stays_out_of_the_audit(tmp_path: Path) -> None:
    """Values that are to be set may be anything; the audit tells of those alone that were taken."""
    async with serving(tmp_path) as served:
        body = b'{"settings": {"DISCORD_TOKEN": "hush"}, "reset": ["hush"], "reason": "why"}'
        answer = await served.call("/api/admin/config/change", "POST", body=body)
        assert answer.status == 200
        (record,) = served.records()
        assert record.act.options["reason"] == "why"
        assert b"hush" not in (served.audit.directory / NAME).read_bytes()


@pytest.mark.parametrize(
    ("error", "status", "code", "outcome"),
    [
        (UnknownTargetError("circuit breaker", ("gemini",)), 404, "unknown_name", "refused"),
        (BusyError("it is under way"), 409, "busy", "refused"),
        (WrongOptionError("scope: is none"), 422, "invalid", "refused"),
        (BreakerOpenError("it is open"), 409, "breaker_open", "failed"),
        (ActionError("the disk is full", code="full"), 503, "full", "failed"),
        (DiscordUnavailableError(), 503, "discord_unavailable", "failed"),
        (KeyError("a secret"), 500, "defect", "failed"),
    ],
)
async def test_failures(
    tmp_path: Path, error: Exception, status: int, code: str, outcome: str
) -> None:
    """What could not be done is a problem with a stable code and a remedy, and it is recorded."""
    async with serving(tmp_path, hands=Hands(error=error)) as served:
        answer = await served.call(RESET, "POST")
        told = answer.json()
        assert (answer.status, told["code"], told["success"]) == (status, code, False)
        assert answer.header("content-type") == "application/problem+json"
        assert told["detail"]
        assert told["remedy"]
        assert b"secret" not in answer.body
        (record,) = served.records()
        assert (record.act.id, record.outcome, record.code) == (told["auditId"], outcome, code)
        assert (await served.call("/api/health/live")).status == 200


async def test_known_names_are_listed(tmp_path: Path) -> None:
    """A name that is not there is answered with those that are."""
    hands = Hands(error=UnknownTargetError("service", ("database", "discord")))
    async with serving(tmp_path, hands=hands) as served:
        told = (await served.call("/api/admin/service/restart/nope", "POST")).json()
        assert told["known"] == ["database", "discord"]


BODIES: list[tuple[str, bytes, int]] = [
    ("/api/admin/gc", b"", 200),
    ("/api/admin/gc", b"   ", 422),
    ("/api/admin/gc", b"{}", 200),
    ("/api/admin/gc", b'{"reason": "slow"}', 200),
    ("/api/admin/gc", b'{"whatever": 1}', 200),
    ("/api/admin/gc", b"[]", 422),
    ("/api/admin/gc", b"no JSON", 422),
    ("/api/admin/gc", b'{"reason": 5}', 422),
    ("/api/admin/gc", b'{"reason": "' + b"x" * 300 + b'"}', 422),
    ("/api/admin/degradation/enable", b'{"level": "high"}', 200),
    ("/api/admin/degradation/enable", b'{"level": "worst"}', 422),
    ("/api/admin/degradation/enable", b'{"levle": "high"}', 422),
    ("/api/admin/ratelimit/reset", b'{"scope": "user:1"}', 200),
    ("/api/admin/ratelimit/reset", b'{"scpoe": "user:1"}', 422),
    ("/api/admin/ratelimit/reset", b'{"scope": ""}', 422),
    ("/api/admin/circuit/trip/gemini", b'{"seconds": 30}', 200),
    ("/api/admin/circuit/trip/gemini", b'{"seconds": -1}', 422),
    ("/api/admin/circuit/trip/gemini", b'{"seconds": 1e400}', 422),
    ("/api/admin/datastore/restore/settings.json", b'{"at": "yesterday"}', 422),
    ("/api/test/echo", b'{"message": "test"}', 200),
    ("/api/test/echo", b'{"id": 1, "test": "x"}', 200),
    ("/api/test/echo", b'{"message": ""}', 422),
    ("/api/test/echo", b'{"message": "' + b"x" * 2000 + b'"}', 422),
    ("/api/test/command", b'{"command": "ping", "userId": "test"}', 200),
    ("/api/test/command", b'{"command": ["ping"]}', 422),
    ("/api/test/command", b'{"mayManage": 0}', 422),
    ("/api/admin/circuit/trip/gemini", b'{"seconds": "30"}', 422),
    ("/api/admin/ratelimit/reset", b'{"scope": "00"}', 422),
    ("/api/test/echo", b"[" * 5000, 422),
    ("/api/test/echo", b'{"message": "\\ud800"}', 422),
    ("/api/test/echo", b"\xff\xfe", 422),
]


@pytest.mark.parametrize(("path", "body", "status"), BODIES)
@pytest.mark.parametrize("kind", ["", "application/x-www-form-urlencoded", "text/plain"])
async def test_bodies(tmp_path: Path, path: str, body: bytes, status: int, kind: str) -> None:
    """A body is JSON whatever it calls itself, may be left out, and is refused by its field."""
    async with serving(tmp_path) as served:
        headers = [("Content-Type", kind)] if kind else []
        answer = await served.call(path, "POST", headers, body)
        assert answer.status == status, answer.body
        if status == 422:
            assert answer.json()["code"] == "invalid"
            assert answer.json()["detail"]
            assert served.hands.asked == []


async def test_bytes_that_are_no_text_name_the_body(tmp_path: Path) -> None:
    """Where a body is needed, one that is no JSON in UTF-8 is refused by name, as all others."""
    routes = APIRouter()

    @routes.post("/api/needs")
    async def needs(body: dict[str, str]) -> dict[str, str]:
        return body

    async with serving(tmp_path, more=(routes,)) as served:
        for body in (b"\xff\xfe", b"L\xf4", b"{"):
            answer = await served.call("/api/needs", "POST", body=body)
            assert (answer.status, answer.json()["code"]) == (422, "invalid")
            assert answer.json()["detail"].startswith("body: ")


async def test_every_post_to_admin_leaves_one_record(tmp_path: Path) -> None:
    """Done, refused, misspelt or unknown: each POST below /api/admin is in the audit, once."""
    async with serving(tmp_path) as served:
        for path, body in (
            ("/api/admin/gc", b""),
            ("/api/admin/gc", b"no JSON"),
            ("/api/admin/no/such/action", b""),
            ("/api/admin/queue/status", b""),
            ("/api/admin/restart", b""),
        ):
            await served.call(path, "POST", body=body)
        records = served.records()
        assert [(r.act.action, r.act.target, r.outcome) for r in records] == [
            ("gc", "", "done"),
            ("gc", "", "refused"),
            ("unknown", "no/such/action", "refused"),
            ("unknown", "queue/status", "refused"),
            ("restart", "", "done"),
        ]
        assert verify(served.audit.directory).whole


async def test_no_secret_gets_into_the_audit(tmp_path: Path) -> None:
    """A key that somebody pastes where a name or a reason belongs is nowhere in the record."""
    key = "AIza" + "SyA1234567890abcdefghijklmnopqrstuvw"
    async with serving(tmp_path) as served:
        for path, body in (
            (f"/api/admin/{key}", b""),
            (f"/api/admin/circuit/reset/{key}", b""),
            (f"/api/admin/circuit/trip/{key}", b"no JSON"),
            ("/api/admin/gc", f'{{"reason": "{key}"}}'.encode()),
        ):
            await served.call(path, "POST", body=body)
        actions = [record.act.action for record in served.records()]
        assert actions == ["unknown", "circuit/reset", "circuit/trip", "gc"]
        shown = await served.call("/api/admin/audit")
        assert shown.status == 200
    kept = b"".join(path.read_bytes() for path in (tmp_path / "audit").iterdir())
    assert key.encode() not in kept


async def test_gets_never_act(tmp_path: Path) -> None:
    """No action answers a GET, and none is asked for by one."""
    async with serving(tmp_path) as served:
        for spec in (*ADMIN_ACTIONS, *TESTS):
            prefix = "/api/admin" if spec in ADMIN_ACTIONS else "/api/test"
            path = f"{prefix}/{spec.name}" + ("/x" if spec.target else "")
            assert (await served.call(path)).status in {404, 405}, path
            assert (await served.call(path, "HEAD")).status in {404, 405}, path
        assert served.hands.asked == []


async def test_a_refused_method_tells_which_are_offered(tmp_path: Path) -> None:
    """A 405 names the methods of exactly this path (RFC 9110, section 15.5.6)."""
    async with serving(tmp_path) as served:
        for path, methods in (("/api/admin/gc", "POST"), ("/api/health/live", "GET")):
            answer = await served.call(path, "OPTIONS")
            assert answer.status == 405
            assert [value for name, value in answer.headers if name.lower() == "allow"] == [methods]


async def test_names_with_slashes_and_worse_are_only_looked_up(tmp_path: Path) -> None:
    """Whatever stands where a name should is handed over as a name, bounded in its length."""
    async with serving(tmp_path) as served:
        for name, status in (
            ("servers/7.json", 200),
            ("..%2F..%2Fetc%2Fpasswd", 200),
            ("%00", 200),
            ("x" * 301, 422),
        ):
            path = f"/api/admin/datastore/validate/{name}"
            assert (await served.call(path, "POST")).status == status
        targets = [asked.target for _, asked in served.hands.asked]
        assert targets == ["servers/7.json", "../../etc/passwd", "\x00"]


async def test_an_action_outlives_who_asked_for_it(tmp_path: Path) -> None:
    """A caller that hangs up does not break off the action, nor keep it out of the audit."""
    held = asyncio.Event()
    async with serving(tmp_path, hands=Hands(held=held)) as served:
        calling = asyncio.create_task(served.call(RESET, "POST"))
        while not served.hands.asked:
            await asyncio.wait({calling}, timeout=0.01)
        calling.cancel()
        await asyncio.gather(calling, return_exceptions=True)
        held.set()
        await served.desk.close()
        assert [record.outcome for record in served.records()] == ["done"]


async def test_what_excludes_itself_is_a_conflict(tmp_path: Path) -> None:
    """A second restart while one is under way is refused at once; the first goes on."""
    held = asyncio.Event()
    path = "/api/admin/service/restart/discord"
    async with serving(tmp_path, hands=Hands(held=held)) as served:
        first = asyncio.create_task(served.call(path, "POST"))
        while not served.hands.asked:
            await asyncio.wait({first}, timeout=0.01)
        assert (await served.call(path, "POST")).status == 409
        holder = served.mutexes.status()["action:services"].holder
        assert holder is not None
        assert holder.owner == "action service/restart"
        held.set()
        assert (await first).status == 200
        assert (await served.call(path, "POST")).status == 200


async def test_a_jammed_action_can_be_taken_its_mutex_away(tmp_path: Path) -> None:
    """Whoever releases the mutex of an action that hangs ends it; it is told as broken off."""
    hands = Hands(held=asyncio.Event())
    async with serving(tmp_path, hands=hands) as served:
        path = "/api/admin/service/restart/discord"
        jammed = asyncio.create_task(served.call(path, "POST"))
        while "action:services" not in served.mutexes.names():
            await asyncio.wait({jammed}, timeout=0.01)
        assert served.mutexes.force_release("action:services", "it hangs") is not None
        answer = await jammed
        assert (answer.status, answer.json()["code"]) == (503, "fenced")
        hands.held = None
        assert (await served.call(path, "POST")).status == 200
        assert [record.outcome for record in served.records()] == ["failed", "done"]


async def test_tests_are_not_audited(tmp_path: Path) -> None:
    """A test changes nothing: it answers what it found and leaves no record."""
    hands = Hands(done=Done(told={"echo": "hello", "stages": {"queueMs": 1}}))
    async with serving(tmp_path, hands=hands) as served:
        told = (await served.call("/api/test/echo", "POST", body=b'{"message": "hello"}')).json()
        assert told["success"] is True
        assert (told["test"], told["echo"], told["stages"]) == ("echo", "hello", {"queueMs": 1})
        assert hands.asked == [("test/echo", Asked("", {"message": "hello"}))]
        assert served.records() == []


async def test_the_audit_can_be_read_over_the_api(tmp_path: Path) -> None:
    """The last records are shown; how many may be asked for is bounded."""
    async with serving(tmp_path) as served:
        shown = (await served.call("/api/admin/audit?count=5")).json()["records"]
        assert shown[0]["action"] == "gc"
        assert (await served.call("/api/admin/audit?count=100000")).status == 422


async def test_an_audit_that_cannot_be_written_stops_nobody(tmp_path: Path) -> None:
    """While the disk refuses the audit, actions are still done, and the record is still owed."""
    async with serving(tmp_path) as served:
        blocked = served.audit.directory / NAME
        await asyncio.to_thread(blocked.mkdir)
        assert (await served.call("/api/admin/temp/cleanup", "POST")).status == 200
        assert served.audit.unwritten == 1
        await asyncio.to_thread(blocked.rmdir)
        await served.call("/api/admin/gc", "POST")
        assert served.audit.unwritten == 0
        assert [record.act.action for record in served.records()] == ["temp/cleanup", "gc"]
