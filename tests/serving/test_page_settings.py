"""The page Settings in a real browser: found, changed, refused at the field, and changed by two people."""

import json

import pytest
from playwright.sync_api import expect
from test_page_models import check_access

from defect_detection.records.keys import create_key
from defect_detection.serving.services import services_of


@pytest.fixture
def url(send) -> str:
    return f"http://127.0.0.1:{send.port}/page/settings"


def test_a_setting_is_found_changed_refused_at_its_field_and_stored(open_page, url, project, send):
    page = open_page(url, width=390, color_scheme="dark", reduced_motion="reduce")
    epochs = page.get_by_label("training.epochs")
    expect(epochs).to_have_value("14")
    expect(page.get_by_label("max_side")).to_be_hidden()
    check_access(page)
    page.get_by_label("Find a setting").fill("longer side")
    expect(page.get_by_label("max_side")).to_be_visible()
    expect(epochs).to_be_hidden()
    page.get_by_label("Find a setting").fill("")

    epochs.fill("0")
    page.locator("summary", has_text="Data").click()
    page.get_by_label("pages", exact=True).select_option("first")
    expect(page.locator("#count")).to_have_text("2 changes are not saved yet.")
    page.keyboard.press("Tab")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("[id='key-training.epochs-wrong']")).to_have_text(
        "expected a whole number above 0, received 0"
    )
    expect(epochs).to_be_focused()
    check_access(page)
    epochs.fill("20")
    page.keyboard.press("Enter")
    expect(page.locator("#notices")).to_contain_text("Saved: training.epochs, data.pages.")
    expect(page.locator("#save")).to_be_hidden()
    assert project.config().training.epochs == 20
    assert project.config().data.pages == "first"


def test_the_second_of_two_people_sees_what_the_first_changed_and_keeps_what_he_entered(
    open_page, url, project
):
    anna, ben = open_page(url), open_page(url)
    for page, name, value in (
        (anna, "training.epochs", "20"),
        (ben, "training.epochs", "30"),
        (ben, "evaluation_threshold", "0.7"),
    ):
        page.get_by_label(name).fill(value)
    anna.get_by_role("button", name="Save").click()
    expect(anna.locator("#notices")).to_contain_text("Saved: training.epochs.")
    ben.get_by_role("button", name="Save").click()
    expect(ben.locator("#notices")).to_contain_text(
        "changed by somebody else since this form was opened: training.epochs is 20 now"
    )
    expect(ben.locator("[id='key-training.epochs-wrong']")).to_contain_text(
        "changed this value from “14” to “20”"
    )
    expect(ben.get_by_label("training.epochs")).to_have_value("30")
    assert project.config().training.epochs == 20
    ben.get_by_role("button", name="Save").click()
    expect(ben.locator("#notices")).to_contain_text("Saved: evaluation_threshold, training.epochs.")
    assert (project.config().training.epochs, project.config().evaluation_threshold) == (30, 0.7)


def test_an_operator_reads_and_an_admin_changes(app, send):
    database = services_of(app).records.database
    operator, admin = (create_key(database, role, role) for role in ("operator", "admin"))
    bound = create_key(database, "bound", "admin", products=["default"])
    shown = json.loads(send("GET", "/settings", **{"X-API-Key": operator}).body)
    change = {"digest": shown["digest"], "changes": [{"key": "seed", "before": "42", "after": "7"}]}
    sent = [
        send(
            "POST",
            "/settings",
            json.dumps(body).encode(),
            **{"Content-Type": "application/json", "X-API-Key": key},
        )
        for key, body in (
            (operator, change),
            (admin, change),
            (admin, change),
            (admin, {**change, "digest": "0" * 64}),
            (admin, {**change, "changes": 2 * change["changes"]}),
            (bound, {**change, "changes": [{"key": "data.train_dir", "before": "", "after": "/etc"}]}),
        )
    ]
    assert [one.status for one in sent] == [403, 200, 409, 409, 422, 403]
    assert json.loads(sent[4].body)["fields"] == {
        "seed": "expected once in a request, received several times"
    }
    assert "data.train_dir may reach others" in json.loads(sent[5].body)["detail"]
    assert "seed is 7 now" in json.loads(sent[2].body)["detail"]
