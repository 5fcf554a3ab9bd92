"""Shortcuts are found for each file property, by part, and not by chance."""

import os
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from defect_detection.data.headers import headers_of
from defect_detection.data.samples import Sample
from defect_detection.data.shortcuts import Shortcut, check_shortcuts, find_shortcuts
from defect_detection.errors import ShortcutError

Save = Callable[[Image.Image, Path], object]


def exif(tag: int, value: str) -> Image.Exif:
    data = Image.Exif()
    data[tag] = value
    return data


def write(
    folder: Path, save: Save, label: int, count: int, suffix: str = ".jpg", side: int = 32
) -> list[Sample]:
    """Write images of noise that hold no defect at all."""
    rng = np.random.default_rng(label)
    folder.mkdir(parents=True, exist_ok=True)
    samples = []
    for number in range(count):
        path = folder / f"{number:03}{suffix}"
        save(Image.fromarray(rng.integers(0, 256, (side, side, 3), dtype=np.uint8)), path)
        samples.append(Sample(path, label, "scratch" if label else "", "", f"{label}-{number}-{folder}"))
    return samples


def plain(image: Image.Image, path: Path) -> None:
    image.save(path)


def found(ok: list[Sample], defective: list[Sample], tmp_path: Path) -> dict[str, Shortcut]:
    return {one.name: one for one in find_shortcuts([*ok, *defective], tmp_path / "cache")}


SAVES: dict[str, tuple[Save, Save]] = {
    "colour mode": (plain, lambda image, path: image.convert("L").save(path)),
    "JPEG quality": (plain, lambda image, path: image.save(path, quality=95)),
    "JPEG coding": (plain, lambda image, path: image.save(path, subsampling=0)),
    "colour profile": (plain, lambda image, path: image.save(path, icc_profile=b"sRGB")),
    "camera": (
        lambda image, path: image.save(path, exif=exif(0x0110, "Line camera")),
        lambda image, path: image.save(path, exif=exif(0x0110, "Telephone")),
    ),
    "software": (
        lambda image, path: image.save(path, exif=exif(0x0131, "Vision 3")),
        lambda image, path: image.save(path, exif=exif(0x0131, "Editor")),
    ),
    "image size": (plain, lambda image, path: image.resize((48, 48)).save(path)),
}


@pytest.mark.parametrize("name", SAVES)
def test_a_property_of_the_file_that_tells_the_label_blocks(name, tmp_path):
    ok, bad = SAVES[name]
    told = found(write(tmp_path / "ok", ok, 0, 20), write(tmp_path / "bad", bad, 1, 20), tmp_path)
    assert told[name].accuracy == 1
    with pytest.raises(
        ShortcutError, match=f"the {name} predicts the label of 100% of the parts: .*20 OK, 0 defective"
    ):
        check_shortcuts(list(told.values()))


def test_the_format_is_that_of_the_content_and_not_of_the_name(tmp_path):
    def as_png(image: Image.Image, path: Path) -> None:
        image.save(path, "PNG")

    ok, bad = write(tmp_path / "ok", plain, 0, 20), write(tmp_path / "bad", as_png, 1, 20)
    told = found(ok, bad, tmp_path)
    assert {value: (a, b) for value, a, b in told["file format"].counts} == {
        "JPEG": (20, 0),
        "PNG": (0, 20),
    }


def test_bit_depth_that_tells_the_label_is_found(tmp_path):
    def deep(image: Image.Image, path: Path) -> None:
        Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257).save(path)

    ok = write(tmp_path / "ok", lambda image, path: image.convert("L").save(path), 0, 20, ".png")
    assert "bit depth" in found(ok, write(tmp_path / "bad", deep, 1, 20, ".png"), tmp_path)


def test_sizes_that_differ_from_image_to_image_are_compared_in_bins(tmp_path):
    rng = np.random.default_rng(3)

    def cut(low: int, high: int) -> Save:
        return lambda image, path: image.resize(tuple(rng.integers(low, high, 2))).save(path)

    told = found(
        write(tmp_path / "ok", cut(60, 80), 0, 40), write(tmp_path / "bad", cut(30, 50), 1, 40), tmp_path
    )
    assert told["image size"].accuracy > 0.9
    none = found(
        write(tmp_path / "ok2", cut(30, 80), 0, 40), write(tmp_path / "bad2", cut(30, 80), 1, 40), tmp_path
    )
    assert "image size" not in none


def test_qualities_that_differ_from_image_to_image_are_compared_in_bins(tmp_path):
    rng = np.random.default_rng(4)

    def quality(low: int, high: int) -> Save:
        return lambda image, path: image.save(path, quality=int(rng.integers(low, high)))

    def both(folder: str, ok: Save, bad: Save) -> dict[str, Shortcut]:
        return found(
            write(tmp_path / folder / "ok", ok, 0, 20), write(tmp_path / folder / "bad", bad, 1, 20), tmp_path
        )

    assert both("apart", quality(75, 100), quality(40, 70))["JPEG quality"].accuracy > 0.9
    assert both("alike", quality(40, 100), quality(40, 100)) == {}


def test_what_only_one_label_has_tells_it(tmp_path):
    save = SAVES["camera"][0]
    ok, bad = write(tmp_path / "ok", save, 0, 20), write(tmp_path / "bad", plain, 1, 20)
    assert found(ok, bad, tmp_path)["camera"].counts == (("Line camera", 20, 0), ("none", 0, 20))


def test_nothing_is_found_where_both_labels_are_saved_alike_or_the_difference_is_small(tmp_path):
    ok, bad = write(tmp_path / "ok", plain, 0, 40), write(tmp_path / "bad", plain, 1, 40)
    assert found(ok, bad, tmp_path) == {}
    mixed = write(tmp_path / "more", plain, 1, 12, ".png")
    assert found(ok, [*bad, *mixed], tmp_path) == {}


def test_images_of_one_part_count_once(tmp_path):
    ok = write(tmp_path / "ok", plain, 0, 20)
    bad = [
        Sample(one.path, 1, "scratch", "the same part", one.sha256)
        for one in write(tmp_path / "bad", plain, 1, 20, ".png")
    ]
    assert found(ok, bad, tmp_path) == {}


def test_names_and_days_are_said_and_do_not_block(tmp_path):
    ok, bad = write(tmp_path / "2026-01-05", plain, 0, 20), write(tmp_path / "2026-01-06", plain, 1, 20)
    for sample in ok:
        os.utime(sample.path, (0, datetime(2020, 1, 1, 12).timestamp()))
    told = found(ok, bad, tmp_path)
    assert set(told) == {"day in the path", "file day"}
    check_shortcuts(list(told.values()))


def test_a_second_look_reads_new_files_only(tmp_path):
    samples = write(tmp_path / "ok", plain, 0, 3)
    first = headers_of(samples, tmp_path / "cache")
    for sample in samples:
        os.truncate(sample.path, 0)
    new = write(tmp_path / "new", plain, 0, 1, ".png")
    again = headers_of([*samples, *new], tmp_path / "cache")
    assert again[:3] == first
    assert again[3]["file format"] == "PNG"


def test_a_file_that_is_no_image_has_no_properties(tmp_path):
    path = tmp_path / "broken.png"
    path.write_bytes(b"no image")
    assert headers_of([Sample(path, 0, "", "", "x")], tmp_path / "cache") == [{}]


@pytest.mark.parametrize("name", ["casting_impeller", "magnetic_tile", "elpv_solar", "cookies_small"])
def test_real_sets_are_not_blocked(name, tmp_path):
    from defect_detection.data.samples import scan

    folder = Path(__file__).parents[2].parent / "shared/data" / name / "train"
    if not folder.is_dir():
        pytest.skip("the real data sets are not here")
    check_shortcuts(find_shortcuts(scan(folder, ["ok"])[0], tmp_path))
