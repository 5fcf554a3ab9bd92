"""The page Inspect in a real browser: no image is lost, and images can be zoomed."""

import csv
import io
from functools import partial

import numpy as np
import pytest
from playwright.sync_api import Page, expect
from recorded import wait_for_records
from test_page_work import THREE, file, verdict
from tiny import DARK, SIDE, encoded
from waiting import wait_until

from defect_detection.data.reference import learn_reference, look_of
from defect_detection.inference.inspect import Inspector
from defect_detection.serving.app import create_app
from defect_detection.serving.services import services_of
from defect_detection.tracking.reading import ModelRef

WIDE = np.zeros((300, 900, 3), np.uint8)
PHONES = [(390, 844), (390, 664), (320, 568), (844, 390)]  # px: width, height


@pytest.fixture
def url(send) -> str:
    return f"http://127.0.0.1:{send.port}"


def inspect_three(page: Page) -> None:
    page.set_input_files("#files", THREE)
    expect(page.locator("#count")).to_contain_text("3 of 3 inspected")


def test_what_could_not_be_answered_is_tried_again_by_itself(open_page, project, serving, bundle):
    promoted: list[ModelRef] = []
    app = create_app(
        project.config("serving.refresh_s=0.1"),
        lambda: promoted[0] if promoted else None,
        lambda _reference: partial(Inspector.load, bundle)(),
    )
    page = open_page(f"http://127.0.0.1:{serving(project.config(), app).port}")
    page.set_input_files("#files", THREE)
    expect(page.locator("#problem")).to_contain_text("dark.png: No model is in production")
    expect(page.locator("#problem")).to_contain_text("tries again automatically")
    verdict(page, "Waiting")
    promoted.append(ModelRef("Production_Reg", 3, "run", {}))
    page.get_by_role("button", name="Try again now").click()
    verdict(page, "Defective")
    expect(page.locator("#count")).to_contain_text("3 of 3 inspected")
    expect(page.locator("#problem")).to_be_hidden()
    services_of(app).served.stop()
    services_of(app).records.close()


def test_a_lost_server_is_waited_for(open_page, url):
    page = open_page(url)
    page.context.set_offline(True)
    page.set_input_files("#files", THREE[:1])
    expect(page.locator("#problem")).to_contain_text("dark.png: The server does not respond")
    page.context.set_offline(False)
    verdict(page, "Defective")
    expect(page.locator("#problem")).to_be_hidden()


def test_the_session_of_a_tab_survives_another_page_and_a_reload(open_page, app, url):
    page = open_page(url)
    inspect_three(page)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("o")
    expect(page.locator("#said")).to_contain_text("Stored: OK")
    wait_for_records(app)
    page.get_by_role("link", name="Monitor").click()
    expect(page.locator("#tiles")).to_contain_text("of 3 defective")
    page.get_by_role("link", name="Inspect", exact=True).click()
    expect(page.locator("#count")).to_contain_text("3 of 3 inspected")
    expect(page.locator("#why")).to_contain_text("bright.png")
    expect(page.locator("#said")).to_contain_text("Stored: OK")
    page.reload()
    expect(page.locator("#strip button")).to_have_count(3)

    other = page.context.new_page()
    other.goto(url)
    expect(other.locator("#word")).to_have_text("No image yet")

    page.get_by_role("button", name="Clear the list").click()
    verdict(page, "No image yet")
    page.reload()
    expect(page.locator("#drop")).to_be_visible()
    expect(page.locator("#queue")).to_be_hidden()


def test_a_file_that_is_no_image_says_so_by_name_beside_the_others(open_page, url):
    page = open_page(url)
    notes = {"name": "notes.png", "mimeType": "image/png", "buffer": b"hello"}
    page.set_input_files("#files", [notes, THREE[0]])
    expect(page.locator("#problem")).to_contain_text(
        "notes.png: expected a JPEG, PNG, BMP, TIFF or WebP image"
    )
    expect(page.locator("#problem")).not_to_contain_text("b'")
    expect(page.get_by_role("button", name="Try again now")).to_be_hidden()
    verdict(page, "No verdict")
    expect(page.locator("#judge")).to_be_hidden()
    expect(page.locator("#strip .failed")).to_have_text("PNG")
    page.keyboard.press("ArrowRight")
    verdict(page, "Defective")
    expect(page.locator("#problem")).to_be_hidden()


def test_the_camera_takes_pictures_and_stays_on(open_page, url):
    page = open_page(url)
    page.click("#camera")
    page.wait_for_selector("#video:visible")
    page.locator("#video").evaluate(
        "video => video.videoWidth || new Promise(go => (video.onloadeddata = go))"
    )
    for number in (1, 2):
        page.click("#shoot")
        expect(page.locator("#why")).to_contain_text("camera-")
        expect(page.locator("#count")).to_contain_text(f"{number} of {number} inspected")
        expect(page.locator("#video")).to_be_visible()
        expect(page.locator("#image")).to_be_visible()
    page.click("#stop")
    expect(page.locator("#video")).to_be_hidden()
    expect(page.locator("#image")).to_be_visible()
    assert page.locator("#video").evaluate("video => video.srcObject") is None


def width_of(page: Page) -> float:
    return page.locator("#frame").bounding_box()["width"]


def test_an_image_is_enlarged_by_wheel_buttons_and_keys_with_its_heat(open_page, url):
    page = open_page(url)
    page.set_input_files("#files", [file("wide.png", WIDE), THREE[0]])
    verdict(page, "Defective")
    whole = width_of(page)
    page.get_by_role("button", name="Zoom in").click()
    assert width_of(page) == pytest.approx(1.5 * whole, abs=1)
    page.keyboard.press("+")
    assert width_of(page) == pytest.approx(2.25 * whole, abs=1)
    assert page.locator("#heat").bounding_box() == page.locator("#image").bounding_box()

    page.locator("#view").focus()
    left = page.locator("#image").bounding_box()["x"]
    page.keyboard.press("ArrowRight")
    page.wait_for_function(
        "left => document.getElementById('image').getBoundingClientRect().x < left", arg=left
    )
    expect(page.locator("#why")).to_contain_text(
        "wide.png"
    )  # the arrow moved the image, and not on to the next

    page.keyboard.press("0")
    assert width_of(page) == pytest.approx(whole, abs=1)
    box = page.locator("#view").bounding_box()
    page.mouse.move(box["x"] + 20, box["y"] + 20)
    page.mouse.wheel(0, -400)
    page.wait_for_function("document.getElementById('view').matches('.zoomed')")
    page.get_by_role("button", name="Next").click()
    expect(page.locator("#zoom-fit")).to_have_text("100\u00a0%")


def test_the_results_are_saved_as_csv_and_no_name_is_a_formula(open_page, url):
    page = open_page(url)
    page.set_input_files("#files", [file("=1+1.png", DARK), THREE[1]])
    expect(page.locator("#count")).to_contain_text("2 of 2 inspected")
    page.keyboard.press("d")
    expect(page.locator("#said")).to_contain_text("Stored: Defective")
    with page.expect_download() as saved:
        page.get_by_role("button", name="Save as CSV").click()
    text = saved.value.path().read_text(encoding="utf-8-sig")
    first, second = csv.DictReader(io.StringIO(text))
    assert (first["file"], first["verdict"], first["label"]) == ("'=1+1.png", "defective", "defective")
    assert (second["file"], second["verdict"], second["label"]) == ("bright.png", "ok", "")
    assert float(first["score"]) == 1
    assert first["model"] == "Production_Reg"


def is_in_sight(page: Page, selector: str) -> bool:
    box, height = page.locator(selector).bounding_box(), page.viewport_size["height"]
    covered = """element => {
        const { left, top, width, height } = element.getBoundingClientRect();
        return !element.contains(document.elementFromPoint(left + width / 2, top + height / 2));
    }"""
    return (
        box["y"] >= 0 and box["y"] + box["height"] <= height and not page.locator(selector).evaluate(covered)
    )


def test_a_laptop_shows_the_strip_and_a_phone_the_buttons_of_the_verdict_without_scrolling(
    open_page, app, url
):
    page = open_page(url)
    page.set_input_files("#files", [file("tall.png", WIDE.transpose(1, 0, 2)), *THREE])
    expect(page.locator("#count")).to_contain_text("4 of 4 inspected")
    for number in range(4):
        assert is_in_sight(page, f"#strip button >> nth={number}")
    check_buttons(page)

    page.set_viewport_size({"width": 390, "height": 664})
    for selector in ("#type", "#choose", "#strip button >> nth=2", "#keys"):  # none is covered for good
        page.locator(selector).focus()
        assert is_in_sight(page, selector), selector

    wait_for_records(app)
    page.get_by_role("link", name="Review").click()
    expect(page.locator("#image")).to_be_visible()
    check_buttons(page)


def check_buttons(page: Page) -> None:
    assert page.evaluate("scrollY") == 0
    for width, height in [(1280, 800), *PHONES]:
        page.set_viewport_size({"width": width, "height": height})
        for selector in ("#say-ok", "#say-defective"):
            assert is_in_sight(page, selector), (selector, width, height)


def test_enter_in_the_type_of_a_defect_says_defective(open_page, url, inspect):
    inspect({"one.png": DARK, "two.png": DARK + 9})
    page = open_page(f"{url}/page/review")
    expect(page.locator("#facts")).to_contain_text(".png")
    page.locator("#type").press("Enter")
    expect(page.locator("#said")).to_have_text("")  # nothing was typed
    page.locator("#type").fill("scratch")
    page.locator("#type").press("Enter")
    expect(page.locator("#said")).to_contain_text("Defective, scratch")
    expect(page.locator("#type")).to_be_focused()


def test_a_tiff_is_shown_as_the_server_draws_it(open_page, app, url):
    page = open_page(url)
    tiff = {"name": "part.tif", "mimeType": "image/tiff", "buffer": encoded(WIDE, "TIFF")}
    page.set_input_files("#files", [tiff])
    verdict(page, "Defective")
    expect(page.locator("#image")).to_be_visible()
    assert page.locator("#image").evaluate("image => [image.naturalWidth, image.naturalHeight]") == [900, 300]
    expect(page.locator("#strip img")).to_have_count(1)
    expect(page.locator("#unshown")).to_be_hidden()
    wait_for_records(app)
    page.get_by_role("link", name="Review").click()
    expect(page.locator("#facts")).to_contain_text("part.tif")
    expect(page.locator("#image")).to_be_visible()
    page.get_by_role("link", name="Inspections").click()
    page.get_by_role("button", name="part.tif").click()
    expect(page.locator("#look-image")).to_be_visible()


def test_an_image_unlike_those_of_the_training_is_for_review_and_says_why(
    open_page, project, serving, bundle
):
    inspector = Inspector.load(bundle)
    looks = np.array([look_of(np.full((SIDE, SIDE, 3), gray, np.uint8)) for gray in range(120, 140)])
    reference = learn_reference(looks, np.full((20, 2), SIDE), np.arange(20) % 5)
    inspector.card = inspector.card.model_copy(update={"reference": reference})
    app = create_app(project.config(), lambda: ModelRef("Production_Reg", 3, "run", {}), lambda _: inspector)
    page = open_page(f"http://127.0.0.1:{serving(project.config(), app).port}")
    page.set_input_files("#files", THREE[1:2])
    verdict(page, "Review")
    expect(page.locator("#why")).to_contain_text("a person decides")
    expect(page.locator("#why")).to_contain_text("Unlike the training images: brightness 255 is outside")
    expect(page.locator("#why")).not_to_contain_text("too close to call")
    wait_for_records(app)
    page.get_by_role("link", name="Review").click()
    expect(page.locator("#facts")).to_contain_text("Unlike the training images: brightness 255 is outside")
    page.get_by_role("link", name="Inspections").click()
    page.get_by_role("button", name="bright.png").click()
    expect(page.locator("#look-facts")).to_contain_text(
        "Unlike the training images: brightness 255 is outside"
    )
    services_of(app).served.stop()
    services_of(app).records.close()


SLOW_STORE = """
const read = IDBObjectStore.prototype.getAll;
IDBObjectStore.prototype.getAll = function (...range) {
  const request = read.apply(this, range);
  const held = { get result() { return request.result; } };
  request.onsuccess = () => (window.answerStore = () => held.onsuccess());
  return held;
};
"""


def answer_store(page: Page) -> None:
    wait_until(lambda: page.evaluate("'answerStore' in window"))
    page.evaluate("answerStore()")


def test_an_image_given_while_the_kept_ones_are_read_is_the_one_that_is_shown_and_kept(open_page, url):
    page = open_page(url, own=True)
    inspect_three(page)
    page.add_init_script(SLOW_STORE)
    page.reload()
    page.set_input_files("#files", [file("late.png", DARK)])
    answer_store(page)
    expect(page.locator("#count")).to_contain_text("4 of 4 inspected")
    expect(page.locator("#why")).to_contain_text("late.png")
    page.reload()
    answer_store(page)
    expect(page.locator("#strip button")).to_have_count(4)
    expect(page.locator("#why")).to_contain_text("late.png")
