"""The operator page in a real browser: what it shows, what it survives, what it lets one do."""

from __future__ import annotations

import pytest
from tests.browser.stage import MISSING, Stage

pytest.importorskip("playwright.async_api", reason=MISSING)

from playwright.async_api import Page, Route, expect

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]

FIRST_LOAD_BYTES_MAX = 150_000
DRILL_MS = 120_000
"""A drill breaks, waits until that is noticed and mended, and looks what users got."""
REFUSALS_MAX = 3
"""None is run during an incident, and a busy machine may give the bot one of its own."""

DRAWN = "() => document.querySelector('#tile-memory .spark-line')?.getAttribute('d')"
LOADED = "() => performance.getEntriesByType('resource').map(e => [e.name, e.transferSize])"


async def enter(page: Page, stage: Stage, view: str = "overview") -> None:
    """Open a view and wait for the first news."""
    await page.goto(f"{stage.page}#{view}")
    await page.wait_for_selector("html[data-ready]")
    await expect(page.locator("#live")).to_have_text("Live")


async def test_the_first_load_is_small_and_all_our_own(page: Page, stage: Stage) -> None:
    """Opening the page loads under 150 kB, from the bot alone."""
    await enter(page, stage)
    loaded = await page.evaluate(LOADED)
    assert all(url.startswith(stage.page) for url, _ in loaded)
    assert sum(size for url, size in loaded if "/feed" not in url) < FIRST_LOAD_BYTES_MAX


async def test_the_state_is_told_at_a_glance(page: Page, stage: Stage) -> None:
    """State, since when and because of what stand at the top, in words."""
    await enter(page, stage)
    await expect(page.locator("#hero h1")).to_have_text("All is well")
    await expect(page.locator(".hero-since")).to_contain_text("since")
    await expect(page.locator(".reasons")).to_contain_text("Every part works")


async def test_a_second_may_pass_before_the_first_frame_is_drawn(page: Page, stage: Stage) -> None:
    """A busy browser draws late; the clock, which ticks meanwhile, does not know since when yet."""

    async def after_the_frame(route: Route) -> None:
        await expect(page.locator(".hero-since")).to_contain_text("since")
        await route.continue_()

    await page.add_init_script("window.requestAnimationFrame = (draw) => setTimeout(draw, 3000)")
    # What may be done, once learnt, draws as well.
    await page.route("**/dashboard/actions", after_the_frame)
    await enter(page, stage)


async def test_a_message_moves_along_and_its_ledger_is_one_click_away(
    page: Page, stage: Stage
) -> None:
    """A message appears without a reload and ends as answered; its ledger tells no word."""
    await enter(page, stage)
    asked = await stage.say("hello secretword")
    row = page.locator(".flow-rows tbody tr", has_text=asked[-6:])
    await row.locator(".chip.good").wait_for()
    await row.get_by_role("button").click()
    ledger = page.get_by_role("dialog")
    await expect(ledger).to_contain_text("claimed")
    await expect(ledger).to_contain_text("delivered")
    await expect(ledger.get_by_role("heading", name="Durable record")).to_be_visible()
    assert "secretword" not in await page.content()


async def test_it_says_that_the_bot_is_gone_and_catches_up(page: Page, stage: Stage) -> None:
    """A lost connection is told; when the bot is back, the page is live by itself."""
    await enter(page, stage)
    await stage.stop_bot()
    await expect(page.locator("#live")).to_contain_text("lost")
    await stage.start_bot()
    await expect(page.locator("#live")).to_have_text("Live")
    await expect(page.locator("#hero h1")).to_have_text("All is well")


async def test_sparklines_survive_a_reload(page: Page, stage: Stage) -> None:
    """The last hour is kept by the bot: a page that is opened anew draws it at once."""
    await enter(page, stage)
    await page.wait_for_function(DRAWN)
    await page.reload()
    await page.wait_for_function(DRAWN)


async def test_what_harms_is_asked_about_and_its_result_leads_to_the_audit(
    page: Page, stage: Stage
) -> None:
    """A harmful action says what it will do and waits for a yes; its record is one click away."""
    await enter(page, stage)
    await page.get_by_role("button", name="Trip discord").click()
    dialog = page.get_by_role("dialog")
    await expect(dialog).to_contain_text("not asked until it is reset")
    await dialog.get_by_role("button", name="Do it").click()
    result = page.locator("#results .result").first
    await expect(result).to_contain_text("Done")
    await page.get_by_role("button", name="Reset discord").click()
    await result.get_by_role("link", name="audit entry").click()
    record = page.locator(".audit details[open]")
    await expect(record).to_contain_text("circuit/")
    await expect(record).to_contain_text("loopback")


async def test_automation_is_paused_with_a_reason_and_goes_on(page: Page, stage: Stage) -> None:
    """A pause asks for its reason, shows it, and ends by a click."""
    await enter(page, stage, "incidents")
    await page.get_by_role("button", name="Pause automation").click()
    dialog = page.get_by_role("dialog")
    await expect(dialog).to_contain_text("does not mend itself")
    await dialog.get_by_label("Reason").fill("a test")
    await dialog.get_by_role("button", name="Do it").click()
    await expect(page.locator("#view")).to_contain_text("paused: a test")
    await page.get_by_role("button", name="End the pause").click()
    await expect(page.get_by_role("button", name="Pause automation")).to_be_visible()


async def test_a_dry_run_tells_and_changes_nothing(page: Page, stage: Stage) -> None:
    """A runbook's dry run is one click, and says what came of it."""
    await enter(page, stage, "incidents")
    await page.get_by_role("button", name="Dry run of gemini-recovery").click()
    await expect(page.locator("#results .chip")).to_be_visible()


async def test_documents_are_listed_and_checked(page: Page, stage: Stage) -> None:
    """Each document stands there when the view opens, with its state and what can be done to it."""
    await enter(page, stage, "data")
    row = page.locator("tbody tr", has_text="settings.json")
    await expect(row.locator(".chip.good")).to_be_visible()
    await expect(row).to_contain_text("ago")
    await expect(row.get_by_role("button")).to_have_text(["Validate", "Recover", "Restore…"])
    await page.get_by_role("button", name="Validate all").click()
    await expect(page.locator("#view")).to_contain_text("all valid")


async def test_a_setting_is_judged_before_it_is_changed(page: Page, stage: Stage) -> None:
    """A wrong value cannot be saved; a right one shows its difference, holds, and can go back."""
    await enter(page, stage, "settings")
    row = page.locator('tr[data-name="ATTEMPTS_MAX"]')
    await row.get_by_role("button").click()
    dialog = page.get_by_role("dialog")
    save = dialog.get_by_role("button", name="Save")
    for value, verdict in (("99", "must be 1 to 50"), ("5", "Nothing differs")):
        await dialog.get_by_label("New value").fill(value)
        await dialog.get_by_role("button", name="Check").click()
        await expect(dialog.locator(".verdict")).to_contain_text(verdict)
        await expect(save).to_be_disabled()
    await dialog.get_by_label("New value").fill("7")
    await dialog.get_by_role("button", name="Check").click()
    await expect(dialog.locator(".verdict")).to_contain_text("5 → 7")
    await save.click()
    await expect(row.locator(".value")).to_have_text("7")
    await expect(page.locator("#results .result").first).to_contain_text("audit entry")
    await page.get_by_role("button", name="Versions of settings.json").click()
    await dialog.get_by_role("button", name="Restore").last.click()
    await page.get_by_role("button", name="Do it").click()
    await expect(row.locator(".value")).to_have_text("5")


async def test_a_drill_runs_from_the_page_and_shows_its_score(page: Page, stage: Stage) -> None:
    """Something is broken by a click; how it was noticed and mended is told without a reload."""
    await enter(page, stage, "incidents")
    score = page.locator("tbody tr", has_text="bot.settings")
    refused = page.get_by_text("nothing is broken on purpose")
    for _ in range(REFUSALS_MAX + 1):
        await stage.at_ease()
        await press_drill(page, "settings")
        await expect(score.or_(refused).first).to_be_visible(timeout=DRILL_MS)
        if not await refused.is_visible():
            break
    await expect(score.locator(".chip").first).to_have_text("passed")
    await expect(score).to_contain_text("nothing lost or doubled")


async def press_drill(page: Page, name: str) -> None:
    """Run a drill from its dialog, and see it run."""
    await page.get_by_role("button", name="Run a drill").click()
    dialog = page.get_by_role("dialog")
    await dialog.locator("select").select_option(name)
    await dialog.get_by_role("button", name="Do it").click()
    await expect(page.locator("#view")).to_contain_text(f"{name} runs…")


async def test_secrets_are_masked(page: Page, stage: Stage) -> None:
    """Settings are shown with their values, secrets as set or missing."""
    await enter(page, stage, "settings")
    row = page.locator("tr", has_text="DISCORD_TOKEN")
    await expect(row.locator("td")).to_have_text("set")
    await page.locator('tr[data-name="ATTEMPTS_MAX"]').wait_for()
    await expect(page.get_by_role("button", name="Change DISCORD_TOKEN")).to_have_count(0)
