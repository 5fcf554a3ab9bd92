"""Monitor and Review in a real browser, on a line that drifts."""

import re
from collections.abc import Sequence

import numpy as np
import pytest
from drifted import SIZE, add, app_with_baseline, record, window
from playwright.sync_api import expect
from recorded import inspected
from test_page_access import check
from tiny import encoded
from waiting import LIMIT_S

from defect_detection.records.inspections import Inspected
from defect_detection.serving.services import services_of


@pytest.fixture
def drifting(project, bundle, serving, open_page):
    """Return a function that records windows of a line, newest last, and opens a page of it."""
    made = []

    def start(path: str, *windows: dict[str, float], rows: Sequence[Inspected] = ()):
        config = project.config(f"monitoring.window={SIZE}")
        made.append(app_with_baseline(config, bundle))
        record(made[-1], *windows)
        add(made[-1], rows)
        send = serving(config, made[-1])
        return open_page(f"http://127.0.0.1:{send.port}{path}")

    yield start
    for app in made:
        services_of(app).served.stop()
        services_of(app).records.close()


def test_a_dim_line_is_said_with_its_figures_and_what_moved_most(drifting):
    page = drifting("/page/monitor", *[{"brightness": -30}] * 3)
    line = page.locator("#line")
    expect(line.locator(".notice.bad")).to_contain_text("Clean the lens and check the light: brightness fell")
    expect(line.locator("tr.moved")).to_contain_text("3, lower: alarm")
    expect(line.locator("tbody tr")).to_have_count(6)
    expect(line.locator(".most li")).to_have_count(12)
    expect(line.locator(".most li").first).to_contain_text("Not stored")
    expect(line.get_by_role("link")).to_have_count(0)
    check(page)


def test_each_station_has_its_state_and_the_dim_one_is_shown(drifting):
    rows = []
    for number in range(8):
        moved, station = ({"brightness": -30}, "S2") if number % 2 else ({}, "S1")
        rows += window(9000 + SIZE * number, moved, 2.5 + 2 * (number // 2), line="L1", station=station)
    page = drifting("/page/monitor", rows=rows)
    line = page.locator("#line")
    expect(line.locator(".notice.bad")).to_contain_text("L1, S2: Clean the lens and check the light")
    states = line.get_by_role("region", name="Stations").locator("tbody tr")
    expect(states).to_have_text(
        [
            re.compile("All of the product.*"),
            "L1, S1As the model learned400 of 400",
            "L1, S2Alarm400 of 400",
        ]
    )
    check(page)


def test_few_inspections_are_no_figures(drifting):
    page = drifting("/page/monitor")
    expect(page.locator("#line .notice")).to_contain_text("Too few inspections of this model to tell")
    expect(page.locator("#line .compared")).to_contain_text("with 0 of the 300 inspections")
    expect(page.locator("#line table")).to_have_count(0)


def test_parts_that_changed_are_reviewed_from_the_most_novel_on(drifting, app):
    page = drifting("/page/review", *[{"novelty": 4}] * 3)
    recorder = services_of(app).records.recorder
    for number, novelty in enumerate((3.0, 8.0, 5.0)):
        content = encoded(np.full((8, 8, 3), 40 * number, np.uint8))
        recorder.record(inspected(5000 + number, content, novelty=novelty, score=0.49), content)
    assert recorder.flush(LIMIT_S)
    page.reload()
    expect(page.locator("#order")).to_contain_text(
        "The parts have changed: images with the highest novelty come first."
    )
    expect(page.locator("#facts")).to_contain_text("5001.png")
    page.keyboard.press("o")
    expect(page.locator("#facts")).to_contain_text("5002.png")


def test_a_usual_line_is_said_and_reviewed_as_usual(drifting, app):
    page = drifting("/page/monitor", {}, {}, {})
    expect(page.locator("#line .notice.good")).to_have_text(
        "The line has not drifted from the training images."
    )
    add(app, window(1000, {}, hours_ago=0))
    page.get_by_role("link", name="Review").click()
    expect(page.locator("#nothing")).to_be_visible()  # no image is stored
    expect(page.locator("#order")).to_contain_text("Most uncertain images first")
