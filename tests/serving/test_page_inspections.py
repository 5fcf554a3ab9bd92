"""The page Inspections in a real browser: search, view and save inspections."""

import csv
import io
import json

import pytest
from playwright.sync_api import Page, expect
from recorded import inspected
from tiny import BRIGHT, DARK, SIDE, encoded
from waiting import LIMIT_S

from defect_detection.records.feedback import add_feedback
from defect_detection.serving.services import services_of

BOX = {"box": [8, 16, 16, 8], "area_px": 128, "share": 0.7}
TYPES = [{"type": "dent", "probability": 0.92}]


@pytest.fixture
def url(app, send) -> str:
    """60 inspections: every third on line 2, number 7 defective and labelled so."""
    records = services_of(app).records
    for number in range(60):
        content = encoded(BRIGHT - number if number != 7 else DARK)
        facts = {"line": "line 2" if number % 3 == 0 else "line 1", "group": f"lot {number // 30}"}
        if number == 7:
            facts |= {"boxes": json.dumps([BOX]), "defect_type": "dent", "defect_types": json.dumps(TYPES)}
        verdict = "defective" if number == 7 else "ok"
        records.recorder.record(inspected(number, content, verdict=verdict, **facts), content)
    assert records.recorder.flush(LIMIT_S)
    add_feedback(records.database, f"{7:08}", "defective", "anna", "dent")
    return f"http://127.0.0.1:{send.port}/page/inspections"


def rows(page: Page):
    return page.locator("#list tbody tr")


def test_the_list_is_searched_and_filtered_and_the_address_keeps_it(open_page, url):
    page = open_page(url)
    expect(rows(page)).to_have_count(50)
    page.get_by_role("button", name="Show more").click()
    expect(rows(page)).to_have_count(60)
    expect(page.get_by_role("button", name="Show more")).to_be_hidden()
    page.get_by_label("Line").fill("line 2")
    expect(rows(page)).to_have_count(20)
    page.get_by_label("Search").fill("LOT 1")
    expect(rows(page)).to_have_count(10)
    page.reload()
    expect(rows(page)).to_have_count(10)
    expect(page.get_by_label("Line")).to_have_value("line 2")
    page.get_by_label("Verdict").select_option("review")
    expect(page.locator("#count")).to_contain_text("No inspection matches")
    page.get_by_role("button", name="Show all").click()
    expect(rows(page)).to_have_count(50)
    page.get_by_label("Label by a person").select_option("defective")
    expect(rows(page)).to_have_count(1)
    expect(rows(page)).to_contain_text("Defective, dent")
    page.get_by_label("Label by a person").select_option("none")
    expect(rows(page)).to_have_count(50)
    page.get_by_label("Before").fill("2026-02-28T00:00")
    expect(page.locator("#count")).to_contain_text("No inspection matches")


def test_an_image_is_shown_with_what_was_said_about_it_and_what_was_found_is_saved_as_csv(open_page, url):
    page = open_page(f"{url}?label=defective")
    page.get_by_role("button", name="7.png").click()
    dialog = page.get_by_role("dialog", name="7.png")
    expect(dialog.get_by_role("img", name="7.png")).to_be_visible()
    expect(dialog).to_contain_text("Defective, dent, by anna")
    expect(dialog).to_contain_text("dent (92 %)")
    image, box = (dialog.locator(one).bounding_box() for one in ("#look-image", "#boxes div"))
    drawn = [box["x"] - image["x"], box["y"] - image["y"], box["width"], box["height"]]
    assert drawn == pytest.approx([one / SIDE * image["width"] for one in BOX["box"]], abs=3)
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(page.get_by_role("button", name="7.png")).to_be_focused()

    page.goto(f"{url}?line=line+2")
    expect(rows(page)).to_have_count(20)
    with page.expect_download() as saved:
        page.get_by_role("button", name="Save as CSV").click()
    found = list(csv.DictReader(io.StringIO(saved.value.path().read_text(encoding="utf-8-sig"))))
    assert len(found) == 20
    assert {row["line"] for row in found} == {"line 2"}


def test_an_empty_list_says_what_to_do(open_page, send):
    page = open_page(f"http://127.0.0.1:{send.port}/page/inspections")
    expect(page.locator("#list")).to_contain_text("No inspections yet")
    expect(page.get_by_role("button", name="Save as CSV")).to_be_disabled()
    page.get_by_role("link", name="Inspect images").click()
    expect(page.locator("#drop")).to_be_visible()
