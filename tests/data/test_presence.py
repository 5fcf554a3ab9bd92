"""The check for missing images agrees with the scan."""

import pytest

from defect_detection.data.presence import require_images
from defect_detection.errors import DataError


def test_images_behind_a_link_are_images(tmp_path, project, write_images):
    for split in ("train", "test"):
        write_images(tmp_path / "store" / split, 1)
        (tmp_path / "data" / split).mkdir(parents=True)
    (tmp_path / "data/train/ok").symlink_to(tmp_path / "store/train")
    with pytest.raises(DataError, match=r"data.test_dir: .*an empty folder"):
        require_images(project())
    (tmp_path / "data/test/ok").symlink_to(tmp_path / "store/test")
    require_images(project())
