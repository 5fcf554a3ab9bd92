"""Near duplicates among similar parts."""

import imagehash
import numpy as np
import pytest
from PIL import Image, ImageEnhance
from scipy.ndimage import gaussian_filter

from defect_detection.data import cache
from defect_detection.data.audit import near
from defect_detection.data.audit.measure import HASH_SIDE, THUMBNAIL
from defect_detection.data.audit.near import Nearest, nearest

SIDE = 128  # px


def draw_part(seed: int) -> Image.Image:
    """Draw a ring that is the same for all parts, with a grain of its own."""
    y, x = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j]
    ring = 90.0 * ((np.hypot(x, y) > 0.4) & (np.hypot(x, y) < 0.8))
    grain = gaussian_filter(np.random.default_rng(seed).normal(0, 60, (SIDE, SIDE)), 1.5)
    return Image.fromarray((80 + ring + grain).clip(0, 255).astype(np.uint8))


def find(images: list[Image.Image], contents=None, units=None, relations=None) -> list[Nearest]:
    """Return the near duplicates of images without a group, all on one side."""
    each = np.arange(len(images))
    hashes = np.array([np.packbits(imagehash.phash(image, hash_size=HASH_SIDE).hash) for image in images])
    thumbnails = np.array(
        [np.asarray(image.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX)) for image in images]
    )
    return nearest(
        hashes,
        thumbnails,
        each if contents is None else np.array(contents),
        each if units is None else np.array(units),
        np.empty((0, len(images)), int) if relations is None else np.array(relations),
    )


PARTS = [draw_part(seed) for seed in range(30)]
BRIGHTER = ImageEnhance.Brightness(PARTS[3]).enhance(1.25)
SMALLER = PARTS[7].resize((90, 90), Image.Resampling.BILINEAR).resize((SIDE, SIDE))


def test_different_parts_that_look_alike_are_no_pair():
    (within,) = find(PARTS)
    assert within.pairs() == []


def test_another_exposure_and_another_size_of_an_image_are_found():
    (within,) = find([*PARTS, BRIGHTER, SMALLER])
    assert sorted(within.pairs()) == [(3, 30), (7, 31)]
    assert (within.partner[3], within.partner[30]) == (30, 3)
    assert within.similarity[3] == within.similarity[30] > 0.8


def test_a_burst_of_one_part_is_found_though_it_is_most_of_the_data():
    random = np.random.default_rng(0)
    frames = [
        Image.fromarray(
            (np.asarray(PARTS[0]) + random.normal(0, 1, (SIDE, SIDE))).clip(0, 255).astype(np.uint8)
        )
        for _ in range(40)
    ]
    (within,) = find([*PARTS[1:], *frames])
    assert np.flatnonzero(within.partner >= 0).tolist() == list(range(29, 69))


def test_identical_images_and_images_of_one_group_are_no_pair():
    images = [*PARTS, BRIGHTER]
    assert find(images, contents=[*range(30), 3])[0].pairs() == []
    assert find(images, units=[*range(30), 3])[0].pairs() == []


def test_a_pair_counts_where_its_sides_differ():
    images = [*PARTS, BRIGHTER, SMALLER]
    is_test = [0] * 30 + [1, 0]
    label = [0] * 30 + [1, 0]
    across_splits, across_labels, within = find(images, relations=[is_test, label])
    assert [one.pairs() for one in (across_splits, across_labels, within)] == [
        [(3, 30)],
        [(3, 30)],
        [(7, 31)],
    ]


@pytest.mark.parametrize("place", [0, 255, 256, 599])
def test_a_pair_is_found_wherever_it_lies(place):
    images = [draw_part(seed) for seed in range(600)]
    images[place] = ImageEnhance.Brightness(images[300]).enhance(1.2)
    (within,) = find(images)
    assert within.pairs() == [(min(place, 300), max(place, 300))]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_very_few_images_are_compared_too(count):
    (within,) = find(PARTS[:count])
    assert within.pairs() == []


def test_of_many_parts_that_look_alike_few_are_compared_in_full():
    images = [*[draw_part(seed) for seed in range(300)], BRIGHTER]
    hashes = np.array([np.packbits(imagehash.phash(image, hash_size=HASH_SIDE).hash) for image in images])
    thumbnails = np.array(
        [np.asarray(one.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX)) for one in images]
    )
    words = np.zeros_like(np.ascontiguousarray(hashes).view(np.uint64))  # as if all hashes were close
    compared = [
        columns for _, columns, _ in near._candidates(words, near._sketches(near._grain(thumbnails, None)))
    ]
    assert sum(map(len, compared)) < 0.1 * len(images)
    assert 300 in compared[0]


def test_a_file_for_very_many_images_changes_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "_SMALL_BYTES", 0)
    thumbnails = np.array(
        [np.asarray(one.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX)) for one in PARTS]
    )
    np.testing.assert_array_equal(
        near._grain(thumbnails, tmp_path)[np.arange(30)], near._grain(thumbnails, None)
    )
