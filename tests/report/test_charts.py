import numpy as np

from defect_detection.evaluation.operating_point import Costs
from defect_detection.report import figures
from defect_detection.report.charts import OUTLINE, EvidencePicture, cost_chart, outlined, views
from defect_detection.report.costs import cost_curve

PHOTO = np.random.default_rng(0).integers(0, 200, (48, 64, 3), dtype=np.uint8)
MASK = np.zeros((48, 64), bool)
MASK[20:28, 30:40] = True
SCORES = np.array([0.0, 0.2, 0.6, 0.4, 0.6, 1.0])
LABELS = np.array([0, 0, 0, 1, 1, 1])


def test_outline_runs_around_the_defect_and_leaves_it_visible():
    drawn = outlined(PHOTO, MASK)
    changed = (drawn != PHOTO).any(axis=2)
    assert changed.any() and (drawn[changed] == OUTLINE).all()
    assert not changed[MASK].any() and not changed[:15].any()
    assert changed[20:28, :30].any() and changed[20:28, 40:].any()


def test_a_picture_is_shown_with_what_is_known_of_it():
    assert len(views(EvidencePicture(PHOTO), None)) == 1
    plain, evidence = views(EvidencePicture(PHOTO, np.eye(3), MASK), (0.0, 1.0))
    np.testing.assert_array_equal(plain, outlined(PHOTO, MASK))
    np.testing.assert_array_equal(evidence, figures.overlay(PHOTO, np.eye(3), (0.0, 1.0)))


def test_cost_chart_marks_the_threshold_in_use():
    for costs, names in ((None, 2), (Costs(escape=50, overkill=1), 3)):
        curve = cost_curve(SCORES, LABELS, 0.5, 0.03, costs)
        chart = cost_chart(curve)
        assert len(chart.axes) == names
        escapes = [line for line in chart.axes[0].lines if line.get_marker() == "o"]
        assert [tuple(np.ravel(line.get_data())) for line in escapes] == [(0.0, curve.chosen.escapes.value)]
        assert "var(--defective)" in figures.to_svg(chart)
