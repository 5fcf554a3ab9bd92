"""A real browser for tests: the system's Chromium, without a window.

Where it is not installed a test is skipped with the reason, or fails when ``REQUIRE_CHROMIUM=1``, as ``.ci/run`` sets it.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")
OPTIONS = (
    "--no-sandbox",  # it can't be had as root, and the pages are our own
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    "--disable-gpu",  # there is none, and imitating one takes a tenth of the time
    "--disable-software-rasterizer",
    "--host-resolver-rules=MAP line.example 127.0.0.1",  # what isn't this machine, for a page
)
LIMIT_MS = 120_000  # long, so that a busy machine is no failure
NO_COMPLAINTS = (
    "Failed to load resource",  # answers that say no
    "Cross-Origin-Opener-Policy header has been ignored",  # over plain http from another machine
)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A browser with a camera that shows a test picture; while it runs, this thread can start no other asyncio loop."""
    path = _program()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(OPTIONS))
        expect.set_options(timeout=LIMIT_MS)
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Return a function that opens an address in a window of its own. What a page complains about fails the test."""
    complaints: list[str] = []
    contexts = []

    def note(message: ConsoleMessage) -> None:
        if message.type == "error" and not any(text in message.text for text in NO_COMPLAINTS):
            complaints.append(message.text)

    def open_page(url: str, width: int = 1280, height: int = 800, **options: Any) -> Page:
        options = {"viewport": {"width": width, "height": height}, "reduced_motion": "reduce", **options}
        contexts.append(browser.new_context(**options))  # an animation takes a tenth of a processor
        page = contexts[-1].new_page()
        page.set_default_timeout(LIMIT_MS)
        page.on("console", note)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(url)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == [], complaints


def _program() -> str:
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        missing = f"no Chromium is installed: none of {', '.join(NAMES)} in PATH"
        if os.environ.get("REQUIRE_CHROMIUM") == "1":
            pytest.fail(missing)
        pytest.skip(missing)
    return found
