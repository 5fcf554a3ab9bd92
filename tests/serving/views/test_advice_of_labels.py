"""What the images and labels support, by HTTP and on the page Train."""

import json

import pytest
from playwright.sync_api import expect
from tiny import BRIGHT


@pytest.fixture
def folders(project, write_images):
    write_images(project.root / "data/train/ok", 30)
    write_images(project.root / "data/test/ok", 10)


def test_labels_that_wait_are_part_of_what_today_supports(folders, inspect, send):
    inspect({"bright.png": BRIGHT})
    (one,) = json.loads(send("GET", "/inspections").body)["inspections"]
    said = json.dumps({"inspection_id": one["id"], "label": "defective", "defect_type": "hole"}).encode()
    assert send("POST", "/feedback", said, **{"Content-Type": "application/json"}).status < 300
    found = json.loads(send("GET", "/advice").body)
    assert (found["labels"], found["labels_defective"], found["labels_new"]) == (1, 1, 1)
    assert (found["now"]["train_ok"], found["now"]["train_defective"]) == (30, 1)
    assert (found["now"]["state"], found["command"]) == ("good parts only", "defect train")


def test_a_missing_folder_is_a_conflict_that_names_it(send):
    answer = send("GET", "/advice")
    assert answer.status == 409
    assert "data.test_dir" in json.loads(answer.body)["detail"]


def test_the_page_shows_the_same(folders, open_page, send):
    page = open_page(f"http://127.0.0.1:{send.port}/page/train", width=390)
    expect(page.locator("#advice")).to_contain_text("good parts only")
    expect(page.locator("#advice")).to_contain_text("Next: start a training. No model is trained yet.")
    expect(page.locator("#advice")).to_contain_text("Escapes are unknown: no test image is defective.")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
