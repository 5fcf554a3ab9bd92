"""The page with several products: the start page, the choice in the header, the choice of a line."""

import re

import pytest
from playwright.sync_api import expect
from recorded import wait_for_records
from test_page_access import check
from tiny import BRIGHT, DARK, encoded

from defect_detection.records.inspections import Inspected
from defect_detection.serving.services import services_of
from defect_detection.use_cases.products import create_product


@pytest.fixture
def url(app, project, send) -> str:
    """Bolts of line 1 are defective, those of line 2 are OK; one waits for review. The default product has one inspection."""
    create_product(project.config(), "bolt")
    found = [("bolt", "line 1", "defective"), ("bolt", "line 2", "ok"), ("bolt", "line 2", "review")]
    for number, (product, line, verdict) in enumerate([*found, ("default", "", "ok")]):
        facts = {"score": 0.5, "threshold": 0.5, "model_name": "m", "model_version": 1, "latency_ms": 5.0}
        content = encoded(DARK) if number % 2 else encoded(BRIGHT)
        one = Inspected(
            f"{number}", f"{number}" * 64, f"{number}.png", verdict, line=line, product=product, **facts
        )
        services_of(app).records.recorder.record(one, content)
    wait_for_records(app)
    return f"http://127.0.0.1:{send.port}"


def test_the_product_is_chosen_on_the_start_page_or_in_the_header_and_is_part_of_the_address(open_page, url):
    page = open_page(f"{url}/page/products")
    bolt = page.locator(".product-card", has_text="bolt")
    expect(bolt).to_contain_text("33.3\u00a0% (1 of 3)")
    expect(bolt).to_contain_text("Waits for review1")
    expect(bolt).to_contain_text("No model yet")
    check(page)
    bolt.get_by_role("link", name="Monitor").click()
    expect(page).to_have_url(f"{url}/product/bolt/page/monitor")
    expect(page.locator("#tiles")).to_contain_text("1 of 3 defective")
    page.get_by_label("Line", exact=True).select_option("line 2")
    expect(page.locator("#tiles")).to_contain_text("0 of 2 defective")
    expect(page).to_have_url(re.compile(r"/product/bolt/page/monitor\?line=line\+2$"))
    check(page)
    page.reload()
    expect(page.locator("#tiles")).to_contain_text("0 of 2 defective")
    page.get_by_role("link", name="Inspections").click()
    expect(page.locator("#list tbody tr")).to_have_count(3)
    page.get_by_label("Product", exact=True).select_option("Default product")
    expect(page).to_have_url(f"{url}/page/inspections")
    expect(page.locator("#list tbody tr")).to_have_count(1)
    page.go_back()
    expect(page.locator("#list tbody tr")).to_have_count(3)
    expect(page.get_by_label("Product", exact=True)).to_have_value("bolt")


def test_a_plant_with_one_product_has_no_choice(open_page, app, send):
    page = open_page(f"http://127.0.0.1:{send.port}/page/monitor")
    expect(page.locator("#nothing")).to_be_visible()
    expect(page.locator("#product-place")).to_be_hidden()
    expect(page.locator("#places")).to_be_hidden()
