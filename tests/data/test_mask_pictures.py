"""Masks among images are detected by name and content."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from defect_detection.data.mask_pictures import find_mask_pictures
from defect_detection.data.samples import scan_folder


def draw_mask(path: Path, marked: bool = True, side: int = 48) -> Path:
    values = np.zeros((side, side), np.uint8)
    values[5:20, 10:30] = 255 * marked
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)
    return path


@pytest.fixture
def images(tmp_path, write_images) -> list[Path]:
    return [
        *write_images(tmp_path / "train/ok", 3, suffix=".jpg"),
        *write_images(tmp_path / "train/dent", 3, suffix=".jpg"),
    ]


def found(folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in scan_folder(folder, ["ok"]).masks]


@pytest.mark.parametrize(
    "name",
    ["000_GT.png", "000_label.bmp", "000_mask.png", "000-mask.jpg", "000.mask.png", "000_mask_1.png", "mask_000.png",
     "000_ground_truth.png", "000_seg.tif", "000.png", "000 Mask.PNG",
     "000mask.png", "000Mask.png", "gt000.png", "000 (mask).png", "000_lbl.png", "000_m.png"],
)  # fmt: skip
def test_a_mask_beside_its_image_is_noticed(images, tmp_path, name):
    draw_mask(tmp_path / "train/dent" / name)
    draw_mask(tmp_path / "train/ok" / name, marked=False)
    assert found(tmp_path / "train") == [f"dent/{name}", f"ok/{name}"]


@pytest.mark.parametrize(
    "folder",
    ["dent/ground_truth", "dent/Masks", "masks/dent", "ground_truth/dent", "dent/gt", "SegmentationClass"],
)
def test_a_folder_of_masks_is_noticed(images, tmp_path, folder):
    draw_mask(tmp_path / "train" / folder / "000.png")
    assert found(tmp_path / "train") == [f"{folder}/000.png"]


def test_photos_with_such_names_are_images(images, tmp_path, write_images):
    write_images(tmp_path / "train/label", 2)
    for path in write_images(tmp_path / "train/dent", 2, suffix=".bmp"):
        path.rename(path.with_name(f"{images[3].stem}_mask{path.stem}.bmp"))
    draw_mask(tmp_path / "train/dent/alone_mask.png")  # no image of that name
    draw_mask(tmp_path / "train/dent/plain.png")
    assert found(tmp_path / "train") == []


def test_masks_beside_the_splits_are_left_alone(images, tmp_path):
    draw_mask(tmp_path / "ground_truth/dent/000_mask.png")
    assert found(tmp_path / "train") == []


def test_a_list_of_images_in_the_index_settles_it(images, tmp_path):
    draw_mask(tmp_path / "train/dent/000_mask.png")
    (tmp_path / "train/index.csv").write_text("file,label\ndent/000_mask.png,1\n")
    assert found(tmp_path / "train") == []


def test_what_cannot_be_read_is_no_mask(images, tmp_path):
    broken = tmp_path / "train/dent/000_mask.png"
    broken.write_bytes(b"\x89PNG")
    assert find_mask_pictures([*images, broken], tmp_path / "train") == []
