"""A real browser for tests: the system's Chromium, without a window.

Where it is not installed a test is skipped with the reason, or fails when ``REQUIRE_CHROMIUM=1``, as ``.ci/run`` sets it.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Browser, ConsoleMessage, Frame, Page, expect, sync_playwright

# The first shows the same pages without the parts of a window around them, and takes a third less time.
NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
OPTIONS = (
    "--no-sandbox",  # it can't be had as root, and the pages are our own
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    "--disable-gpu",  # there is none, and imitating one takes a tenth of the time
    "--disable-software-rasterizer",
    "--disable-site-isolation-trials",  # one process for all pages: a new one takes a tenth of a second
    "--renderer-process-limit=1",
    "--host-resolver-rules=MAP line.example 127.0.0.1",  # what isn't this machine, for a page
)
LIMIT_MS = 120_000  # long, so that a busy machine is no failure
# No rule that is on reads the style sheets, which are fetched and parsed otherwise
LOOK_FOR_FAULTS = """axe.run({ resultTypes: ["violations"], preload: { assets: ["media"] } }).then(
    (found) => found.violations.map((one) => [one.id, one.impact, one.nodes[0].html]))"""
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


class Windows:
    """Windows of the browser. One is kept from test to test, since a new one takes half a second of processor time."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._kept: Page | None = None

    def take(self) -> Page:
        """Return the kept window, with nothing in it."""
        page, self._kept = self._kept or self.new(), None
        page.add_init_script = _refuse_script
        return page

    def new(self) -> Page:
        page = self._browser.new_context().new_page()
        page.set_default_timeout(LIMIT_MS)
        return page

    def give_back(self, page: Page, origins: set[str]) -> None:
        """Empty the window and keep it; close it if what it holds for one of the origins cannot be reached."""
        if self._kept or page.is_closed() or origins != {_origin(page.url)}:
            page.context.close()
            return
        for other in page.context.pages:
            if other is not page:
                other.close()
        page.context.set_offline(False)
        page.unroute_all()
        page.evaluate("sessionStorage.clear()")
        page.goto("about:blank")
        devtools = page.context.new_cdp_session(page)
        for origin in origins:
            devtools.send("Storage.clearDataForOrigin", {"origin": origin, "storageTypes": "all"})
        devtools.send("Page.resetNavigationHistory")
        devtools.detach()
        self._kept = page


@pytest.fixture(scope="session")
def windows(browser: Browser) -> Windows:
    return Windows(browser)


@pytest.fixture
def open_page(windows: Windows) -> Iterator[Callable[..., Page]]:
    """Return a function that opens an address in a window of its own. What a page complains about fails the test.

    own: the window is new and is closed after the test, so scripts can be added to it.
    """
    complaints: list[str] = []
    taken: list[Page] = []
    new: list[Page] = []
    origins: set[str] = set()
    with ExitStack() as listening:

        def listen(page: Page, what: str, note: Callable[[Any], None]) -> None:
            page.on(what, note)
            listening.callback(page.remove_listener, what, note)

        def note(message: ConsoleMessage) -> None:
            if message.type == "error" and not any(text in message.text for text in NO_COMPLAINTS):
                complaints.append(message.text)

        def visit(frame: Frame) -> None:
            if frame.url.startswith("http"):
                origins.add(_origin(frame.url))

        def open_page(
            url: str, width: int = 1280, height: int = 800, own: bool = False, **media: Any
        ) -> Page:
            pages = new if own or taken else taken
            pages.append(windows.new() if pages is new else windows.take())
            page = pages[-1]
            page.set_viewport_size({"width": width, "height": height})
            media = {"color_scheme": "light", "reduced_motion": "reduce", **media}
            page.emulate_media(**media)  # an animation takes a tenth of a processor
            listen(page, "console", note)
            listen(page, "pageerror", lambda error: complaints.append(str(error)))
            listen(page, "framenavigated", visit)
            page.goto(url)
            return page

        yield open_page
    for page in new:
        page.context.close()
    for page in taken:
        windows.give_back(page, origins)
    assert complaints == [], complaints


def accessibility_faults(page: Page) -> list[tuple[str, str, str]]:
    """Return what axe-core finds that people with a screen reader or keyboard cannot use: rule, impact and first element."""
    if page.evaluate("typeof axe") == "undefined":
        page.evaluate(AXE_SCRIPT)
    return [tuple(one) for one in page.evaluate(LOOK_FOR_FAULTS)]


def _origin(url: str) -> str:
    return "://".join(urlsplit(url)[:2])


def _refuse_script(*_: object, **__: object) -> None:
    pytest.fail("a script stays in a window that later tests use: open the page with own=True")


def _program() -> str:
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        missing = f"no Chromium is installed: none of {', '.join(NAMES)} in PATH"
        if os.environ.get("REQUIRE_CHROMIUM") == "1":
            pytest.fail(missing)
        pytest.skip(missing)
    return found
