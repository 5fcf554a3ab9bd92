"""The page Data: from a new product to labelled images, with mouse and keyboard."""

import io
import re
import zipfile

import numpy as np
from playwright.sync_api import expect
from test_page_access import check
from tiny import encoded

from defect_detection.data.split import scan_split
from defect_detection.serving.services import services_of


def random_bytes(count: int) -> bytes:
    return np.random.default_rng(1).bytes(count)  # more than a plain request may have, also as a zip


def pictures(count: int) -> list[dict]:
    random = np.random.default_rng(0)
    return [
        {
            "name": f"part{number:02}.png",
            "mimeType": "image/png",
            "buffer": encoded(random.integers(0, 256, (24, 24, 3), np.uint8)),
        }
        for number in range(count)
    ]


def test_a_product_is_created_and_its_images_are_added_and_labelled(open_page, app, send):
    page = open_page(f"http://127.0.0.1:{send.port}/page/products")
    page.get_by_label("Name").fill("bolt")
    page.get_by_role("button", name="Create product").click()
    expect(page).to_have_url(re.compile("/product/bolt/page/data$"))
    expect(page.locator("#nothing")).to_contain_text("No images yet")
    check(page)
    broken = {"name": "broken.png", "mimeType": "image/png", "buffer": b"\x89PNG\r\n\x1a\n" + b"\0" * 40}
    page.set_input_files("#files", [*pictures(8), broken])
    expect(page.locator("#upload-state")).to_contain_text("9 of 9 sent, 8 new, 1 not added")
    page.locator("#upload-failed summary").click()
    expect(page.locator("#upload-failed li")).to_contain_text("broken.png")
    expect(page.locator(".tile-image img")).to_have_count(8)
    page.locator(".tile-image", has_text="part00").click()
    page.locator(".tile-image", has_text="part05").click(modifiers=["Shift"])
    expect(page.locator("#selected")).to_have_text("6 selected")
    check(page)
    page.keyboard.press("o")
    expect(page.locator("#counts")).to_contain_text("6 OK, 0 defective")
    page.locator("#place").select_option("unlabelled")
    page.locator("#grid").focus()
    page.keyboard.press("Control+a")
    page.locator("#type").fill("scratch")
    page.locator("#type").press("Enter")
    expect(page.locator("#counts")).to_contain_text("6 OK, 2 defective")
    expect(page.locator("#nothing")).to_be_visible()
    samples = scan_split(services_of(app).products.get("bolt").config, "train_dir").samples
    assert sorted((one.path.name, one.defect_type) for one in samples)[-2:] == [
        ("part06.png", "scratch"),
        ("part07.png", "scratch"),
    ]
    page.get_by_role("button", name="Propose a test split").click()
    expect(page.locator("#proposal-kinds")).to_contain_text("scratch")
    check(page)
    page.locator("#freeze").click()
    page.get_by_role("dialog").get_by_role("button", name="Use this test split").click()
    expect(page.locator("#split-why")).to_contain_text("The test split is frozen")
    assert len(scan_split(services_of(app).products.get("bolt").config, "test_dir").samples) == 2
    page.locator("#pattern").fill("pa{part}0*")
    expect(page.locator("#pattern-preview")).to_contain_text("8 images of 1 parts match")
    check(page)
    page.locator("#pattern-use").click()
    expect(page.locator("#pattern-preview")).to_contain_text("8 images have a part now")
    expect(page.locator("#counts .tile", has_text="Train").locator(".big")).to_have_text(
        "0"
    )  # one part, which is in test
    page.locator("#place").select_option("test")
    page.locator(".tile-image").first.click()
    page.get_by_role("button", name="Remove").click()
    page.locator("#place").select_option("bin")
    expect(page.locator(".tile-image")).to_have_count(1)
    page.get_by_role("button", name="Empty the bin").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.locator("#nothing")).to_be_visible()
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as written:
        written.writestr("set/zipped.png", pictures(9)[-1]["buffer"])
        written.writestr("set/odd.bmp", random_bytes(20_000))
    page.set_input_files(
        "#files", {"name": "set.zip", "mimeType": "application/zip", "buffer": archive.getvalue()}
    )
    expect(page.locator("#upload-state")).to_contain_text("2 of 2 sent, 1 new, 1 not added")
    with page.expect_download() as saved:
        page.get_by_role("button", name="Save all changes as CSV").click()
    assert saved.value.path().read_text().count("image labelled") == 8


def test_a_page_whose_server_is_gone_says_so_instead_of_that_there_are_no_images(open_page, send):
    page = open_page("about:blank")
    page.route("**/data/images", lambda route: route.abort())
    page.goto(f"http://127.0.0.1:{send.port}/page/data")
    expect(page.locator("#problem")).to_contain_text("The server does not respond")
    expect(page.locator("#nothing")).to_be_hidden()
    page.unroute("**/data/images")
    page.get_by_role("button", name="Try again").click()
    expect(page.locator("#nothing")).to_contain_text("No images yet")


def test_a_full_disk_stops_the_sending_and_what_was_not_sent_is_counted(open_page, send):
    page = open_page(f"http://127.0.0.1:{send.port}/page/data")
    full = {"status": 507, "json": {"status": 507, "title": "full", "detail": "the disk is full"}}
    page.route("**/data/images?*", lambda route: route.fulfill(**full))
    page.set_input_files("#files", pictures(8))
    expect(page.locator("#upload-state")).to_contain_text(
        "3 of 8 sent, 0 new, 3 not added, 5 not sent. the disk is full"
    )
    expect(page.locator("#upload-state")).to_have_class("notice bad")
