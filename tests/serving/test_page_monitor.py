"""The page Monitor in a real browser: control limits and changes of the model."""

from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import Page, expect
from recorded import image_of, inspected
from waiting import LIMIT_S, wait_until

from defect_detection.serving.services import services_of


@pytest.fixture
def monitor(open_page, app, send):
    """Return a function that records inspections, each a dict of facts, and opens the page."""

    def open_monitor(all_facts: list[dict[str, object]], **options: object) -> Page:
        recorder = services_of(app).records.recorder
        for number, facts in enumerate(all_facts):
            recorder.record(inspected(number, **facts), image_of(number))
        assert recorder.flush(LIMIT_S)
        page = open_page(f"http://127.0.0.1:{send.port}/page/monitor", **options)
        expect(page.locator("#figures")).to_be_visible()
        return page

    return open_monitor


def hours_ago(hours: float) -> datetime:
    return datetime.now(UTC) - timedelta(hours=hours)


def numbers_beside(page: Page, chart: str) -> list[str]:
    return page.locator(f"{chart} text[text-anchor=end]").all_text_contents()


def test_a_change_of_the_reject_rate_is_marked_by_a_diamond(monitor):
    page = monitor(
        [
            {
                "verdict": "defective" if number < 12 or number % 40 == 0 else "ok",
                "at": hours_ago(3 if number < 20 else 4 + number % 5),
            }
            for number in range(200)
        ]
    )
    expect(page.locator(".outside")).to_have_count(1)
    expect(page.locator("#alarm-text")).to_contain_text("left its control limits")
    page.get_by_text("The figures as a table").click()
    expect(page.get_by_role("row").filter(has_text="yes")).to_contain_text("60.0 %")


def test_few_parts_of_one_model_say_nothing_get_no_tick_and_are_counted_in_whole_numbers(monitor):
    page = monitor([{"at": hours_ago(3)}, {"at": hours_ago(2), "score": 0.9, "verdict": "defective"}])
    for chart in ("#v-chart", "#s-chart"):
        assert {"0", "1"} <= set(numbers_beside(page, chart))
        assert not [text for text in numbers_beside(page, chart) if "." in text]
    expect(page.locator("#p-chart .mark-name")).to_have_count(0)
    expect(page.locator("#p-changes")).to_be_hidden()
    expect(page.locator("#alarm-text")).to_contain_text("Too few to tell: 2 parts were inspected")
    expect(page.locator("#alarm-text")).to_contain_text("from 100 parts on")
    expect(page.locator("#alarm .shape")).to_have_count(0)
    assert "good" not in page.locator("#alarm").get_attribute("class")


def test_many_parts_within_the_limits_get_the_tick_and_another_model_with_its_threshold_is_marked(monitor):
    models = ({"model_version": 4, "threshold": 0.25}, {"model_version": 3, "threshold": 0.5})
    page = monitor(
        [
            {"at": hours_ago(2 + number % 5), "verdict": "defective" if number % 12 == 0 else "ok"}
            | models[number % 5 > 2]
            for number in range(120)
        ]
    )
    expect(page.locator("#p-chart .mark-name")).to_have_text("v4")
    expect(page.locator("#p-changes")).to_contain_text("Production_Reg 4 decides.")
    expect(page.locator("#s-chart .mark-name")).to_have_text("threshold 25.0 %")
    expect(page.locator("#s-threshold")).to_contain_text("decision threshold of Production_Reg 4")
    expect(page.locator("#alarm-text")).to_have_text("The reject rate stayed within its control limits.")
    expect(page.locator("#alarm .shape.ok")).to_be_visible()


def test_one_period_has_nothing_to_be_compared_with(monitor):
    moment = hours_ago(2)
    page = monitor([{"at": moment} for _ in range(120)])
    expect(page.locator("#alarm-text")).to_contain_text("Too early to tell")


def test_it_waits_for_its_last_answer_and_does_not_ask_while_hidden(monitor):
    page = monitor([{"at": hours_ago(1)}], own=True)
    page.wait_for_load_state("networkidle")  # what it still asks would be too much beside the next load
    page.add_init_script("""
        const { fetch } = window;
        const looks = [];
        const tick = () => looks.forEach((look) => look());
        Object.assign(window, { asked: 0, answered: 0, setInterval: (look) => looks.push(look), tick });
        window.fetch = async (url, ...rest) => {
            if (!String(url).includes("/statistics?")) return fetch(url, ...rest);
            window.asked += 1;
            await window.held;
            return fetch(url, ...rest).finally(() => (window.answered += 1));
        };
        window.hold = () => (window.held = new Promise((resolve) => (window.release = resolve)));
        window.hide = (hidden) => Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
    """)
    page.reload(wait_until="networkidle")  # the first look has ended
    expect(page.locator("#figures")).to_be_visible()

    def asked_at(times: int) -> int:
        """Let so many intervals pass, and return how often the server was asked in all."""
        return page.evaluate(
            f"(() => {{ for (let i = 0; i < {times}; i++) window.tick(); return window.asked }})()"
        )

    page.evaluate("window.hold() && null")
    assert asked_at(4) == 2  # the second waits for its answer
    page.evaluate("window.release()")
    wait_until(lambda: page.evaluate("(window.tick(), window.asked)") > 2)
    page.evaluate("window.hide(true) && null")
    asked = page.evaluate("window.asked")
    wait_until(lambda: page.evaluate("window.answered") == asked)
    assert asked_at(4) == asked


def test_inspections_of_the_future_are_said(monitor):
    page = monitor([{"at": hours_ago(1)}, {"at": hours_ago(-24 * 400)}])
    expect(page.locator("#clock")).to_contain_text(
        "The clock was ahead when they were recorded, or it is behind now."
    )
