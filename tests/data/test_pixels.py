import numpy as np
import pytest
from PIL import Image

from defect_detection.data import pixels
from defect_detection.data.bounds import Limits
from defect_detection.data.images import read_image
from defect_detection.data.pixels import decoded
from defect_detection.data.samples import Sample, scan

SIZE = (8, 16)


def test_images_are_decoded_once_and_equal_what_read_image_gives(tmp_path, write_images, monkeypatch):
    monkeypatch.setattr(pixels, "CHUNK_BYTES", 3 * 8 * 16 * 3)  # several chunks
    paths = write_images(tmp_path / "train" / "ok", 7)
    samples, _ = scan(tmp_path / "train", ["ok"])
    progress: list[tuple[int, int]] = []
    store, unreadable = decoded(samples, SIZE, tmp_path, on_progress=lambda *done: progress.append(done))
    assert unreadable == {}
    assert progress == [(number, 7) for number in range(1, 8)]
    for path in paths:
        path.unlink()
    again, _ = decoded(samples, SIZE, tmp_path)
    assert len(again) == 7
    np.testing.assert_array_equal(
        again.rows([one.sha256 for one in samples]), store.rows([s.sha256 for s in samples])
    )


def test_rows_are_the_pixels_of_their_image(tmp_path, write_images):
    write_images(tmp_path / "train" / "ok", 3)
    samples, _ = scan(tmp_path / "train", ["ok"])
    store, _ = decoded(samples, SIZE, tmp_path)
    for sample in samples:
        np.testing.assert_array_equal(store.rows([sample.sha256])[0], read_image(sample.path, SIZE))


def test_every_path_of_an_unreadable_image_is_named(tmp_path, write_images):
    write_images(tmp_path / "train" / "ok", 2)
    for name in ("broken.png", "copy of broken.png"):
        (tmp_path / "train" / "ok" / name).write_bytes(b"not an image")
    samples, _ = scan(tmp_path / "train", ["ok"])
    store, unreadable = decoded(samples, SIZE, tmp_path)
    assert len(store) == 2
    assert sorted(path.removeprefix(f"{tmp_path}/train/ok/") for path in unreadable) == [
        "broken.png",
        "copy of broken.png",
    ]
    assert all(reason.startswith("expected a JPEG") for reason in unreadable.values())


@pytest.mark.parametrize(("max_pixels", "readable"), [(143, 0), (144, 2)])
def test_pixel_limit_counts(tmp_path, write_images, max_pixels, readable):
    write_images(tmp_path / "train" / "ok", 2, side=12)
    samples, _ = scan(tmp_path / "train", ["ok"])
    store, _ = decoded(samples, SIZE, tmp_path, Limits(max_pixels))
    assert len(store) == readable


def test_what_was_read_with_other_settings_is_not_taken_from_the_cache(tmp_path):
    path = tmp_path / "views.tif"
    first, second = (Image.fromarray(np.full((8, 8), value, np.uint16)) for value in (1000, 4000))
    first.save(path, save_all=True, append_images=[second])
    sample = Sample(path, 0, "", "", "a" * 64)
    store, _ = decoded([sample], (4, 4), tmp_path, pages="first")
    assert store.rows([sample.sha256]).max() == 1000 // 257
    store, _ = decoded([sample], (4, 4), tmp_path, pages="first", bit_depth=12)
    assert store.rows([sample.sha256]).max() == 1000 * 255 // 4095
    for pages in ("refuse", "all"):
        _, unreadable = decoded([sample], (4, 4), tmp_path, pages=pages)
        assert "2 pages" in unreadable[str(path)]
