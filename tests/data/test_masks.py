from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from defect_detection.data.framing import Framing
from defect_detection.data.masks import find_mask, read_mask
from defect_detection.data.samples import Sample
from defect_detection.errors import ImageError


def write_mask(path: Path, marked: np.ndarray, white: int = 255) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(marked.astype(np.uint8) * white).save(path)
    return path


def sample_at(path: Path, mask: Path | None = None, label: int = 1) -> Sample:
    return Sample(path, label, "crack" if label else "", "", "0" * 64, mask)


@pytest.mark.parametrize("white", [255, 1])
def test_mask_lies_over_the_stretched_image(tmp_path, white):
    marked = np.zeros((100, 200), bool)
    marked[50:75, 20:60] = True
    expected = np.zeros((20, 20), bool)
    expected[10:15, 2:6] = True
    np.testing.assert_array_equal(
        read_mask(write_mask(tmp_path / "a.png", marked, white), Framing.plain(20)), expected
    )


def test_a_defect_of_one_pixel_survives_being_made_smaller(tmp_path):
    marked = np.zeros((997, 1003), bool)
    marked[500, 700] = True
    found = read_mask(write_mask(tmp_path / "a.png", marked), Framing.plain(64))
    assert np.argwhere(found).tolist() == [[500 * 64 // 997, 700 * 64 // 1003]]


def test_a_small_mask_is_made_larger(tmp_path):
    marked = np.array([[True, False], [False, False]])
    assert np.argwhere(read_mask(write_mask(tmp_path / "a.png", marked), Framing.plain(6))).max() == 2


def test_edges_that_a_lossy_file_has_blurred_do_not_count(tmp_path):
    marked = np.zeros((64, 64), bool)
    marked[16:48, 16:48] = True
    path = tmp_path / "a.jpg"
    Image.fromarray(marked.astype(np.uint8) * 255).save(path, quality=60)
    np.testing.assert_array_equal(read_mask(path, Framing.plain(64)), marked)


def test_a_mask_that_marks_nothing_is_named(tmp_path):
    path = write_mask(tmp_path / "a.png", np.zeros((8, 8), bool))
    with pytest.raises(ImageError, match=r"a\.png: expected a mask with the defect in white"):
        read_mask(path, Framing.plain(8))


@pytest.mark.parametrize("name", ["007_mask.png", "007.png"])
def test_mask_is_found_in_the_folder_beside_the_split(tmp_path, name):
    mask = write_mask(tmp_path / "ground_truth/crack" / name, np.ones((4, 4), bool))
    image = tmp_path / "test/crack/007.png"
    assert find_mask(sample_at(image), tmp_path / "test") == mask
    assert find_mask(sample_at(tmp_path / "test/crack/008.png"), tmp_path / "test") is None
    assert find_mask(sample_at(image, label=0), tmp_path / "test") is None


def test_the_mask_of_the_index_wins(tmp_path):
    write_mask(tmp_path / "ground_truth/crack/007.png", np.ones((4, 4), bool))
    image, own = tmp_path / "test/crack/007.png", tmp_path / "masks/7.png"
    assert find_mask(sample_at(image, own), tmp_path / "test") == own
    assert find_mask(sample_at(tmp_path / "elsewhere/7.png"), tmp_path / "test") is None
