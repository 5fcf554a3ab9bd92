"""The list of a product's images in memory, while other programs change the files."""

import os

import pytest

from defect_detection.config import load_config
from defect_detection.use_cases.change_images import set_part
from defect_detection.use_cases.product_images import ProductImages


@pytest.fixture
def images(tmp_path):
    (tmp_path / "config.yaml").touch()
    image = tmp_path / "data/train/ok/a.png"
    image.parent.mkdir(parents=True)
    image.write_bytes(b"image")
    return ProductImages(load_config(tmp_path / "config.yaml"))


@pytest.mark.skipif(os.name != "posix", reason="elsewhere this time is that of the file's making")
def test_an_index_of_the_same_size_and_time_is_read_anew(images):
    (image,) = images.listed().images.values()
    set_part(images, [(image.file, image.tag)], "11", "anna")
    index = images.config.data.train_dir / "index.csv"
    status = index.stat()
    index.write_text(index.read_text().replace("11", "22"))
    os.utime(index, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert [one.part for one in images.listed().images.values()] == ["22"]
