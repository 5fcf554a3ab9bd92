"""``GET /monitoring``, its metrics and its alarm, on a line that gets dim and on one whose parts change."""

import json
import logging

import pytest
from drifted import SIZE, add, app_with_baseline, record, window
from flask.testing import FlaskClient
from tiny import BRIGHT, encoded
from waiting import LIMIT_S

from defect_detection.serving.services import services_of


@pytest.fixture
def line(project, bundle):
    """Return a function that records windows of a line, newest last, and gives its client: ``line({}, {"brightness": -30})``."""
    made = []

    def start(*windows: dict[str, float], baseline: bool = True) -> FlaskClient:
        made.append(app_with_baseline(project.config(f"monitoring.window={SIZE}"), bundle, baseline))
        record(made[-1], *windows)
        return made[-1].test_client()

    yield start
    for app in made:
        services_of(app).served.stop()
        services_of(app).records.close()


def metrics(client: FlaskClient) -> dict[str, float]:
    lines = client.get("/metrics").text.splitlines()
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if line[0] != "#")}


def test_a_dim_line_says_to_clean_the_lens_and_shows_the_darkest_images(line):
    client = line({}, *[{"brightness": -30, "novelty": 4}] * 3)
    said = client.get("/monitoring").json
    assert (said["state"], said["cause"], said["asks_for_labels"]) == ("alarm", "camera", False)
    assert said["message"].startswith("Clean the lens and check the light: brightness fell from 13")
    assert "novelty rose from" in said["message"]
    values = [one["value"] for one in said["moved_most"]]
    assert (len(values), values) == (12, sorted(values))
    assert {one["figure"] for one in said["moved_most"]} == {"brightness"}
    assert client.get(f"/inspections/{said['moved_most'][0]['id']}").json["brightness"] == values[0]


def test_the_alarm_is_in_the_log_the_trail_the_readiness_and_the_metrics_once(line, caplog, project):
    client = line(*[{"novelty": 4}] * 3)
    with caplog.at_level(logging.WARNING):
        assert client.get("/health/ready").json["drift"] is None  # nobody has compared yet
        services_of(client.application).line_watch.look()
        client.get("/monitoring")
    assert client.get("/health/ready").json["drift"].startswith("The parts have changed: novelty rose from")
    assert [one.getMessage() for one in caplog.records if "parts have changed" in one.message] == [
        f"Production_Reg 3: {client.get('/monitoring').json['message']}"
    ]
    trail = [json.loads(text) for text in (project.root / "trail.jsonl").read_text().splitlines()]
    assert [(one["what"], one["on"]) for one in trail] == [("line drifted", "Production_Reg 3")]
    assert trail[0]["outcome"].startswith("parts: The parts have changed")
    found = metrics(client)
    assert found['defect_drift_alarm{cause="parts"}'] == 1
    assert found['defect_drift_alarm{cause="camera"}'] == 0
    assert found['defect_drift_windows{figure="novelty"}'] == 3
    assert found['defect_drift_distance{figure="novelty"}'] > 0.5


def test_an_alarm_asks_for_labels_and_starts_no_retraining(line):
    client = line(*[{"novelty": 4}] * 3)
    assert client.get("/monitoring").json["asks_for_labels"] is True
    assert client.get("/jobs").json["jobs"] == []


def test_one_odd_window_is_said_and_is_no_alarm(line):
    client = line({}, {}, {"brightness": -60})
    said = client.get("/monitoring").json
    assert (said["state"], said["cause"]) == ("differs", None)
    assert said["message"].endswith("An alarm needs 3 windows in a row.")
    assert client.get("/health/ready").json["drift"] is None


def test_an_alarm_ends_with_the_first_usual_window_and_that_is_logged(line, caplog, monkeypatch):
    client = line(*[{"brightness": -30}] * 3)
    app = client.application
    assert client.get("/monitoring").json["state"] == "alarm"
    add(app, window(1000, {}, hours_ago=1.5))
    monkeypatch.setattr(services_of(app).line_watch, "_key", None)  # as if an hour had passed
    assert client.get("/monitoring").json["state"] == "usual"
    assert "the alarm ended: The line has not drifted from the training images." in caplog.text


def test_few_inspections_say_nothing_and_how_many_are_needed(line):
    said = line({"brightness": -60}).get("/monitoring").json
    assert (said["state"], said["inspections"], said["needed"]) == ("too few", 100, 300)


def test_a_model_without_a_baseline_says_what_to_do(line):
    said = line({}, baseline=False).get("/monitoring").json
    assert (said["state"], said["level"]) == ("no baseline", None)
    assert "To monitor the line, train and promote a model." in said["message"]


def test_an_inspection_keeps_its_novelty_and_the_figures_of_the_camera(line):
    client = line()
    client.post("/predict", data=encoded(BRIGHT), content_type="image/png")
    assert services_of(client.application).records.recorder.flush(LIMIT_S)
    (kept,) = client.get("/inspections").json["inspections"]
    figures = {name: kept[name] for name in ("brightness", "contrast", "sharpness", "colour_balance")}
    assert figures == {"brightness": 255, "contrast": 0, "sharpness": 0, "colour_balance": 1}
    assert kept["novelty"] is None  # the tiny model cannot tell


STATIONS = tuple({"line": "L1", "station": f"S{number}"} for number in range(5))


def record_at_stations(app, moved: dict[str, float]) -> None:
    """Record four windows of each station; figures of the last station are so much higher than usual."""
    firsts = iter(range(10_000, 90_000, SIZE))
    for hours_ago in (8.5, 6.5, 4.5, 2.5):
        for place in STATIONS:
            add(app, window(next(firsts), moved if place is STATIONS[-1] else {}, hours_ago, **place))


def test_one_dim_station_among_five_is_an_alarm_of_that_station_alone(line, project, caplog):
    client = line()
    record_at_stations(client.application, {"brightness": -30})
    said = client.get("/monitoring").json
    assert (said["state"], said["cause"], said["line"], said["station"]) == ("alarm", "camera", "L1", "S4")
    assert said["message"].startswith("L1, S4: Clean the lens and check the light: brightness fell from")
    assert (said["needed"], said["level"]) == (4 * SIZE, pytest.approx(1 / (8766 * 6 * 6)))
    states = [(one["station"], one["state"]) for one in said["places"]]
    assert states == [("", "usual"), *((f"S{number}", "usual") for number in range(4)), ("S4", "alarm")]
    assert "Production_Reg 3: L1, S4: Clean the lens" in caplog.text
    assert client.get("/health/ready").json["drift"] == said["message"]
    found = metrics(client)
    assert found['defect_drift_alarm{cause="camera",line="L1",station="S4"}'] == 1
    assert found['defect_drift_alarm{cause="camera",line="L1",station="S0"}'] == 0
    assert found['defect_drift_alarm{cause="camera"}'] == 0
    assert found['defect_drift_windows{figure="brightness",line="L1",station="S4"}'] == 4


def test_stations_are_compared_only_where_the_settings_say_so(project, bundle):
    app = app_with_baseline(
        project.config(f"monitoring.window={SIZE}", "monitoring.by_station=false"), bundle
    )
    record_at_stations(app, {"brightness": -30})
    said = app.test_client().get("/monitoring").json
    assert (said["state"], said["needed"], len(said["places"])) == ("usual", 3 * SIZE, 1)
    services_of(app).served.stop()
    services_of(app).records.close()
