"""Incidents reach a real web server by signed posts: once, in spite of its outages and of kills."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web

from llmbot.app.healing.channels import Webhook
from llmbot.kernel.clock import ManualClock, SystemClock
from llmbot.operations.incidents.log import IncidentChanged
from llmbot.operations.incidents.notify import Notifier
from llmbot.operations.journal import Journal

SECRET = "between-us"
CHANGE = IncidentChanged("inc-1", "opened", "P1", "A model's provider answers with errors")


@dataclass(slots=True)
class Receiver:
    """A web server that says no as often as it is told to, and keeps what it was sent."""

    refusals: list[int] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    url: str = ""

    async def take(self, request: web.Request) -> web.Response:
        """Keep a post."""
        self.bodies.append(await request.read())
        self.headers.append(dict(request.headers))
        return web.Response(status=self.refusals.pop(0) if self.refusals else 204)


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    """A receiver on a real socket."""
    receiver = Receiver()
    app = web.Application()
    app.router.add_post("/alerts", receiver.take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    address = runner.addresses[0]
    receiver.url = f"http://127.0.0.1:{address[1]}/alerts"
    try:
        yield receiver
    finally:
        await runner.cleanup()


def life(folder: Path, clock: ManualClock, url: str) -> tuple[Journal, Notifier]:
    """The outbox in one life of the process; deadlines of the network run on the real clock."""
    journal = Journal(folder, clock, lambda text: text)
    notifier = Notifier(journal, clock, (Webhook(url, SystemClock(), SECRET),))
    journal.subscribe(notifier.hear)
    return journal, notifier


async def test_a_post_is_signed_so_that_its_receiver_can_tell_it_from_others(
    tmp_path: Path,
) -> None:
    """Body and time are signed with the shared secret."""
    clock = ManualClock()
    async with receiving() as receiver:
        _, notifier = life(tmp_path, clock, receiver.url)
        notifier.tell(CHANGE)
        await notifier.round()
    (body,), (headers,) = receiver.bodies, receiver.headers
    stamped = headers["X-Llmbot-Timestamp"].encode() + b"." + body
    expected = hmac.new(SECRET.encode(), stamped, hashlib.sha256).hexdigest()
    assert headers["X-Llmbot-Signature"] == f"sha256={expected}"
    told = json.loads(body)
    assert (told["incident"], told["severity"]) == ("inc-1", "P1")


async def test_a_receiver_that_refuses_is_told_again_until_it_takes_it(tmp_path: Path) -> None:
    """Refusals are followed by growing pauses, the same key comes each time, and it ends."""
    clock = ManualClock()
    async with receiving() as receiver:
        receiver.refusals = [500, 503]
        _, notifier = life(tmp_path, clock, receiver.url)
        notifier.tell(CHANGE)
        for _ in range(6):
            await notifier.round()
            clock.advance(20)
    assert len(receiver.bodies) == 3
    assert len({headers["Idempotency-Key"] for headers in receiver.headers}) == 1
    assert (notifier.sent, notifier.waiting) == (1, 0)


async def test_a_notice_outlives_the_process_and_its_receiver(tmp_path: Path) -> None:
    """What nobody could take before a kill arrives in the next life, and never twice."""
    clock = ManualClock()
    _, before = life(tmp_path, clock, "http://127.0.0.1:9/alerts")
    before.tell(CHANGE)
    await before.round()
    assert before.waiting == 1
    async with receiving() as receiver:
        for _ in range(2):
            journal, notifier = life(tmp_path, clock, receiver.url)
            await journal.load()
            await notifier.round()
    assert len(receiver.bodies) == 1
