"""A line whose figures are drawn, and a model that brings a baseline of them."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from flask_openapi3.openapi import OpenAPI
from recorded import inspected

from defect_detection.config import Config
from defect_detection.evaluation.drift import Baseline
from defect_detection.inference.inspect import Inspector
from defect_detection.records.inspections import Inspected, add_inspections
from defect_detection.serving.app import create_app
from defect_detection.serving.services import services_of
from defect_detection.tracking.reading import ModelRef

RNG = np.random.default_rng(3)
USUAL = {"score": (0.1, 0.02), "novelty": (0.0, 1.0), "brightness": (130.0, 5.0), "contrast": (40.0, 4.0)}
USUAL |= {"sharpness": (9.0, 1.0), "colour_balance": (1.0, 0.03)}
SIZE = 100  # inspections in a window


def app_with_baseline(config: Config, bundle: Path, baseline: bool = True) -> OpenAPI:
    """Return the application with the tiny model as version 3; ``monitoring.window`` of its settings is `SIZE`."""
    inspector = Inspector.load(bundle)
    give_baseline(inspector, baseline)
    return create_app(config, lambda: ModelRef("Production_Reg", 3, "run", {}), lambda _: inspector)


def give_baseline(inspector: Inspector, baseline: bool = True) -> None:
    """Let a model know what is usual, or not."""
    figures = {name: RNG.normal(mean, spread, 200) for name, (mean, spread) in USUAL.items()}
    known = Baseline.of(figures, 200) if baseline else None
    inspector.card = inspector.card.model_copy(update={"baseline": known})


def window(first: int, moved: dict[str, float], hours_ago: float, **facts: object) -> list[Inspected]:
    """Return the inspections of a window; some figures are so much higher than usual."""
    begin = datetime.now(UTC) - timedelta(hours=hours_ago)
    return [
        inspected(
            first + place,
            at=begin + timedelta(seconds=place),
            **{name: RNG.normal(mean + moved.get(name, 0), spread) for name, (mean, spread) in USUAL.items()},
            **facts,
        )
        for place in range(SIZE)
    ]


def record(app: OpenAPI, *windows: dict[str, float]) -> None:
    """Record windows that are two hours apart, newest last."""
    rows = []
    for number, moved in enumerate(windows):
        rows += window(SIZE * number, moved, 2 * (len(windows) - number) + 1)
    add(app, rows)


def add(app: OpenAPI, rows: list[Inspected]) -> None:
    with services_of(app).records.database.writing() as session:
        add_inspections(session, rows, [])
