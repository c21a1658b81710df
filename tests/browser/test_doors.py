"""Who gets in by a browser: with a token by signing in, from another page not at all."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import pytest_asyncio
from aiohttp import web
from tests.browser.stage import MISSING, Stage

pytest.importorskip("playwright.async_api", reason=MISSING)

from playwright.async_api import BrowserContext, Page, expect

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]

TOKEN = "a-token-that-nobody-guesses"
OPERATOR_TOKEN = "another-token-to-mend-with"
VIEWER_TOKEN = "a-third-token-to-look-with"

ACT = """async ([path, headers]) =>
    (await fetch(path, { method: "POST", headers, body: "{}" })).status"""

ATTACK = """<!doctype html><title>attack</title><body><script>
const kill = "{target}api/runbooks/kill";
const body = '{{"reason":"attack"}}';
const tries = [
  fetch("{target}api/health/status").then((answer) => answer.text()),
  fetch(kill, {{ method: "POST", body }}).then((answer) => answer.text()),
  fetch(kill, {{ method: "POST", mode: "no-cors", body }}).then((answer) => {{
    if (answer.type === "opaque") throw new Error("nothing to read");
  }}),
  new Promise((told, refused) => {{
    const feed = new EventSource("{target}dashboard/feed");
    feed.addEventListener("status", told);
    feed.onerror = refused;
  }}),
];
Promise.allSettled(tries).then((all) => {{
  document.title = all.map((each) => each.status).join(",");
}});
</script><form id="f" method="post" action="{target}api/runbooks/kill" enctype="text/plain">
<input name='{{"reason":"attack","x":"' value='"}}'></form></body>"""
"""What a page can try: to read, to change, to change without reading, to listen, to send a form."""


@asynccontextmanager
async def foreign_page(target: str) -> AsyncIterator[str]:
    """A page on another origin that tries what a page can."""

    async def serve(_: web.Request) -> web.Response:
        return web.Response(text=ATTACK.format(target=target), content_type="text/html")

    app = web.Application()
    app.router.add_get("/", serve)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()


async def killed(context: BrowserContext, stage: Stage) -> str:
    """What the kill switch of automation says, asked by the operator's own tab."""
    tab = await context.new_page()
    await tab.goto(stage.page)
    said: str = await tab.evaluate(
        "async () => (await (await fetch('/api/runbooks/rails')).json()).killed"
    )
    await tab.close()
    return said


async def test_a_foreign_page_reads_and_changes_nothing(
    context: BrowserContext, stage: Stage
) -> None:
    """A page of another origin gets no data and has no effect, whatever way it tries."""
    async with foreign_page(stage.page) as address:
        tab = await context.new_page()
        await tab.goto(address)
        await expect(tab).to_have_title("rejected,rejected,rejected,rejected")
        await tab.evaluate("document.getElementById('f').submit()")
        await tab.wait_for_url(f"{stage.page}**")
        assert "foreign" in await tab.content()
    assert await killed(context, stage) == ""


async def test_a_link_from_elsewhere_ends_at_a_door(context: BrowserContext, stage: Stage) -> None:
    """Who follows a link from another page finds no data, but a link of our own that leads in."""
    tab = await context.new_page()
    await tab.goto(stage.chat)
    await tab.evaluate("(to) => { location.href = to }", stage.page)
    await expect(tab.get_by_role("heading")).to_have_text("llmbot: operator page")
    await tab.get_by_role("link", name="Open the operator page").click()
    await expect(tab.locator("#live")).to_have_text("Live")


@pytest_asyncio.fixture(loop_scope="session", scope="module")
async def guarded(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    """A bot with a token for each role."""
    async with Stage(
        tmp_path_factory.mktemp("guarded"),
        ADMIN_TOKEN=TOKEN,
        OPERATOR_TOKEN=OPERATOR_TOKEN,
        VIEWER_TOKEN=VIEWER_TOKEN,
        LOG_USER_TEXT="true",
    ) as running:
        yield running


async def sign_in(page: Page, stage: Stage, token: str) -> None:
    """Go to the page and give it a token."""
    await page.goto(stage.page)
    await page.get_by_label("Token").fill(token)
    await page.get_by_role("button", name="Sign in").click()


async def test_a_token_is_needed_where_one_is_set(page: Page, guarded: Stage) -> None:
    """The wrong token is refused, the right one opens a session that a sign-out ends."""
    await sign_in(page, guarded, "wrong")
    await expect(page.get_by_role("alert")).to_contain_text("not the right token")
    await sign_in(page, guarded, TOKEN)
    await expect(page.locator("#live")).to_have_text("Live")
    (cookie,) = await page.context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    await page.get_by_role("button", name="Sign out").click()
    await expect(page.get_by_label("Token")).to_be_visible()
    status = await page.evaluate("async () => (await fetch('/api/health/status')).status")
    assert status == 401


async def test_a_session_changes_something_only_with_its_form_token(
    page: Page, guarded: Stage
) -> None:
    """A request with the cookie alone is let in to look, and refused to act."""
    await sign_in(page, guarded, TOKEN)
    await expect(page.locator("#live")).to_have_text("Live")
    assert await page.evaluate(ACT, ["/api/admin/gc", {}]) == 403
    token = await page.locator("meta[name=form-token]").get_attribute("content")
    assert await page.evaluate(ACT, ["/api/admin/gc", {"X-Form-Token": token}]) == 200


@pytest.mark.parametrize(
    ("token", "mends", "stops"),
    [(VIEWER_TOKEN, False, False), (OPERATOR_TOKEN, True, False), (TOKEN, True, True)],
    ids=["viewer", "operator", "admin"],
)
async def test_a_session_may_do_what_its_role_may(
    page: Page, guarded: Stage, token: str, mends: bool, stops: bool
) -> None:
    """Buttons are there for what the role may do; asked without them, the bot refuses the rest."""
    await sign_in(page, guarded, token)
    await expect(page.locator("#live")).to_have_text("Live")
    await page.goto(f"{guarded.page}#actions")
    await page.locator("li.action").first.wait_for()
    for path, allowed in (("/api/admin/gc", mends), ("/api/admin/circuit/trip/all", stops)):
        button = page.locator(f'li.action[data-path="{path}"] button')
        assert (await button.count() == 1) is allowed
    form_token = await page.locator("meta[name=form-token]").get_attribute("content")
    # Both end what is not on, so that the answer is all that is tried.
    for path, allowed in (
        ("/api/admin/degradation/disable", mends),
        ("/api/admin/maintenance/disable", stops),
    ):
        status = await page.evaluate(ACT, [path, {"X-Form-Token": form_token}])
        assert status == (200 if allowed else 403)


@pytest.mark.parametrize("private", [False, True])
async def test_words_are_shown_by_setting_and_private_ones_never(
    page: Page, guarded: Stage, private: bool
) -> None:
    """Where a setting reveals texts, a ledger has question and answer, unless private."""
    await sign_in(page, guarded, VIEWER_TOKEN)
    await expect(page.locator("#live")).to_have_text("Live")
    asked = await guarded.say("hello secretword", private=private)
    row = page.locator(".flow-rows tbody tr", has_text=asked[-6:])
    await row.locator(".chip.good").wait_for()
    await row.get_by_role("button").click()
    ledger = page.get_by_role("dialog")
    await expect(ledger).to_contain_text("in private" if private else "secretword")
    assert ("secretword" in await page.content()) is not private
