"""Overlays of the command line: names, sizes, limits and write errors."""

import json
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from plant import SIDE

from defect_detection.cli.verdicts import show_verdicts
from defect_detection.config import load_config
from defect_detection.data.bounds import Limits
from defect_detection.errors import ImageError
from defect_detection.inference.overlay import overlay_png
from defect_detection.use_cases.inspection import inspect_images


@pytest.fixture
def inspect(trained_once, tmp_path, capsys):
    """A function that inspects `tmp_path/parts` with overlays: whether all went well, the JSON lines, and what is said."""

    def run(*overrides: str):
        output = tmp_path / "overlays"
        model = trained_once.config().bundle_dir
        settings = load_config(trained_once.root / "config.yaml", overrides)
        done = show_verdicts(inspect_images([str(tmp_path / "parts")], model, output, settings), True, output)
        said = capsys.readouterr()
        return done, [json.loads(line) for line in said.out.splitlines()], said.err

    (tmp_path / "parts").mkdir()
    return run


def save_part(path: Path, size: tuple[int, int] = (SIDE, SIDE)) -> None:
    Image.new("L", size, 140).save(path)


@pytest.mark.parametrize("letter", ["x", "é", "部", "\N{GRINNING FACE}"])
def test_long_names_are_cut_and_stay_distinct(inspect, tmp_path, letter):
    longest = letter * (250 // len(letter.encode()))
    for name in ("a", longest[:-1] + "1", longest[:-1] + "2", "z"):
        save_part(tmp_path / "parts" / f"{name}.png")
    all_well, verdicts, _ = inspect()
    files = [path.name for path in (tmp_path / "overlays").glob("*.png")]
    assert (all_well, len(verdicts), len(files)) == (True, 4, 4)
    assert all(len(name.encode()) <= 255 for name in files)
    assert inspect()[0]
    assert sorted(files) == sorted(path.name for path in (tmp_path / "overlays").glob("*.png"))


def test_an_overlay_has_the_shape_and_size_of_its_image(inspect, tmp_path):
    sizes = {"wide": (300, 40), "tall": (50, 200), "small": (20, 20)}
    for name, size in sizes.items():
        save_part(tmp_path / "parts" / f"{name}.png", size)
    assert inspect()[0]
    for path in (tmp_path / "overlays").glob("*.png"):
        with Image.open(path) as image:
            assert image.size == sizes[path.name.partition(".")[0]]


def test_an_overlay_that_cannot_be_written_hides_no_verdict(inspect, tmp_path):
    for name in "abc":
        save_part(tmp_path / "parts" / f"{name}.png")
    _, verdicts, _ = inspect()
    blocked = tmp_path / "overlays" / f"b.{verdicts[1]['verdict']}.png"
    blocked.unlink()
    (blocked / "in the way").mkdir(parents=True)
    all_well, verdicts, said = inspect()
    assert [Path(one["path"]).stem for one in verdicts] == ["a", "b", "c"]
    assert all(one["verdict"] for one in verdicts)
    assert not all_well
    assert "1 overlays could not be written; the verdicts are valid" in said
    assert "b.png: " in said
    assert len(list((tmp_path / "overlays").glob("[ac].*.png"))) == 2


def test_overlays_keep_to_the_limit_of_pixels_that_is_set(inspect, inspector, tmp_path):
    path = tmp_path / "parts" / "large.png"
    save_part(path, (100, 90))
    all_well, (verdict,), _ = inspect("data.max_pixels=8999")
    assert (all_well, verdict["verdict"]) == (False, None)
    assert inspect("data.max_pixels=9000")[0]
    (inspection,) = inspector.inspect([path])
    picture = Image.open(BytesIO(overlay_png(path, inspection, limits=Limits(9000))))
    assert picture.size == (100, 90)
    with pytest.raises(ImageError, match="at most 8999 pixels"):
        overlay_png(path, inspection, limits=Limits(8999))


def test_the_overlay_of_several_pages_shows_the_one_that_decided(inspect, inspector, paths, tmp_path):
    scores = [one.score for one in inspector.inspect(paths)]
    best, worst = (Image.open(paths[place(scores)]) for place in (np.argmin, np.argmax))
    best.save(tmp_path / "parts" / "views.tif", save_all=True, append_images=[worst.resize((80, 70)), best])
    all_well, (verdict,), _ = inspect("data.pages=all")
    assert (all_well, verdict["verdict"], verdict["page"], verdict["pages"]) == (True, "defective", 2, 3)
    with Image.open(tmp_path / "overlays" / "views.defective.png") as shown:
        assert shown.size == (80, 70)


def test_another_bit_depth_than_the_model_has_is_said(inspect, tmp_path):
    save_part(tmp_path / "parts" / "a.png")
    _, _, said = inspect("data.bit_depth=12")
    assert "data.bit_depth: the settings say 12, but the model was trained with all 16 bits" in said
    assert "bit_depth" not in inspect()[2]


def test_boxes_are_in_the_json_lines_and_drawn_into_the_overlay(inspect, tmp_path):
    pixels = np.full((SIDE, SIDE), 150, np.uint8)
    pixels[16:32, 32:48] = 30
    Image.fromarray(pixels).resize((4 * SIDE, 2 * SIDE), Image.Resampling.NEAREST).save(
        tmp_path / "parts" / "a.png"
    )
    _, (verdict,), _ = inspect("data.mm_per_px=0.5", "evaluation.min_defect_px=1")
    left, top, width, height = verdict["boxes"][0]["box"]
    assert 0 < width <= 4 * SIDE
    assert 0 < height <= 2 * SIDE
    assert verdict["boxes"][0]["box_mm"] == [left / 2, top / 2, width / 2, height / 2]
    with Image.open(tmp_path / "overlays" / "a.defective.png") as drawn:
        corners = [(left, top), (left + width - 1, top + height - 1)]
        assert [drawn.getpixel(corner) for corner in corners] == [(60, 230, 255)] * 2
    _, (verdict,), _ = inspect("evaluation.min_defect_px=100000")
    assert (verdict["verdict"], "boxes" in verdict, verdict["ignored_boxes"] > 0) == (
        "defective",
        False,
        True,
    )
