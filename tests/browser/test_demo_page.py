"""The simulated Discord in a real browser: the path of a newcomer, and what breaks on the way."""

from __future__ import annotations

import re

import pytest
from tests.browser.stage import MISSING, Stage

pytest.importorskip("playwright.async_api", reason=MISSING)

from playwright.async_api import Page, expect

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]

HEALS_MS = 90_000
"""The page itself gives up after less."""


async def enter(page: Page, stage: Stage) -> None:
    """Open the page and wait until it knows its world."""
    await page.goto(stage.chat)
    await page.wait_for_selector("html[data-ready]")


async def test_a_newcomer_breaks_the_bot_and_watches_it_heal(page: Page, stage: Stage) -> None:
    """From the first page by its own links: ask, kill, see it back, and read what it did."""
    await enter(page, stage)
    await page.get_by_label("Message #general").fill("[[long]] Tell me everything about bees.")
    await page.keyboard.press("Enter")
    answer = page.locator(".message", has=page.locator(".app"))
    await expect(answer.first).to_be_visible()
    before = stage.facts
    assert before is not None
    await page.get_by_role("button", name="kill -9 the bot").click()
    # It may be back sooner than the page looks: what tells the lives apart is the process.
    gone = "(old) => !document.body.innerText.includes(`Process ${old}`)"
    await page.wait_for_function(gone, arg=before.pid)
    await expect(page.locator(".bot-state")).to_contain_text("is connected")
    assert stage.facts is not None
    assert stage.facts.pid != before.pid
    async with page.context.expect_page() as opened:
        await page.get_by_role("link", name="Operator page").click()
    operator = await opened.value
    await operator.get_by_role("link", name="Open the operator page").click()
    await expect(operator.locator("#live")).to_have_text("Live")
    await expect(operator.locator(".happenings")).to_contain_text("Service discord: running")
    await expect(operator.locator(".flow-rows .chip.good").first).to_be_visible()
    await expect(answer.locator(".caret")).to_have_count(0)


async def test_a_newcomer_asks_and_sees_the_answer_stream(page: Page, stage: Stage) -> None:
    """What one types is asked of the bot, and its answer arrives under the question."""
    await enter(page, stage)
    await page.get_by_label("Message #general").fill("[[code]] How does a mutex work?")
    await page.keyboard.press("Enter")
    answer = page.locator(".message", has=page.locator(".app"))
    await expect(answer.locator(".code-block").first).to_be_visible()
    await expect(answer.locator(".quoted").first).to_contain_text("alice")
    await expect(answer.locator(".caret")).to_have_count(0)


@pytest.mark.parametrize("step", ["cut", "quota", "twice", "line", "kill"])
async def test_each_step_of_the_tour_ends_healed(page: Page, stage: Stage, step: str) -> None:
    """A step of the guided tour breaks one thing, and all that it expects of the bot comes true."""
    await enter(page, stage)
    await page.locator(f"#step-{step} button").click()
    outcome = page.locator(f"#outcome-{step}")
    await expect(outcome).to_contain_text("Healed after", timeout=HEALS_MS)
    await expect(outcome.locator(".fails")).to_have_count(0)


async def test_a_command_is_completed_and_answered_privately(page: Page, stage: Stage) -> None:
    """A slash offers the bot's commands; a private answer is for who asked alone."""
    await enter(page, stage)
    await page.locator("#draft").type("/sta")
    await expect(page.locator("#suggestions [role=option]")).to_have_count(1)
    await page.keyboard.press("Enter")
    private = page.locator(".message.private")
    await expect(private).to_contain_text("Only you can see this")
    await page.get_by_label("You are").select_option("bob")
    await expect(private).to_have_count(0)


async def test_people_talk_in_threads_and_directly(page: Page, stage: Stage) -> None:
    """Threads and direct messages are places of their own, and the bot answers in both."""
    await enter(page, stage)
    await page.get_by_role("button", name="New thread").click()
    await page.get_by_label("Name").fill("aside")
    await page.keyboard.press("Enter")
    await expect(page.locator("#channel-title")).to_have_text("aside")
    await page.locator("#draft").fill("hello there")
    await page.keyboard.press("Enter")
    await expect(page.locator(".app").first).to_be_visible()
    await page.get_by_role("button", name="Direct messages").click()
    await expect(page.locator("#channel-title")).to_have_text("@llmbot")
    await page.locator("#draft").fill("hello, just us")
    await page.keyboard.press("Enter")
    await expect(page.locator(".app").first).to_be_visible()


async def test_a_message_is_edited_reacted_to_and_deleted(page: Page, stage: Stage) -> None:
    """One's own message can be changed, reacted to and taken back, as on Discord."""
    await enter(page, stage)
    await page.locator(".ask-bot").click()
    await page.locator("#draft").fill("first wordlet")
    await page.keyboard.press("Enter")
    message = page.locator(".message", has_text=re.compile("wordlet"))
    await message.hover()
    await message.get_by_role("button", name="Edit").click()
    await page.get_by_label("Change the message").fill("second wordlet")
    await page.keyboard.press("Enter")
    await expect(message).to_contain_text("second wordlet")
    await message.hover()
    await message.get_by_role("button", name="React with 👍").click()
    await expect(message.locator(".reaction")).to_contain_text("1")
    await message.hover()
    await message.get_by_role("button", name="Delete").click()
    await expect(message).to_have_count(0)


async def test_a_file_goes_with_a_message(page: Page, stage: Stage) -> None:
    """A chosen file is sent, and shown with the message."""
    await enter(page, stage)
    await page.locator("input[type=file]").set_input_files(
        {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"a few notes"}
    )
    await expect(page.locator(".chip")).to_contain_text("notes.txt")
    await page.locator("#draft").fill("please read this")
    await page.keyboard.press("Enter")
    await expect(page.locator(".file")).to_contain_text("notes.txt")


async def test_a_fault_is_shown_while_it_is_on(page: Page, stage: Stage) -> None:
    """A switch turns a fault on with its time, and off again."""
    await enter(page, stage)
    await page.get_by_role("tab", name="All faults").click()
    switch = page.get_by_role("switch", name="gemini.slow")
    await switch.click()
    row = page.locator(".fault.on")
    await expect(row).to_contain_text("left")
    await expect(switch).to_have_attribute("aria-checked", "true")
    await switch.click()
    await expect(row).to_have_count(0)
