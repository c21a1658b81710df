"""Chromium for the tests of both pages; without it they are skipped, and say so."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio
from tests.browser.stage import Stage

if TYPE_CHECKING:
    from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page

ARTEFACTS = Path(__file__).parents[2] / "test-artefacts"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
PATIENCE_MS = 30_000
"""How long anything may take on a machine that is busy with something else."""

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)


@pytest_asyncio.fixture(loop_scope="session", scope="session")
async def browser() -> AsyncIterator[Browser]:
    """Debian's Chromium, without a window."""
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed (Debian's package is `chromium`)")
    from playwright.async_api import async_playwright, expect  # noqa: PLC0415 - the tests skip where it is missing

    expect.set_options(timeout=PATIENCE_MS)
    async with async_playwright() as playwright:
        running = await playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield running
        await running.close()


@pytest_asyncio.fixture(loop_scope="session", scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    """The bot on its simulators, for all tests of a module."""
    async with Stage(tmp_path_factory.mktemp("stage")) as running:
        yield running


class Complaints:
    """What a page complained about, where a developer would look."""

    def __init__(self) -> None:
        self.words: list[str] = []

    def watch(self, page: Page) -> None:
        """Listen to a page."""
        page.set_default_timeout(PATIENCE_MS)
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.words.append(str(error)))

    def _console(self, message: ConsoleMessage) -> None:
        # While the bot is away the browser itself notes each try that failed, and each refusal.
        if message.type == "error" and "Failed to load resource" not in message.text:
            self.words.append(message.text)


@pytest.fixture
def complaints() -> Complaints:
    """What the pages of this test complained about."""
    return Complaints()


@pytest_asyncio.fixture(loop_scope="session")
async def context(browser: Browser) -> AsyncIterator[BrowserContext]:
    """A browser that knows nothing yet."""
    made = await browser.new_context(viewport={"width": 1440, "height": 900})
    yield made
    await made.close()


@pytest_asyncio.fixture(loop_scope="session")
async def page(context: BrowserContext, complaints: Complaints) -> AsyncIterator[Page]:
    """A tab; at the end of the test it must not have complained."""
    tab = await context.new_page()
    complaints.watch(tab)
    yield tab
    assert complaints.words == []


@pytest.fixture
def picture() -> Callable[[str], str]:
    """Where a screenshot of this name is kept."""
    ARTEFACTS.mkdir(exist_ok=True)
    return lambda name: str(ARTEFACTS / f"{name}.png")


@pytest.fixture(scope="session")
def axe() -> str:
    """The source of axe-core, the rules of accessibility that a machine can check."""
    found = find_spec("axe_playwright_python")
    if found is None or found.origin is None:
        pytest.skip("axe-core is not installed (`axe-playwright-python` carries it)")
    return Path(found.origin).with_name("axe.min.js").read_text(encoding="utf-8")
