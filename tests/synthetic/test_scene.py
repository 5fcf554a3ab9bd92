from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from defect_detection.synthetic import bank, shapes
from defect_detection.synthetic.bank import CELL_PX, cell_targets, make_bank
from defect_detection.synthetic.defects import DEFECT_NAMES, DEFECTS, OUTLINE
from defect_detection.synthetic.fields import noise, spectral, streaks
from defect_detection.synthetic.scene import N_BACKGROUNDS, draw
from defect_detection.synthetic.textures import TEXTURES, surface

SIZE = 48
SEEDS = range(12)


def scenes(n_defects: int, count: int = 40):
    return [draw(np.random.default_rng([1, seed]), SIZE, n_defects) for seed in range(count)]


@pytest.mark.parametrize("texture", TEXTURES, ids=lambda texture: texture.__name__)
def test_every_texture_is_finite_and_normalised_for_any_seed(texture):
    for seed in SEEDS:
        field = texture(np.random.default_rng(seed), SIZE)
        assert field.shape == (SIZE, SIZE) and field.dtype == np.float32
        assert np.isfinite(field).all()
        assert abs(field.mean()) < 1e-3
        assert field.std() == pytest.approx(1, abs=1e-3) or np.ptp(field) == 0


@pytest.mark.parametrize("field", [lambda rng: noise(rng, SIZE, 1.0), lambda rng: streaks(rng, SIZE, 8.0)])
def test_noise_from_the_pool_is_normalised_varied_and_the_same_for_the_same_seed(field):
    drawn = [field(np.random.default_rng(seed)) for seed in SEEDS]
    assert all(abs(one.mean()) < 1e-3 and one.std() == pytest.approx(1, abs=1e-3) for one in drawn)
    likeness = np.corrcoef([one.ravel() for one in drawn]) - np.eye(len(drawn))
    assert np.abs(likeness).max() < 0.9
    np.testing.assert_array_equal(field(np.random.default_rng(3)), drawn[3])


def test_surfaces_join_textures_and_name_the_one_they_are_mostly_made_of():
    drawn = [surface(np.random.default_rng(seed), SIZE) for seed in range(200)]
    assert {kind for _, kind in drawn} == set(range(len(TEXTURES)))
    assert all(field.dtype == np.float32 and np.isfinite(field).all() for field, _ in drawn)
    alone = [
        (field == TEXTURES[kind](_after_kinds(seed), SIZE)).all() for seed, (field, kind) in enumerate(drawn)
    ]
    assert 0.3 < np.mean(alone) < 0.7


def _after_kinds(seed: int) -> np.random.Generator:
    """Return the generator as `surface` has it when it draws the texture."""
    rng = np.random.default_rng(seed)
    rng.integers(len(TEXTURES), size=2)
    return rng


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect.__name__)
def test_every_defect_changes_the_surface_only_around_its_mask(defect):
    changes = 0.0
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        surface = np.float32(0.5) + np.float32(0.1) * spectral(rng, SIZE, 1.0)
        changed, mask = defect(rng, surface)
        difference = np.abs(changed - surface)
        assert np.isfinite(changed).all()
        assert mask.min() >= 0 and mask.max() <= 1
        beside = ndimage.maximum_filter(mask, 7, mode="wrap") == 0  # a lit rim may lie beside it
        assert difference[beside].max(initial=0) < 1e-4
        changes += difference.max()
    assert changes > 0.1 * len(SEEDS)


def test_every_part_has_an_inside_and_a_ground_and_a_bite_changes_little_of_it():
    bitten = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        distance = shapes.outline(rng, SIZE)
        assert distance.dtype == np.float32 and np.isfinite(distance).all()
        assert 0.02 < (distance < 0).mean() <= 1
        changed = (shapes.bite(rng, distance) < 0) != (distance < 0)
        assert changed.mean() < 0.35
        bitten += changed.any()
    assert bitten > 40


def test_scenes_without_defects_have_no_mask():
    assert [scene.masks for scene in scenes(0)] == [{}] * 40


def test_scenes_with_defects_have_masks_of_known_types_that_hold_something():
    masks = [item for scene in scenes(3, 60) for item in scene.masks.items()]
    assert {kind for kind, _ in masks} == {*range(len(DEFECTS)), OUTLINE}
    assert all(mask.dtype == bool and mask.shape == (SIZE, SIZE) and mask.sum() >= 3 for _, mask in masks)


def test_scenes_are_8_bit_colour_images_of_every_background_and_the_seed_decides():
    drawn = scenes(1, 150)
    assert all(scene.image.shape == (SIZE, SIZE, 3) and scene.image.dtype == np.uint8 for scene in drawn)
    assert {scene.background for scene in drawn} == set(range(N_BACKGROUNDS))
    for one, other in zip(drawn[:10], scenes(1, 10), strict=True):
        np.testing.assert_array_equal(one.image, other.image)


def test_cell_targets_have_a_channel_per_type_and_one_for_any():
    cells = np.array([[[0b0, 0b1], [0b101, 1 << OUTLINE]]], np.uint16)
    targets = cell_targets(cells)
    assert targets.shape == (1, 2, 2, len(DEFECT_NAMES) + 1)
    assert [np.flatnonzero(cell).tolist() for cell in targets.reshape(4, -1)] == [
        [],
        [0, len(DEFECT_NAMES)],
        [0, 2, len(DEFECT_NAMES)],
        [OUTLINE, len(DEFECT_NAMES)],
    ]


def test_a_bank_is_continued_where_it_was_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(bank, "_PER_CHUNK", 8)  # the workers are forked
    size = 5 * CELL_PX
    steps: list[tuple[int, int]] = []

    def drawn(n_images: int):
        steps.clear()
        return make_bank(tmp_path, n_images, size, seed=7, on_progress=lambda *step: steps.append(step))

    (tmp_path / f"{size}px-seed7-00000.99.partial").write_bytes(b"left by a killed worker")
    first = drawn(5)
    assert first.images.shape == (5, size, size, 3) and first.cells.shape == (5, 5, 5)
    assert len(steps) == 1
    written = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.npz")}

    again = drawn(5)
    assert steps == []
    np.testing.assert_array_equal(again.images, first.images)

    longer = drawn(9)
    assert len(steps) == 1 and steps[0][0] == steps[0][1]
    np.testing.assert_array_equal(longer.images[:5], first.images)
    assert all(path.stat().st_mtime_ns == at for path, at in written.items())
    assert len(longer.backgrounds) == 9
