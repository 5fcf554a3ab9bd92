"""``defect monitor`` on a project with a model in production."""

import json
from datetime import UTC, datetime, timedelta

import numpy as np
from recorded import inspected

from defect_detection.cli import main
from defect_detection.model.bundle import read_card
from defect_detection.records.inspections import add_inspections
from defect_detection.records.record_store import Records


def record_the_training_images_dimmed(plant, factor: float) -> None:
    """Record three windows, hours apart, of what the model learned; each a little darker."""
    usual = read_card(plant.config().bundle_dir).baseline.quantiles
    rng, records = np.random.default_rng(1), Records.of(plant.config())
    rows = []
    for number in range(150):
        drawn = {name: float(rng.choice(values)) for name, values in usual.items() if name != "score"}
        drawn["brightness"] *= factor
        at = datetime.now(UTC) - timedelta(hours=2 + 2 * (number // 50), seconds=number)
        rows.append(inspected(number, at=at, model_version=1, **drawn))
    with records.database.writing() as session:
        add_inspections(session, rows, [])
    records.close()


def test_it_prints_the_comparison_as_a_table_and_as_the_record_of_the_server(promoted, monkeypatch, capsys):
    monkeypatch.chdir(promoted.root)
    record_the_training_images_dimmed(promoted, 0.8)
    assert main(["monitor", "--set", "monitoring.window=50"]) == 0
    table = capsys.readouterr().out
    assert table.startswith("Clean the lens and check the light: brightness fell from 150 to 120.")
    assert "Production_Reg 1: 150 of 150 inspections, compared at " in table
    assert "colour balance" in table
    assert main(["monitor", "--json", "--set", "monitoring.window=50"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["state"], record["cause"]) == ("alarm", "camera")
    assert [one["name"] for one in record["figures"] if one["alarm"]] == ["brightness"]
    assert record["windows"][0]["until"] > record["windows"][2]["until"]


def test_without_inspections_it_says_how_many_are_missing(promoted, monkeypatch, capsys):
    monkeypatch.chdir(promoted.root)
    assert main(["monitor"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("Too few inspections of this model")
    assert "0 of 1500 inspections" in said
