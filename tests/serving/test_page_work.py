"""The page at work, in a real browser on a real server: inspect, disagree, review, monitor."""

import json

import numpy as np
import pytest
from playwright.sync_api import Page, expect
from recorded import inspected, wait_for_records
from tiny import BRIGHT, DARK, SIDE, encoded
from waiting import LIMIT_S, wait_until

from defect_detection.serving.app import create_app
from defect_detection.serving.services import services_of

GRAY = np.full_like(DARK, 140)  # score 0.45: OK, and the least certain
HALF = np.concatenate([DARK[:, : SIDE // 2], BRIGHT[:, SIDE // 2 :]], axis=1)


def file(name: str, pixels: np.ndarray) -> dict[str, object]:
    return {"name": name, "mimeType": "image/png", "buffer": encoded(pixels)}


THREE = [file("dark.png", DARK), file("bright.png", BRIGHT), file("gray.png", GRAY)]


@pytest.fixture
def url(send) -> str:
    return f"http://127.0.0.1:{send.port}"


def feedback(send, n: int) -> list[tuple[str, str, str]]:
    """Return all that was said, once that is at least `n` labels: name of the image, label, type of defect; the latest first."""
    said: list[tuple[str, ...]] = []

    def is_said() -> bool:
        listed = json.loads(send("GET", "/inspections").body)["inspections"]
        said[:] = [
            (each["id"], one["name"], each["label"], each["defect_type"])
            for one in listed
            for each in one["feedback"]
        ]
        return len(said) >= n

    wait_until(is_said)
    return [each[1:] for each in sorted(said, reverse=True)]


def verdict(page: Page, word: str) -> None:
    expect(page.locator("#word")).to_have_text(word)


def test_the_loop_from_inspection_to_monitor(open_page, url, app, send):
    page = open_page(url)
    page.set_input_files("#files", THREE)
    verdict(page, "Defective")
    page.keyboard.press("o")
    expect(page.locator("#said")).to_contain_text("Stored: OK")
    page.keyboard.press("ArrowRight")
    verdict(page, "OK")
    expect(page.locator("#count")).to_have_text("3 of 3 inspected · 2 OK · 1 defective")
    wait_for_records(app)

    page.get_by_role("link", name="Review").click()
    expect(page.locator("#facts")).to_contain_text("gray.png")  # the least certain; dark.png has its label
    expect(page.locator("#image")).to_be_visible()
    page.fill("#type", "stain")
    page.click("#say-defective")
    expect(page.locator("#facts")).to_contain_text("bright.png")
    page.keyboard.press("o")
    expect(page.locator("#nothing-title")).to_have_text("All done for now")

    page.get_by_role("link", name="Monitor").click()
    tiles = page.locator("#tiles")
    expect(tiles).to_contain_text("1 of 3 defective")
    expect(tiles).to_contain_text(
        "1 escapes (model OK, person defective), 1 overkill (model defective, person OK)"
    )
    said = [("bright.png", "ok", ""), ("gray.png", "defective", "stain"), ("dark.png", "ok", "")]
    assert feedback(send, 3) == said


def test_what_is_undone_in_time_was_never_said_and_what_was_kept_is_corrected_by_saying_it_again(
    open_page, url, send, inspect
):
    inspect({"dark.png": DARK, "bright.png": BRIGHT})
    page = open_page(f"{url}/page/review")
    expect(page.locator("#facts")).to_contain_text(".png")
    page.keyboard.press("d")
    page.keyboard.press("z")
    expect(page.locator("#said")).to_have_text("Discarded: no label was stored.")
    page.goto(url)
    expect(page.locator("#word")).to_have_text("No image yet")
    assert feedback(send, 0) == []

    page.goto(f"{url}/page/review")
    expect(page.locator("#facts")).to_contain_text(".png")
    first = page.locator("#facts").inner_text().split("File\n")[1].split("\n")[0]
    with page.expect_response("**/feedback"):
        page.keyboard.press("d")
        page.keyboard.press("d")
    page.keyboard.press("z")
    page.keyboard.press("z")
    expect(page.locator("#said")).to_contain_text("Your label Defective is already stored")
    page.keyboard.press("o")
    page.goto(url)
    assert feedback(send, 2) == [(first, "ok", ""), (first, "defective", "")]


def test_pasted_dropped_and_chosen_images_are_inspected(open_page, url):
    page = open_page(url)
    for kind, receiver in (("ClipboardEvent", "clipboardData"), ("DragEvent", "dataTransfer")):
        page.evaluate(
            """async ([kind, receiver, bytes]) => {
                const carried = new DataTransfer();
                carried.items.add(new File([new Uint8Array(bytes)], "part.png", { type: "image/png" }));
                const name = kind === "DragEvent" ? "drop" : "paste";
                document.body.dispatchEvent(new window[kind](name, { [receiver]: carried, bubbles: true, cancelable: true }));
            }""",
            [kind, receiver, list(encoded(DARK))],
        )
        verdict(page, "Defective")
    expect(page.locator("#count")).to_contain_text("2 of 2 inspected")
    page.get_by_role("button", name="Clear the list").click()
    with page.expect_file_chooser() as chooser:
        page.click("#drop")
    chooser.value.set_files(THREE[:1])
    verdict(page, "Defective")


def test_heat_lies_where_the_evidence_is_and_fades_with_the_slider(open_page, url):
    page = open_page(url)
    page.set_input_files("#files", [file("half.png", HALF)])
    verdict(page, "Defective")
    lies_left(page)
    page.locator("#opacity").press("Home")
    expect(page.locator("#heat")).to_have_css("opacity", "0")


def lies_left(page: Page) -> None:
    """The heat lies over the dark left half of the image, and not over the bright right one."""
    heat = page.locator("#heat")
    alpha = "(canvas, x) => canvas.getContext('2d').getImageData(x, 256, 1, 1).data[3]"
    wait_until(lambda: heat.evaluate(alpha, 30) > 150)
    assert heat.evaluate(alpha, 480) == 0


def test_review_shows_the_same_heat_and_whose_it_is_when_another_model_decided(open_page, app, url):
    recorder = services_of(app).records.recorder
    for number, version in ((1, 3), (2, 2)):
        content = encoded(np.clip(HALF.astype(int) + number, 0, 255).astype(np.uint8))
        recorder.record(inspected(number, content, model_version=version, score=0.5 - 0.1 * number), content)
    assert recorder.flush(LIMIT_S)
    page = open_page(f"{url}/page/review")
    expect(page.locator("#facts")).to_contain_text("1.png")
    lies_left(page)
    expect(page.locator("#now")).to_have_text("")
    page.locator("#opacity").press("Home")
    page.keyboard.press("s")
    expect(page.locator("#now")).to_contain_text(
        "Production_Reg 3, which is served now; the verdict above is from Production_Reg 2"
    )
    lies_left(page)
    expect(page.locator("#heat")).to_have_css("opacity", "0")
    page.goto(url)
    expect(page.locator("#opacity")).to_have_value("0")


def test_on_a_phone_the_button_shows_the_type_that_it_sends(open_page, app, url, send):
    recorder, content = services_of(app).records.recorder, encoded(DARK)
    recorder.record(inspected(1, content, verdict="defective", defect_type="dent"), content)
    assert recorder.flush(LIMIT_S)
    page = open_page(f"{url}/page/review", width=390, height=844)
    button = page.locator("#say-defective")
    expect(button).to_contain_text("dent")
    expect(page.locator("#with-type")).to_be_visible()
    page.locator("#type").fill("a long scratch across the whole of the part")
    assert button.bounding_box()["width"] < 195
    page.locator("#type").fill("scratch")
    button.click()
    page.goto("about:blank")  # what waits is sent
    assert feedback(send, 1) == [("1.png", "defective", "scratch")]


def test_without_a_model_the_page_says_what_to_do_and_review_goes_on_without_heat(
    open_page, project, serving
):
    app = create_app(project.config(), lambda: None)
    services_of(app).records.recorder.record(inspected(1, encoded(HALF)), encoded(HALF))
    assert services_of(app).records.recorder.flush(LIMIT_S)
    url = f"http://127.0.0.1:{serving(project.config(), app).port}"
    page = open_page(url)
    expect(page.locator("#problem")).to_contain_text("No model is in production")
    page.goto(f"{url}/page/review")
    expect(page.locator("#now")).to_contain_text("No heat: No model is in production")
    page.keyboard.press("d")
    expect(page.locator("#nothing-title")).to_have_text("All done for now")
    services_of(app).served.stop()
    services_of(app).records.close()
