import json
import re
from html.parser import HTMLParser
from pathlib import Path

import jsonschema_rs
import numpy as np
import pytest
from browser import accessibility_faults

from defect_detection.evaluation.gate import GatePolicy, decide
from defect_detection.evaluation.metrics import evaluate
from defect_detection.evaluation.operating_point import Costs, ReviewBand, choose_threshold
from defect_detection.evaluation.rates import Rate
from defect_detection.evaluation.types_left_out import TypeLeftOut
from defect_detection.report.charts import EvidencePicture
from defect_detection.report.page import write_report
from defect_detection.report.rendering import about
from defect_detection.report.report import (
    Champion,
    EvidenceAndMasks,
    ModelInfo,
    Report,
    build_report,
    report_schema,
)
from defect_detection.report.unseen import drawn_defects, unseen

LABELS = np.array([0] * 30 + [1] * 20)
SCORES = np.linspace(0.05, 0.45, 50) + 0.5 * LABELS
SCORES[[3, 7]] = 0.8, 0.9  # two false rejects
SCORES[[33, 40, 49]] = 0.2, 0.1, 0.3  # three escapes
PATHS = [f"data/test/{'crack' if label else 'ok'}/{i}.png" for i, label in enumerate(LABELS)]
TYPES = ["crack" if label else "" for label in LABELS]
PARTS = [f"part {i // 2}" for i in range(50)]
MASK = np.zeros((32, 32), bool)
MASK[16, 16] = True  # the middle, in cell (2, 2) of 4 x 4
SCHEMA = Path(__file__).parents[2] / "docs/report.schema.json"


def evidence():
    """Maps that point at the defect, but those of images 34 and 35, which point at a corner."""
    maps = np.zeros((50, 4, 4))
    maps[:, 2, 2] = 1
    maps[[34, 35], 0, 0] = 2
    return EvidenceAndMasks(maps, dict.fromkeys(range(30, 50), MASK))


def build(scores=SCORES, model="Defect_CNN", **settings):
    metrics = evaluate(scores, LABELS, 0.5, defect_types=TYPES, fingerprint="abc", repetitions=50)
    return build_report(ModelInfo(name=model, version="7"), metrics, PATHS, scores, LABELS, **settings)


def full_report():
    champion_scores = np.where(np.arange(50) % 5 == 0, 1 - SCORES, SCORES)
    champion = evaluate(champion_scores, LABELS, 0.5, fingerprint="abc", repetitions=50)
    return build(
        defect_types=TYPES,
        operating_point=choose_threshold(SCORES, LABELS, "fixed", threshold=0.5),
        review_band=ReviewBand(low=0.45, high=0.55),
        champion=Champion(model=ModelInfo(name="Defect_CNN", version="6"), metrics=champion),
        decision=decide(build().metrics, champion, GatePolicy(accuracy_threshold=0.8, guards=())),
        parts=PARTS,
        evidence=evidence(),
        costs=Costs(escape=40, overkill=0.5),
        facts=[("Used before", "This test set has served 3 decisions.")],
        notes=["One image could not be read: <broken>.png"],
        unseen=unseen(
            [TypeLeftOut(name="crack", without_novelty=Rate.of(9, 12), with_novelty=Rate.of(3, 12))],
            ["crack", "dent"],
            drawn_defects(
                np.arange(120) % 4 > 0, ["scratch", "pit"] * 60, np.arange(120), Rate.of(2, 30), 0.95
            ),
        ),
    )


def pictures_of(report):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
    return {path: EvidencePicture(image, rng.normal(size=(4, 4)), MASK) for path in report.shown}


class Page(HTMLParser):
    """Collects what a page shows and what it would fetch."""

    def __init__(self, text):
        super().__init__()
        self.open, self.images, self.links, self.words = [], [], [], []
        self.feed(text)
        self.text = " ".join(" ".join(self.words).replace("\u00a0", " ").split())

    def handle_starttag(self, tag, attributes):
        if tag not in ("meta", "img", "link"):
            self.open.append(tag)
        values = dict(attributes)
        if tag == "img":
            self.images.append(values["src"])
        self.links += [v for k, v in attributes if k in ("src", "href", "xlink:href")]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.words.append(data)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    report = full_report()
    files = write_report(
        report, SCORES, LABELS, pictures_of(report), tmp_path_factory.mktemp("reports") / "new"
    )
    return report, files, Page(files["html"].read_text(encoding="utf-8"))


def test_worst_mistakes_come_first():
    report = build(defect_types=TYPES)
    assert [(m.path, m.score, m.defect_type) for m in report.worst_escapes] == [
        ("data/test/crack/40.png", 0.1, "crack"),
        ("data/test/crack/33.png", 0.2, "crack"),
        ("data/test/crack/49.png", 0.3, "crack"),
    ]
    assert [m.score for m in report.worst_overkills] == [0.9, 0.8]
    assert len(build(worst=1).worst_escapes) == len(build(worst=1).worst_overkills) == 1


def test_caught_images_whose_evidence_is_elsewhere_are_shown():
    report = full_report()
    assert [m.path for m in report.caught_elsewhere] == ["data/test/crack/35.png", "data/test/crack/34.png"]
    assert (report.pointing.all.count, report.pointing.caught.count, report.pointing.caught.total) == (
        18,
        15,
        17,
    )
    assert (report.border.peaks.count, report.border.peaks.total) == (2, 19)
    assert {m.path for m in report.caught_elsewhere} < set(report.shown)


def test_every_file_is_written(written):
    _, files, _ = written
    assert set(files) == {
        "html",
        "json",
        "confusion_matrix",
        "score_histogram",
        "roc",
        "reliability",
        "worst_escapes",
        "worst_overkills",
        "caught_elsewhere",
        "cost_curve",
    }
    assert all(path.stat().st_size > 0 for path in files.values())


def test_json_holds_the_whole_report(written):
    report, files, _ = written
    assert Report.model_validate_json(files["json"].read_text()) == report
    plain = json.loads(files["json"].read_text())
    assert plain["metrics"]["escape"]["value"] == 0.15
    assert plain["decision"]["outcome"] == "promote"


def test_published_schema_is_current():
    assert json.loads(SCHEMA.read_text(encoding="utf-8")) == report_schema(), (
        "run python scripts/report_schema.py, and raise SCHEMA_VERSION when a field went away or changed its meaning"
    )


def test_json_follows_the_published_schema(written, perfect):
    schema = jsonschema_rs.validator_for(json.loads(SCHEMA.read_text(encoding="utf-8")))
    for files in (written[1], perfect):
        found = json.loads(files["json"].read_text())
        schema.validate(found)
        assert found["schema_version"] == 1
    del found["metrics"]["escape"]["total"]
    assert not schema.is_valid(found)


def test_page_is_well_formed_and_fetches_nothing(written):
    _, _, page = written
    assert page.open == []
    assert all(link.startswith(("data:", "#")) for link in page.links)
    # five mistakes and two that were caught for something else, each beside its evidence map; one for the type of defect
    assert len(page.images) == 15


@pytest.mark.parametrize(
    "statement",
    [
        "3 of 20 defective test images missed, 2 of 30 OK images rejected",
        "45 of 50 right",
        "10 defective test parts, 3 of them missed, show an escape rate of no more than 60.7 %",
        "15 of 100 defective parts pass",
        "660 of 9 900 OK parts are rejected",
        "Promoted registered for production",
        "Accuracy 45/50 (90.0 %) meets the required 80.0 %.",
        "Defect_CNN 6, in production until now",
        "crack 3/20 15.0 %",
        "Rule “fixed”, chosen on validation: escapes 3/20 (15.0 %, 95 % CI 3.2 to 37.9 %)",
        "One image could not be read: <broken>.png",
        "go to a person",
        "The 50 images come from 25 parts (copies of one image are one part); all of them have several images.",
        "5 of the 25 parts with several images contain a mistake",
        "With 40 for an escape and 0.5 for a rejected OK part, the threshold in use costs about 930",
        "The strongest evidence lies on the defect in 18/20 (90.0 %, 95 % CI 51.8 to 99.9 %)",
        "Strongest evidence at the edge of the picture, all with the verdict defective 2/19 10.5 %",
        "Caught, but the strongest evidence is not on the defect",
        "Used before This test set has served 3 decisions.",
        "expected calibration error (ECE)",
        "crack 9/12 (75.0 %) 42.8 to 94.5 % 3/12 (25.0 %) 5.5 to 57.2 %",
        "Not measured: dent. A type needs at least 10 parts in the training images",
        "Caught 90 of 120 drawn defects (75.0 %, interval 66.3 to 82.5 %). Without the drawn defects, 2 of the 30 OK images",
        "scratch 30/60 (50.0 %)",
        "Pixel AUROC of the evidence map: 0.9",
    ],
)
def test_page_says(written, statement):
    assert statement in written[2].text


def test_charts_of_the_page_take_its_colours(written):
    html = written[1]["html"].read_text(encoding="utf-8")
    used = set(re.findall(r"var\(--([a-z-]+)\)", html))
    defined = set(re.findall(r"--([a-z-]+):", html))
    assert used <= defined


def test_the_page_passes_axe_on_a_phone(written, open_page):
    page = open_page(written[1]["html"].as_uri(), width=390)
    assert accessibility_faults(page) == []


def test_evidence_at_the_edge_is_held_up_on_page_one_where_there_are_no_masks(tmp_path):
    maps = np.zeros((50, 8, 8))
    maps[:, 0, 0] = 1
    report = build(evidence=EvidenceAndMasks(maps, {}))
    text = Page(write_report(report, SCORES, LABELS, {}, tmp_path)["html"].read_text(encoding="utf-8")).text
    assert "The strongest evidence lies at the edge of the picture in 19/19" in text
    assert text.index("This is more than by chance") < text.index("On the line")
    assert report.pointing is None and report.border.share == 1


@pytest.fixture(scope="module")
def perfect(tmp_path_factory):
    scores = np.where(LABELS == 1, 0.9, 0.1)
    report = build(scores, model="<script>alert(1)</script>")
    return write_report(report, scores, LABELS, {}, tmp_path_factory.mktemp("reports"))


def test_names_from_outside_are_shown_not_run(perfect):
    assert "<script" not in perfect["html"].read_text(encoding="utf-8")


def test_perfect_result_is_reported_without_pretending_certainty(perfect):
    text = Page(perfect["html"].read_text(encoding="utf-8")).text
    assert "All 20 defective test images caught, no OK image rejected" in text
    assert "too few images for an interval" in text
    assert "2 % 149 129" in text
    assert "No defective test image was passed." in text
    assert "worst_escapes" not in perfect


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0"), (0.04, "under 0.1"), (2, "2"), (2.46, "2.5"), (9.99, "10"), (12345, "12\u202f345")],
)
def test_numbers_of_parts_read_as_a_person_says_them(count, text):
    assert about(count) == text


def test_copies_of_an_image_prove_no_more_than_the_image():
    scores, labels = np.repeat([0.1, 0.9], [30, 299]), np.repeat([0, 1], [30, 299])
    copies = [""] * 30 + ["copies of a.png"] * 299
    metrics = evaluate(scores, labels, 0.5, parts=copies, repetitions=5)
    report = build_report(
        ModelInfo(name="m"), metrics, [f"{i}.png" for i in range(329)], scores, labels, parts=copies
    )
    assert (metrics.escape.count, metrics.escape.total, metrics.escape.effective) == (0, 299, 1)
    assert metrics.escape.high == report.forecast.escapes.high / 100 == pytest.approx(0.975)
    assert report.cost_curve.chosen.escapes == report.forecast.escapes
    assert report.escape_limit == pytest.approx(0.95)
    assert report.more_defectives_needed.startswith(
        "1 defective test parts, none of them missed, show an escape"
    )
    assert report.claims[0].more == report.claims[0].needed - 1


def test_without_parts_and_copies_every_figure_is_that_of_images():
    plain, named = build(defect_types=TYPES), build(defect_types=TYPES, parts=[""] * 50)
    alone = evaluate(SCORES, LABELS, 0.5, parts=[f"{i:03}" for i in range(50)], repetitions=50)
    assert plain.model_copy(update={"created": named.created}) == named
    assert (alone.accuracy, alone.escape, alone.overkill) == (
        plain.metrics.accuracy,
        plain.metrics.escape,
        plain.metrics.overkill,
    )
