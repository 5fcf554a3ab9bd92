"""The page Inspect has a tool to draw the region that counts and ignored areas, by mouse and by keyboard."""

import io

import numpy as np
from PIL import Image
from playwright.sync_api import expect

WIDE = (400, 200)  # px


def test_a_region_and_an_ignored_area_are_drawn_by_mouse_and_keyboard(open_page, send):
    page = open_page(f"http://127.0.0.1:{send.port}")
    Image.fromarray(np.full((*WIDE[::-1], 3), 120, np.uint8)).save(buffer := io.BytesIO(), "PNG")
    page.set_input_files("#files", {"name": "wide.png", "mimeType": "image/png", "buffer": buffer.getvalue()})
    tool, lines = page.locator("#region-tool"), page.locator("#region-yaml")
    tool.locator("summary").click()
    expect(lines).to_contain_text("region: [0, 0, 400, 200]")

    canvas = page.locator("#region-canvas")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.25, box["y"] + box["height"] * 0.25)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.75, box["y"] + box["height"] * 0.75)
    page.mouse.up()
    expect(lines).to_contain_text("region: [100, 50, 200, 100]")

    canvas.focus()
    for keys in ("ArrowRight", "Shift+ArrowDown", "Alt+ArrowUp"):
        page.keyboard.press(keys)
    expect(lines).to_contain_text("region: [110, 49, 200, 110]")

    page.get_by_role("button", name="Add an ignored area").click()
    for name, value in (("Left", 120), ("Top", 59), ("Width", 30), ("Height", 20)):
        field = tool.get_by_label(name)
        field.fill(str(value))
        field.press("Tab")
    expect(lines).to_contain_text("ignore_mask: ignore_mask.png")
    with page.expect_download() as download:
        page.get_by_role("button", name="Save the mask").click()
    mask = np.asarray(Image.open(download.value.path()).convert("L"))
    assert mask.shape == (110, 200)
    assert (mask[10:30, 10:40] == 0).all() and (mask == 0).sum() == 20 * 30

    page.get_by_role("button", name="Remove it").click()
    expect(lines).not_to_contain_text("ignore_mask")
