"""How both pages look and read: pictures for people, rules of accessibility for machines."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tests.browser.conftest import Complaints
from tests.browser.stage import MISSING, Stage

pytest.importorskip("playwright.async_api", reason=MISSING)

from playwright.async_api import Browser, Page, expect

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]

SIZES = {"wide": (1440, 1000), "phone": (390, 844)}
VIEWS = ("overview", "messages", "incidents", "actions", "parts", "data", "audit", "settings")
ASK = "[[code]] How does a mutex work?"


async def opened(browser: Browser, size: str, theme: Any, complaints: Complaints) -> Page:
    """A tab of this size and theme."""
    width, height = SIZES[size]
    # Without motion: in the middle of a fade no colour is what it is to be.
    context = await browser.new_context(
        viewport={"width": width, "height": height}, color_scheme=theme, reduced_motion="reduce"
    )
    tab = await context.new_page()
    complaints.watch(tab)
    return tab


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", list(SIZES))
async def test_each_state_is_worth_a_picture(
    browser: Browser,
    stage: Stage,
    complaints: Complaints,
    picture: Callable[[str], str],
    axe: str,
    size: str,
    theme: str,
) -> None:
    """Wide and narrow, light and dark, nothing overflows sideways or stands in anybody's way.

    Only the colours of a dark page are not those of the light one.
    """
    rules = {"light": {}, "dark": {"runOnly": ["color-contrast"]}}[theme]
    tab = await opened(browser, size, theme, complaints)
    await stage.say(ASK)
    await tab.goto(stage.chat)
    await tab.locator(".code-block").first.wait_for()
    await tab.screenshot(path=picture(f"chat-{size}-{theme}"))
    assert await overflow(tab) <= 0
    if size == "wide":
        assert await findings(tab, axe, rules) == []
        await tab.get_by_role("tab", name="All faults").click()
        assert await findings(tab, axe, rules) == []
    for view in VIEWS:
        await tab.goto(f"{stage.page}#{view}")
        await expect(tab.locator("#live")).to_have_text("Live")
        await expect(tab.locator("#view")).not_to_contain_text("Reading…")
        await tab.screenshot(path=picture(f"operator-{view}-{size}-{theme}"), full_page=True)
        assert await overflow(tab) <= 0, view
        if size == "wide":
            assert await findings(tab, axe, rules) == [], view
    assert complaints.words == []


async def overflow(tab: Page) -> int:
    """By how many pixels the page is wider than its window."""
    found: int = await tab.evaluate(
        "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
    )
    return found


async def findings(tab: Page, axe: str, rules: dict[str, list[str]]) -> list[str]:
    """What axe finds that is serious or critical."""
    await tab.evaluate(axe)
    found: list[str] = await tab.evaluate(
        """async (rules) => (await axe.run(rules)).violations
            .filter((each) => ["serious", "critical"].includes(each.impact))
            .flatMap((each) => each.nodes.map(
                (node) => `${each.id}: ${node.target} ${node.failureSummary}`))""",
        rules,
    )
    return found
