"""The novelty branch: what is usual is learned from OK images, held-out images are measured without their own fold."""

from types import SimpleNamespace

import numpy as np
import pytest

from defect_detection.model.backend import keras
from defect_detection.model.heads import Novelty, Standardise
from defect_detection.model.novelty import judge_novelty, write_novelty
from defect_detection.training.features import Rows
from defect_detection.training.folds import Folds
from defect_detection.training.local_branch import Cells
from defect_detection.training.novelty_branch import learn_usual, novelty_of
from defect_detection.training.one_class import _measure_drawn, are_usual

CHANNELS, FEATURES, N = 8, 60, 40
FOLDS = Folds(np.arange(N) % 4, refit=True)


@pytest.fixture(scope="module")
def images():
    """Cells (n, 5, 5, 8) and pooled features of OK images; the last four have one odd cell, the two before odd features."""
    rng = np.random.default_rng(0)
    place = rng.normal(0, 3, (5, 5, CHANNELS))
    cells = (place + rng.normal(0, 1, (N, 5, 5, CHANNELS))).astype(np.float32)
    pooled = (rng.normal(0, 1, (N, 3)) @ rng.normal(0, 1, (3, FEATURES))).astype(np.float32)
    pooled += rng.normal(0, 0.5, pooled.shape).astype(np.float32)
    cells[-4:, 2, 2] += 8
    pooled[-6:-4] += rng.normal(0, 3, (2, FEATURES))
    return cells, pooled


def as_cells(rows, places=None):
    plain = Standardise(np.zeros(CHANNELS), np.ones(CHANNELS)), np.eye(CHANNELS)
    return Cells(*plain, rows, (5, 5), places)


def fitted(images, known):
    cells, pooled = (Rows(values, np.arange(N)) for values in images)
    as_they_are = as_cells(cells)
    usual = learn_usual(as_they_are, pooled, known, FOLDS.fold, FEATURES, seed=0)
    logarithms = usual.held_out(cells, pooled, FOLDS.fold)
    novelty = novelty_of(usual, as_they_are, logarithms[known], logarithms[-4:])
    return usual, novelty, logarithms


def test_images_with_an_odd_cell_or_odd_features_are_the_most_novel(images):
    _, novelty, logarithms = fitted(images, np.arange(N - 6))
    assert set(np.argsort(novelty(logarithms))[-6:]) == set(range(N - 6, N))


def test_pooled_features_of_many_images_are_never_all_in_memory():
    read = []

    class Watched(np.ndarray):
        def __getitem__(self, index):
            rows = super().__getitem__(index)
            read.append(len(rows) if rows.ndim == 2 else 0)
            return np.asarray(rows)

    n = 3000
    rng = np.random.default_rng(0)
    pooled = Rows(rng.normal(0, 1, (n, FEATURES)).astype(np.float32).view(Watched), np.arange(n))
    cells = as_cells(Rows(rng.normal(0, 1, (n, 5, 5, CHANNELS)).astype(np.float32), np.arange(n)))
    learn_usual(cells, pooled, np.arange(n), np.arange(n) % 4, FEATURES, seed=0)
    assert 0 < max(read) <= 1024


def test_novelty_is_in_standard_deviations_of_held_out_ok_images(images):
    _, novelty, logarithms = fitted(images, np.arange(N - 6))
    of_ok = novelty(logarithms[: N - 6])
    assert (of_ok.mean(), of_ok.std()) == pytest.approx((0, 1))


def test_one_distance_that_is_far_out_suffices_whatever_its_weight(images):
    _, novelty, logarithms = fitted(images, np.arange(N - 6))
    weights = [scale.weight for scale in novelty.scales.values()]
    assert np.mean(weights) == pytest.approx(1)
    assert min(weights) < 0.6, "else this test shows nothing"
    of_ok = logarithms[: N - 6]
    far_out = of_ok.mean(0) + np.diag(10 * of_ok.std(0))  # each has one distance ten standard deviations away
    assert (novelty(far_out) > novelty(of_ok).max() + 1).all()


def test_distances_of_rounding_are_all_alike(images):
    """Each runtime rounds by its own, so OK images that are nearly the same must not be told apart by it."""
    usual, *_ = fitted(images, np.arange(3))  # so few that the bank has all of their cells
    for nearly in (images[0][:3], images[0][:3] * 1.001):
        assert (usual.logarithms(nearly, images[1][:3], -1)[:, 0] == 0).all()


def test_the_graph_gives_what_the_arrays_give(images):
    cells, pooled = images
    usual, novelty, _ = fitted(images, np.arange(N - 6))
    inputs = (
        keras.Input(cells.shape[1:]),
        keras.Input((FEATURES + 3,)),
    )  # more features follow those that count
    model = keras.Model(inputs, judge_novelty(*inputs, novelty))
    write_novelty(model, novelty)
    padded = np.pad(pooled, ((0, 0), (0, 3)))
    maps, images_novelty = model.predict([np.clip(cells, -6, 6), padded], verbose=0)
    expected = novelty(usual.logarithms(np.clip(cells, -6, 6), pooled, -1))
    np.testing.assert_allclose(images_novelty, expected, rtol=1e-3, atol=1e-3)
    assert np.unravel_index(maps[-1].argmax(), (5, 5)) == (2, 2)


def test_a_held_out_image_is_measured_without_what_its_fold_taught(images):
    cells, pooled = images
    known = np.arange(N - 6)
    usual, *_ = fitted(images, known)
    own = usual.logarithms(cells[:1], pooled[:1], int(FOLDS.fold[0]))
    seen = usual.logarithms(cells[:1], pooled[:1], -1)
    assert (own > seen).all()
    others = known[FOLDS.fold[known] != FOLDS.fold[0]]
    without = learn_usual(
        as_cells(Rows(cells, np.arange(N))), Rows(pooled, np.arange(N)), others, FOLDS.fold, FEATURES, seed=0
    )
    np.testing.assert_allclose(own[:, 1], without.logarithms(cells[:1], pooled[:1], -1)[:, 1], rtol=1e-4)


def test_odd_images_among_the_ok_ones_are_not_usual(images):
    *_, logarithms = fitted(images, np.arange(N))  # the six odd ones were learned as OK
    left_out = np.flatnonzero(~are_usual(logarithms))
    assert len(left_out) == 3  # of 40
    assert left_out.min() >= N - 6


def test_of_ok_images_a_tenth_at_most_is_left_out_and_of_a_few_none():
    logarithms = np.random.default_rng(0).normal(0, 1, (200, 3))
    logarithms[:60] += 20  # another product
    assert (~are_usual(logarithms)).sum() == 19
    assert are_usual(logarithms[[0, 100, 101]]).all()
    assert are_usual(np.zeros((50, 3))).all()


@pytest.mark.parametrize("count", [2, 3])
def test_a_few_images_and_identical_ones_give_numbers(images, count):
    cells, pooled = np.repeat(images[0][:1], N, axis=0), np.repeat(images[1][:1], N, axis=0)
    _, novelty, logarithms = fitted((cells, pooled), np.arange(count))
    assert isinstance(novelty, Novelty)
    assert np.isfinite(novelty(logarithms)).all()


@pytest.mark.parametrize(("n_ok", "n_drawn"), [(3, 12), (240, 480)])
def test_a_few_defects_are_drawn_on_each_image_and_a_bounded_number_in_all(n_ok, n_drawn):
    images = np.random.default_rng(0).integers(100, 156, (n_ok, 32, 32, 3), dtype=np.uint8)
    below: list[int] = []
    measured: list[tuple[np.ndarray, np.ndarray]] = []

    def rows(numbers):
        below.extend(numbers)
        return images[numbers]

    def by_fold(cells, pooled, fold):
        measured.append((cells, fold))
        return np.zeros((len(cells), 3))

    splits = SimpleNamespace(
        samples=[SimpleNamespace(sha256=number) for number in range(n_ok)],
        pixels=SimpleNamespace(rows=rows),
        framing=SimpleNamespace(seen=None),
    )
    learned = SimpleNamespace(
        ok=np.arange(n_ok), fold=np.arange(n_ok) % 3, usual=SimpleNamespace(by_fold=by_fold)
    )
    as_they_are = SimpleNamespace(rotate=lambda cells: cells)
    features = lambda some: {"cells": some, "pooled": some}  # noqa: E731
    assert _measure_drawn(features, learned, as_they_are, splits, seed=0).shape == (n_drawn, 3)
    drawn, fold = (np.concatenate(parts) for parts in zip(*measured, strict=True))
    assert np.bincount(below).tolist() == [n_drawn // n_ok] * n_ok, "all images, equally often"
    assert (fold == np.array(below) % 3).all(), "each without its own fold"
    assert (drawn != images[below]).any(axis=(1, 2, 3)).all(), "a defect on each"
    assert max(len(fold) for _, fold in measured) <= 32, "they are never all in memory"
