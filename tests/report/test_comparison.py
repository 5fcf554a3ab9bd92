import io

import numpy as np
import pytest
from PIL import Image

from defect_detection.evaluation.rates import Estimate, Rate
from defect_detection.report.comparison import Compared, Searched, comparison, search_course
from defect_detection.report.figures import to_png

SETS = [
    Compared(name, Estimate(value=v, low=v - 0.04, high=v + 0.02), 0.3, Rate.of(1, 20), Rate.of(0, 40), 3.0)
    for name, v in (("frozen", 0.95), ("pooled_only", 0.9))
]
TRIALS = [
    Searched({"dropout": 0.1, "pooled_regularization": 0.001, "branches": ["pooled"]}, 0.9, 0.2),
    Searched({"dropout": 0.2, "pooled_regularization": 1.0, "branches": ["pooled", "local"]}, None, None),
    Searched({"dropout": 0.3, "pooled_regularization": 0.1, "branches": ["pooled", "local"]}, 0.8, 0.1),
]


@pytest.mark.parametrize("draw", [lambda: comparison(SETS), lambda: search_course(TRIALS, "auroc")])
def test_chart_is_drawn(draw):
    picture = Image.open(io.BytesIO(to_png(draw())))
    assert len(np.unique(np.asarray(picture.convert("L")))) > 10


def test_comparison_shows_each_set_with_its_intervals():
    auroc, loss, rates, seconds = comparison(SETS).axes
    assert [label.get_text() for label in auroc.get_yticklabels()] == ["frozen", "pooled_only"]
    *intervals, points = [line.get_xdata() for line in auroc.lines]
    np.testing.assert_allclose(intervals, [[0.91, 0.97], [0.86, 0.92]])
    np.testing.assert_allclose(points, [0.95, 0.9])
    assert [bar.get_width() for bar in loss.patches] == [0.3, 0.3]
    assert [bar.get_width() for bar in seconds.patches] == [3, 3]
    assert [text.get_text() for text in rates.get_legend().get_texts()] == ["escapes", "overkill"]


def test_search_shows_the_best_so_far_and_each_hyperparameter():
    course, *panels = search_course(TRIALS, "auroc").axes
    done, pruned, best = course.lines
    assert (list(done.get_xdata()), list(pruned.get_xdata())) == ([1, 3], [2])
    np.testing.assert_allclose(best.get_ydata(), [0.9, 0.9, 0.9])
    assert [axes.get_xlabel() for axes in panels] == ["dropout", "pooled_regularization", "branches"]
    assert [axes.get_xscale() for axes in panels] == ["linear", "log", "linear"]
    assert [label.get_text() for label in panels[2].get_xticklabels()] == ["pooled", "pooled, local"]


def test_of_log_loss_the_lowest_is_the_best():
    done, pruned, best = search_course(TRIALS, "log_loss").axes[0].lines
    np.testing.assert_allclose(done.get_ydata(), [0.2, 0.1])
    assert pruned.get_ydata()[0] > 0.2
    np.testing.assert_allclose(best.get_ydata(), [0.2, 0.2, 0.1])


def test_a_search_in_which_all_was_pruned_is_still_drawn():
    course = search_course([Searched({"dropout": 0.1}, None, None)], "auroc").axes[0]
    assert [list(line.get_xdata()) for line in course.lines] == [[], [1], [1]]
