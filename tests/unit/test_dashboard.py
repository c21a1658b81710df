"""The operator page's server side: streams that hold nobody back, and what the page offers."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, MutableMapping
from typing import Any

from fastapi import FastAPI
from tests.support.waiting import PATIENCE_S

from llmbot.console.actions import ADMIN_ACTIONS, TESTS
from llmbot.console.api.actions import act_routes
from llmbot.console.dashboard.actions import offers_of
from llmbot.console.dashboard.board import Board
from llmbot.console.dashboard.feed import FeedResponse, Readers
from llmbot.console.dashboard.flow import Flow
from llmbot.console.dashboard.history import EVERY_S, POINTS_MAX, History
from llmbot.console.gate.roles import Role
from llmbot.kernel.clock import ManualClock, SystemClock
from llmbot.kernel.events import EventBus, MessageAccepted, ReplyDelivered


class Tab:
    """A browser's tab that takes news only while it is awake."""

    def __init__(self, *, awake: bool) -> None:
        self.taken = b""
        self.news = asyncio.Event()
        self.waits = asyncio.Event()
        self.awake = asyncio.Event()
        if awake:
            self.awake.set()

    async def send(self, message: MutableMapping[str, Any]) -> None:
        """Take one piece, once awake."""
        self.waits.set()
        await self.awake.wait()
        self.taken += message.get("body", b"")
        self.news.set()

    async def receive(self) -> MutableMapping[str, Any]:
        """Stay connected."""
        await asyncio.Event().wait()
        return {}

    async def until(self, words: bytes) -> None:
        """Return when these words have come."""
        async with asyncio.timeout(PATIENCE_S):
            while words not in self.taken:
                self.news.clear()
                await self.news.wait()


async def test_a_page_that_takes_nothing_holds_nobody_back() -> None:
    """Others get what is newest meanwhile; the sleeper, once awake, gets the newest alone."""
    clock, board, readers = SystemClock(), Board(), Readers()
    flow = Flow(EventBus(clock), board.next_version)
    tabs = Tab(awake=True), Tab(awake=False)
    streams = [
        asyncio.create_task(
            FeedResponse(board, flow, readers, clock, lambda: b"")({}, tab.receive, tab.send)
        )
        for tab in tabs
    ]
    quick, sleeper = tabs
    await sleeper.waits.wait()
    for number in range(1000):
        board.put("queue", b"%d;" % number)
    await quick.until(b"999;")
    assert sleeper.taken == b""
    sleeper.awake.set()
    await sleeper.until(b"999;")
    assert sleeper.taken.count(b"event: queue") == 1
    for stream in streams:
        stream.cancel()
    await asyncio.gather(*streams, return_exceptions=True)
    assert len(readers) == 0


def test_messages_on_their_way_are_bounded() -> None:
    """However many messages pass, the newest are told, and no more than a page can show."""
    clock, board = ManualClock(), Board()
    bus = EventBus(clock)
    flow = Flow(bus, board.next_version)
    for number in range(1000):
        bus.publish(MessageAccepted(number, channel_id=1, guild_id=2, source="live"))
        bus.publish(ReplyDelivered(number, 1, 1, 0, "answered", 5, 1, 1, 2, 1))
    rows = flow.rows(0)
    assert len(rows) == 200
    assert rows[-1]["id"] == "999"
    assert flow.rows(board.version) == []


def test_an_hour_is_kept_and_no_more() -> None:
    """The history holds one hour of points; what was not known then is a gap."""
    history = History({"memory": ("status", "bytes")})
    for number in range(2 * POINTS_MAX):
        told: Mapping[str, object] = {"status": {"bytes": number}} if number % 2 else {}
        history.add(number * EVERY_S, told)
    view = history.view()
    points = view["series"]["memory"]  # type: ignore[index] # a view is plain values
    assert (len(points), points[-1], points[-2]) == (POINTS_MAX, 2 * POINTS_MAX - 1, None)
    assert POINTS_MAX * EVERY_S == 3600


def test_the_page_offers_every_action_with_its_words_and_fields() -> None:
    """What the list of actions says of each is what the page is told: words, harm, role, fields."""
    api = FastAPI()
    api.include_router(act_routes(None))  # type: ignore[arg-type] # described, never performed
    offered = {each["path"]: each for each in offers_of(api.openapi(), lambda kind: (kind,))}
    for spec in ADMIN_ACTIONS:
        path = f"/api/admin/{spec.name}" + ("/{target}" if spec.target else "")
        told = offered.pop(path)
        assert (told["what"], told["harm"]) == (spec.summary, spec.harms)
        assert told["role"] == spec.role
        assert told["targets"] == (
            [{"name": "target", "choices": [spec.target]}] if spec.target else []
        )
    assert set(offered) == {f"/api/test/{spec.name}" for spec in TESTS}
    assert {each["role"] for each in offered.values()} == {Role.OPERATOR}


def test_a_field_is_offered_as_what_it_is() -> None:
    """Choices, numbers, times and texts are told apart, also where nothing may be given."""
    api = FastAPI()
    api.include_router(act_routes(None))  # type: ignore[arg-type] # described, never performed
    fields: dict[tuple[Any, Any], Any] = {
        (each["path"], field["name"]): field
        for each in offers_of(api.openapi(), lambda _: ())
        for field in each["fields"]  # type: ignore[attr-defined] # plain values
    }
    level = fields["/api/admin/degradation/enable", "level"]
    assert (level["type"], level["preset"]) == ("choice", "medium")
    assert level["choices"] == ["none", "low", "medium", "high"]
    assert fields["/api/admin/circuit/trip/{target}", "seconds"]["type"] == "number"
    assert fields["/api/admin/datastore/restore/{target}", "at"]["type"] == "time"
    assert fields["/api/test/echo", "message"]["type"] == "text"
