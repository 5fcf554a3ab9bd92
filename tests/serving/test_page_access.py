"""The page is accessible: keyboard, screen reader, phone, dark mode, and other machines with a key."""

import pytest
from browser import accessibility_faults
from playwright.sync_api import Page, expect
from recorded import wait_for_records
from tiny import BRIGHT, DARK, encoded

from defect_detection.records.keys import create_key
from defect_detection.serving.services import services_of

PATHS = (
    "/",
    "/page/data",
    "/page/review",
    "/page/inspections",
    "/page/monitor",
    "/page/models",
    "/page/train",
    "/page/settings",
)
PHONES = (390, 320)  # px
CUT_OFF = """links => links.filter(link => {
    const { left, right } = link.getBoundingClientRect();
    return left < 0 || right > innerWidth || link.scrollWidth > link.clientWidth || link.offsetHeight < 44;
}).map(link => link.outerHTML)"""
FITS = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"


def check(page: Page) -> None:
    """On a desk by day and on a phone at night: nothing that axe-core calls serious or critical, nothing to scroll sideways."""
    for width, colours in ((390, "dark"), (1280, "light")):
        page.set_viewport_size({"width": width, "height": 800})
        page.emulate_media(color_scheme=colours, reduced_motion="reduce")  # the new colours at once
        page.wait_for_function(FITS)
        grave = [one for one in accessibility_faults(page) if one[1] in ("serious", "critical")]
        assert grave == [], (width, colours)


def test_axe_finds_nothing_serious(open_page, app, send):
    url = f"http://127.0.0.1:{send.port}"
    page = open_page(url)
    check(page)
    page.goto(f"{url}/page/review")
    expect(page.locator("#nothing-title")).to_be_visible()
    check(page)
    page.goto(f"{url}/page/monitor")
    expect(page.locator("#nothing")).to_be_visible()
    check(page)
    inspect_two(page, url)
    check(page)
    wait_for_records(app)
    page.goto(f"{url}/page/review")
    expect(page.locator("#image")).to_be_visible()
    check(page)
    page.goto(f"{url}/page/monitor")
    page.click("summary")
    check(page)
    page.goto(f"{url}/page/inspections")
    expect(page.locator("#list tbody tr")).to_have_count(2)
    check(page)
    page.get_by_role("button", name="dark.png").click()
    expect(page.locator("#look-image")).to_be_visible()
    check(page)


def inspect_two(page: Page, url: str) -> None:
    page.goto(url)
    images = [("dark.png", DARK), ("bright.png", BRIGHT)]
    page.set_input_files(
        "#files",
        [{"name": name, "mimeType": "image/png", "buffer": encoded(pixels)} for name, pixels in images],
    )
    expect(page.locator("#count")).to_contain_text("2 of 2 inspected")


def test_a_keyboard_alone_is_enough(open_page, send):
    page = open_page(f"http://127.0.0.1:{send.port}")
    reached = []
    for _ in range(12):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.textContent.trim()"))
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline == "solid", reached[-1]
    assert reached[:2] == ["Skip to the content", "Inspect"]
    assert reached[-2:] == ["Choose images", "Use camera"]


def test_a_verdict_is_announced_and_has_a_shape_and_single_keys_answer_it_unless_switched_off(
    open_page, app, send
):
    page = open_page(f"http://127.0.0.1:{send.port}")
    inspect_two(page, page.url)
    expect(
        page.get_by_role("status").filter(has_text="Defective: a defect was found. Score 100 %")
    ).to_have_count(1)
    expect(page.locator("#verdict .shape.defective")).to_be_visible()
    height = page.locator("#word").evaluate("word => parseFloat(getComputedStyle(word).fontSize)")
    assert height >= 60  # px: capitals of 11 mm on a usual screen, read from two metres

    page.locator("#type").press_sequentially("void")
    expect(page.locator("#type")).to_have_value("void")
    expect(page.locator("#said")).to_contain_text("Your label is stored")

    hint, off = page.locator("#say-ok kbd"), page.get_by_label("Use single keys as shortcuts")
    expect(hint).to_be_visible()
    off.uncheck()
    page.keyboard.press("o")
    page.keyboard.press("ArrowRight")
    expect(hint).to_be_hidden()
    expect(page.locator(".hints")).to_be_hidden()
    expect(page.locator("#said")).to_contain_text("Your label is stored")
    expect(page.locator("#word")).to_have_text("Defective")
    check(page)

    wait_for_records(app)
    page.goto(f"{page.url}page/review")
    expect(page.locator("#facts")).to_contain_text("2 to review")
    page.keyboard.press("s")
    expect(page.locator("#undo")).to_be_disabled()
    page.get_by_label("Use single keys as shortcuts").check()
    page.keyboard.press("s")
    expect(page.locator("#undo")).to_be_enabled()
    expect(page.locator("#undo kbd")).to_be_visible()


def test_every_page_fits_its_window_and_a_phone_shows_every_place_whole(open_page, send, inspect):
    inspect({"x" * 200: DARK})
    page = open_page("about:blank")
    for path in PATHS:
        page.goto(f"http://127.0.0.1:{send.port}{path}", wait_until="networkidle")
        expect(page.locator("h1, #word").first).to_be_attached()
        for width in (1180, 1024, 930, 768, 390, 320):
            page.set_viewport_size({"width": width, "height": 800})
            page.wait_for_function(FITS)
            if width in PHONES:
                check_places(page, width)


def check_places(page: Page, width: int) -> None:
    links = page.get_by_role("navigation", name="Pages").get_by_role("link")
    assert links.all_inner_texts() == [
        "Inspect",
        "Review",
        "Inspections",
        "Monitor",
        "Data",
        "Train",
        "Models",
        "Settings",
    ]
    assert links.evaluate_all(CUT_OFF) == []
    assert (
        page.evaluate("document.querySelector('nav').scrollWidth - document.querySelector('nav').clientWidth")
        <= 0
    )


def test_another_machine_gives_its_key_once(open_page, app, send, inspect):
    key = create_key(services_of(app).records.database, "line 3", "operator")
    inspect({"dark.png": DARK})
    page = open_page(f"http://line.example:{send.port}/page/review")
    page.get_by_label("Key", exact=True).fill("not a key")
    page.get_by_role("button", name="Use this key").click()
    expect(page.locator("#problem")).to_contain_text("has no valid key")
    page.get_by_role("button", name="Access key").click()
    page.get_by_label("Key", exact=True).fill(key)
    page.get_by_role("button", name="Use this key").click()
    page.reload()
    expect(page.locator("#image")).to_be_visible()
    page.keyboard.press("d")
    page.goto(f"http://line.example:{send.port}/page/monitor")
    expect(page.locator("#tiles")).to_contain_text("1 of 1 defective")


def test_who_gives_no_key_is_asked_once(open_page, app, send):
    create_key(services_of(app).records.database, "line 3", "operator")
    page = open_page(f"http://line.example:{send.port}/page/monitor")
    dialog = page.get_by_role("dialog", name="Access key")
    dialog.get_by_role("button", name="Cancel").click()
    expect(page.locator("#problem")).to_be_visible()
    with page.expect_response("**/statistics*"):
        page.get_by_role("button", name="7 days").click()
    page.wait_for_function("!document.querySelector('dialog[open]')")
    expect(dialog).to_be_hidden()
    page.get_by_role("button", name="Access key").click()
    expect(dialog).to_be_visible()


def test_where_the_browser_keeps_its_camera_the_page_says_why(open_page, send):
    page = open_page(f"http://line.example:{send.port}/")
    expect(page.locator("#no-camera")).to_contain_text("localhost")
    expect(page.locator("#camera")).to_be_hidden()


@pytest.mark.parametrize("path", PATHS)
def test_a_page_loads_nothing_from_elsewhere(app, path):
    answer = app.test_client().get(path)
    assert answer.status_code == 200
    assert "img-src 'self' blob:" in answer.headers["Content-Security-Policy"]
    assert "://" not in answer.text.replace("http://www.w3.org", "")


def test_statistics_ask_for_a_key_and_a_sensible_time(app):
    client = app.test_client()
    assert client.get("/statistics", environ_base={"REMOTE_ADDR": "192.0.2.7"}).status_code == 403
    wrong = client.get("/statistics?since=2026-03-02&until=2026-03-01")
    assert (wrong.status_code, wrong.mimetype) == (400, "application/problem+json")
    assert "1 minute to 800 days" in wrong.json["detail"]
    assert client.get("/statistics").json["inspected"] == 0
