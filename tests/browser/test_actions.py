"""Every action of the API on the operator page: offered, asked about, done, told."""

from __future__ import annotations

import aiohttp
import pytest
from tests.browser.stage import MISSING, Stage

pytest.importorskip("playwright.async_api", reason=MISSING)

from playwright.async_api import Locator, Page, expect

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]

LAST = "/api/admin/restart"
DRILL = "/api/drills/{name}/run"
"""Breaks for a minute what the other actions need; it has a test of its own."""

RESET = "/api/admin/circuit/reset/all"
TARGETS = {"service/restart": "conversation-memory", "datastore/": "settings.json"}
"""What to choose where the first that is offered would take the page itself down, or none is."""

COMMAND = "/api/test/command"
"""Asks for a command that a bot in trouble, be it for want of a processor, does not serve."""

CURES = {"circuit/trip": RESET, "degradation/enable": "/api/admin/degradation/disable"}
MUST_WORK = ("/api/admin/", "/api/test/")
NOTHING_TO_DO = ("mutex/force-release", "context/")
"""What may rightly be refused by a bot that is idle and well."""


async def posts_of(stage: Stage) -> set[str]:
    """The paths of all actions that the API describes."""
    async with aiohttp.ClientSession() as http, http.get(f"{stage.page}openapi.json") as answer:
        described = (await answer.json())["paths"]
    return {path for path, operations in described.items() if "post" in operations}


async def cards_of(page: Page, stage: Stage) -> dict[str, Locator]:
    """Each action that the page offers, by its path."""
    await page.goto(f"{stage.page}#actions")
    await page.locator("li.action button").first.wait_for()
    cards = await page.locator("li.action").all()
    return {str(await card.get_attribute("data-path")): card for card in cards}


async def answer_questions(page: Page, path: str) -> None:
    """Fill in what the dialog asks for, and say yes."""
    dialog = page.get_by_role("dialog")
    await dialog.wait_for()
    for needed in await dialog.locator("input[required]").all():
        await needed.fill(next((v for k, v in TARGETS.items() if k in path), "last"))
    if "service/restart" in path:
        await dialog.get_by_label("Service").select_option(TARGETS["service/restart"])
    await dialog.locator("button[value=go]").click()


async def test_the_page_offers_exactly_what_the_api_lists(page: Page, stage: Stage) -> None:
    """No action of the API is missing on the page, and none is offered that it does not have."""
    assert set(await cards_of(page, stage)) == await posts_of(stage)


async def test_each_action_is_done_by_its_button(page: Page, stage: Stage) -> None:
    """Each button leads to a result that says what came of it; the bot is well afterwards."""
    cards = await cards_of(page, stage)
    for path in [*(path for path in cards if path not in {RESET, LAST, DRILL}), RESET, LAST]:
        if path == COMMAND:
            await stage.at_ease()
        words = await result_of(page, path, cards[path].get_by_role("button"))
        assert "Done" in words or "Not done" in words
        if path.startswith(MUST_WORK) and not any(each in path for each in NOTHING_TO_DO):
            assert "Not done" not in words, f"{path}: {words}"
        for harm, cure in CURES.items():
            if harm in path:
                assert "Done" in await result_of(page, cure, cards[cure].get_by_role("button"))
    await expect(page.locator("#live")).to_have_text("Live")
    await expect(page.locator("#hero h1")).to_have_text("All is well")


async def result_of(page: Page, path: str, button: Locator) -> str:
    """Press a button, say yes where it asks, and read what came of it."""
    asks = "choose" in str(await button.get_attribute("class"))
    await button.click()
    if asks:
        await answer_questions(page, path)
    result = page.locator("#results .result").first
    await result.locator(".chip").wait_for()
    words = str(await result.inner_text())
    await result.get_by_role("button", name="Close").click()
    return words
