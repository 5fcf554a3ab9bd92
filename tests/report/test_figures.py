import io

import numpy as np
import pytest
from PIL import Image

from defect_detection.evaluation.metrics import reliability
from defect_detection.report import figures

RNG = np.random.default_rng(0)
LABELS = np.array([0, 1] * 40)
SCORES = np.clip(RNG.normal(0.3 + 0.4 * LABELS, 0.2), 0, 1)
PHOTO = RNG.integers(0, 256, (48, 64, 3), dtype=np.uint8)
EVIDENCE = np.full((3, 4), -4.0)
EVIDENCE[0, 3] = 5.0  # top right


CHARTS = {
    "curves": lambda: figures.training_curves(
        {"loss": [1, 0.5], "val_loss": [1.1, 0.7], "accuracy": [0.5, 0.9]}
    ),
    "confusion": lambda: figures.confusion_matrix(39, 2, 38, 1),
    "roc": lambda: figures.roc(SCORES, LABELS, 0.5),
    "histogram": lambda: figures.score_histogram(SCORES, LABELS, 0.5),
    "reliability": lambda: figures.reliability_diagram(reliability(SCORES, LABELS)),
    "sheet": lambda: figures.contact_sheet(
        [figures.SheetTile(PHOTO, EVIDENCE, "a.png"), figures.SheetTile(PHOTO, None, "b")]
    ),
}


@pytest.mark.parametrize("name", CHARTS)
def test_chart_is_drawn_without_pyplot(name):
    import matplotlib._pylab_helpers as pyplot_state

    picture = Image.open(io.BytesIO(figures.to_png(CHARTS[name]())))
    assert len(np.unique(np.asarray(picture.convert("L")))) > 10
    assert not pyplot_state.Gcf.figs


@pytest.mark.parametrize("name", CHARTS)
def test_chart_is_drawn_once_for_each_form(name):
    figure, drawn = CHARTS[name](), []
    figure.canvas.mpl_connect("draw_event", drawn.append)
    figures.to_svg(figure)
    figures.to_png(figure)
    assert len(drawn) == 2


def test_svg_follows_the_pages_colours_and_font():
    svg = figures.to_svg(figures.roc(SCORES, LABELS, 0.5))
    assert svg.startswith("<svg")
    assert "var(--ok)" in svg and "var(--ink)" in svg
    assert not any(colour in svg for colour in figures.CSS_NAMES)
    assert "% caught" in svg and "DejaVu" not in svg


def test_same_figure_gives_the_same_svg():
    assert figures.to_svg(CHARTS["histogram"]()) == figures.to_svg(CHARTS["histogram"]())


def test_confusion_matrix_shows_counts_in_their_places():
    axes = figures.confusion_matrix(tp=39, fp=2, tn=38, fn=1).axes[0]
    places = {
        (round(t.get_position()[0]), round(t.get_position()[1] - 0.08)): t.get_text() for t in axes.texts[::2]
    }
    assert places == {
        (0, 1): "38",
        (1, 1): "2",
        (0, 0): "1",
        (1, 0): "39",
    }  # OK on top, called OK on the left


def test_validation_curve_shares_the_panel_of_training():
    figure = figures.training_curves({"loss": [1, 0.5], "val_loss": [1.1, 0.7], "val_auroc": [0.8, 0.9]})
    panels = {axes.get_title(loc="left"): [line.get_label() for line in axes.lines] for axes in figure.axes}
    assert panels == {"loss": ["training", "validation"], "auroc": ["validation"]}


def test_overlay_is_hot_where_the_evidence_is_and_clear_elsewhere():
    shown = figures.overlay(PHOTO, EVIDENCE)
    assert shown.shape == PHOTO.shape and shown.dtype == np.uint8
    np.testing.assert_array_equal(shown[24:, :32], PHOTO[24:, :32])
    changed = np.abs(shown.astype(int) - PHOTO).sum(axis=2)
    assert changed[:12, 52:].mean() > 50
    red, _, blue = shown[2, 60].astype(int)
    assert red > blue


@pytest.mark.parametrize("pixels", [1, 64 * 7, 64 * 48])
def test_no_pixel_of_an_overlay_depends_on_the_bands_it_is_drawn_in(monkeypatch, pixels):
    whole = figures.overlay(PHOTO, EVIDENCE)
    monkeypatch.setattr(figures, "_BAND_PIXELS", pixels)
    assert np.abs(figures.overlay(PHOTO, EVIDENCE).astype(int) - whole).max() <= 1


def test_flat_evidence_leaves_the_image_as_it_is():
    np.testing.assert_array_equal(figures.overlay(PHOTO, np.zeros((3, 4))), PHOTO)


def test_weak_map_stays_clear_on_the_scale_of_a_strong_one():
    weak = EVIDENCE / 20
    scale = figures.common_scale([EVIDENCE, EVIDENCE, None])
    assert scale == (-4.0, 5.0)
    on_scale = figures.overlay(PHOTO, weak - 3.8, scale).astype(int) - PHOTO
    on_its_own = figures.overlay(PHOTO, weak - 3.8).astype(int) - PHOTO
    assert np.abs(on_scale).max() < np.abs(on_its_own).max() / 4


@pytest.mark.parametrize(
    ("cells", "verdict", "scale"),
    [
        ([-3, -1, 2], "defective", (0, 2)),  # from even odds
        ([-3, -1, 2], "ok", (0, 2)),
        ([-3, -2, -1], "defective", (-2, -1)),  # no cell alone, but the image: its most defective half
        ([-3, -2, -1], "review", (-2, -1)),
        ([-3, -2, -1], "ok", (0, 1e-6)),  # clear
    ],
)
def test_heat_begins_at_even_odds_and_no_defective_image_is_without_it(cells, verdict, scale):
    assert figures.heat_scale(np.array([cells], np.float32), verdict) == pytest.approx(scale)


def test_image_stands_beside_its_overlay():
    assert figures.side_by_side(PHOTO, EVIDENCE).shape == (48, 64 + 2 + 64, 3)
    assert figures.side_by_side(PHOTO, None) is PHOTO
    assert figures.common_scale([None]) is None


def test_contact_sheet_of_nothing_is_refused():
    with pytest.raises(ValueError, match="at least one image"):
        figures.contact_sheet([])
