"""Near duplicates among similar parts."""

import functools

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


@functools.cache
def draw_part(seed: int) -> Image.Image:
    """Draw a ring that is the same for all parts, with a grain of its own."""
    y, x = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j]
    ring = 90.0 * ((np.hypot(x, y) > 0.4) & (np.hypot(x, y) < 0.8))
    grain = gaussian_filter(np.random.default_rng(seed).normal(0, 60, (SIDE, SIDE)), 1.5)
    return Image.fromarray((80 + ring + grain).clip(0, 255).astype(np.uint8))


def find(images: list[Image.Image], contents=None, parts=None, relations=None) -> list[Nearest]:
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
        each if parts is None else np.array(parts),
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
    assert find(images, parts=[*range(30), 3])[0].pairs() == []


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
    sketches = near._sketches(near._grain(thumbnails, None))
    compared = [columns for _, columns, _ in near._candidates(words, sketches, np.full(len(images), 0.6))]
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


def drawn_pairs(n_pairs: int) -> list[np.ndarray]:
    """Return arguments of `nearest`: images of noise, and for each another with more or less of the same noise and hash."""
    random = np.random.default_rng(0)
    noise, more = random.normal(0, 40, (2, n_pairs, THUMBNAIL, THUMBNAIL))
    share = np.linspace(0.7, 1, n_pairs)[:, None, None]
    thumbnails = np.concatenate([noise, share * noise + np.sqrt(1 - share**2) * more])
    bits = random.integers(0, 2, (n_pairs, HASH_SIDE**2), np.uint8)
    other = bits ^ (random.random(bits.shape) < random.uniform(0, 0.3, (n_pairs, 1)))
    hashes = np.packbits(np.concatenate([bits, other]), axis=1)
    numbers = np.arange(2 * n_pairs)
    relations = random.integers(0, 2, (2, len(numbers)))
    return [hashes, (128 + thumbnails).clip(0, 255).astype(np.uint8), numbers, numbers, relations]


def compared_in_full(hashes, thumbnails, contents, parts, relations) -> list[list[tuple[int, float]]]:
    """Return what `nearest` should, from the grain and the hash of every two images: partner and similarity of each image."""
    grain = near._grain(thumbnails, None)
    needed = np.tanh(np.arctanh(near._usual(grain).clip(0, 0.999)) + near.STANDS_OUT)
    needed = needed.clip(near.LEAST_SIMILARITY, near.CERTAIN)
    bits = np.unpackbits(hashes, axis=1)
    is_pair = (bits[:, None] != bits).sum(axis=2) <= near.MOST_BITS
    similarity = grain @ grain.T
    is_pair &= similarity >= np.maximum(needed[:, None], needed)
    for numbers in (contents, parts):
        is_pair &= numbers[:, None] != numbers
    separated = [relation[:, None] != relation for relation in relations]
    tables = [np.where(is_pair & where, similarity, -1) for where in (*separated, ~np.any(separated, axis=0))]
    return [[(int(row.argmax()) if row.max() > -1 else -1, row.max()) for row in table] for table in tables]


def test_what_is_found_is_what_a_full_comparison_of_all_pairs_finds():
    images = drawn_pairs(200)
    for found, expected in zip(nearest(*images), compared_in_full(*images), strict=True):
        assert (found.partner >= 0).sum() > 25
        assert found.partner.tolist() == [partner for partner, _ in expected]
        np.testing.assert_allclose(found.similarity, [similarity for _, similarity in expected], atol=1e-5)
