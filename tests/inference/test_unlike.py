"""Images unlike the training images are never OK, in Python, command line, HTTP and MLflow."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image
from plant import SIDE, with_threshold

from defect_detection.cli import main
from defect_detection.inference.inspect import Inspector
from defect_detection.model.bundle import CARD_FILE, read_card, write_card
from defect_detection.tracking.flavor import PyfuncModel

REASON = "brightness 0 is outside "


@pytest.fixture
def black(tmp_path):
    path = tmp_path / "black.png"
    Image.new("L", (SIDE, SIDE)).save(path)
    return path


def with_card(bundle, folder, **changes):
    """Write a copy of a model with other values on its card."""
    shutil.copytree(bundle, folder)
    card = read_card(folder)
    card = with_threshold(card, changes.pop("threshold", card.threshold)).model_copy(update=changes)
    (folder / CARD_FILE).unlink()
    write_card(folder, card)
    return folder


def test_a_black_frame_that_the_model_calls_ok_goes_to_review_with_the_reason(trained_once, tmp_path, black):
    lenient = Inspector.load(with_card(trained_once.config().bundle_dir, tmp_path / "lenient", threshold=1.0))
    for found in (*lenient.inspect([black]), lenient.inspect_one(black.read_bytes())):
        assert found.verdict == "review"
        assert found.reason.startswith(REASON)
    (row,) = PyfuncModel(lenient).predict([black.read_bytes()]).to_dict("records")
    assert (row["verdict"], row["reason"]) == ("review", found.reason)


def test_a_defective_verdict_stays_and_carries_the_reason(trained_once, tmp_path, black):
    strict = with_card(trained_once.config().bundle_dir, tmp_path / "strict", threshold=0.0)
    found = Inspector.load(strict).inspect_one(black)
    assert found.verdict == "defective"
    assert found.reason.startswith(REASON)


def test_images_like_those_of_training_have_no_reason(inspector, paths, pixels):
    assert {found.reason for found in inspector.inspect(paths)} == {None}
    assert {found.reason for found in inspector.inspect(pixels)} == {None}


def test_noise_is_not_ok(inspector):
    noise = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    found = inspector.inspect_one(noise)
    assert found.verdict != "ok"
    assert found.reason


def test_a_file_of_another_shape_is_not_ok(inspector, paths, tmp_path):
    wide = tmp_path / "wide.png"
    with Image.open(paths[-1]) as image:
        image.resize((4 * SIDE, SIDE)).save(wide)
    found = inspector.inspect_one(wide)
    assert found.verdict != "ok"
    assert "width / height" in found.reason


def test_a_model_of_an_earlier_version_guards_nothing_and_goes_on(trained_once, tmp_path, black):
    earlier = with_card(
        trained_once.config().bundle_dir,
        tmp_path / "earlier",
        threshold=1.0,
        reference=None,
        novelty_limit=None,
    )
    found = Inspector.load(earlier).inspect_one(black)
    assert (found.verdict, found.reason) == ("ok", None)


def test_the_command_line_shows_the_reason_where_there_is_one(trained_once, tmp_path, paths, black, capsys):
    lenient = with_card(
        trained_once.config().bundle_dir, tmp_path / "lenient", threshold=1.0, novelty_limit=None
    )
    assert main(["inspect", "--model", str(lenient), "--json", str(paths[0]), str(black)]) == 0
    ordinary, odd = map(json.loads, capsys.readouterr().out.splitlines())
    assert "reason" not in ordinary
    assert odd["reason"].startswith(REASON)
    assert main(["inspect", "--model", str(lenient), str(paths[0]), str(black)]) == 0
    out = capsys.readouterr().out
    assert REASON in out
    assert "1 ok, 0 defective, 1 review" in out


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_the_camera_is_doubted_if_all_of_at_least_three_images_are_unlike_those_of_training(
    trained_once, tmp_path, paths, black, capsys, form
):
    odd = [black, *(shutil.copy(black, tmp_path / name) for name in ("b.png", "c.png"))]
    (broken := tmp_path / "broken.png").write_bytes(b"\x89PNG damaged")

    def said(*images) -> str:
        main(["inspect", "--model", str(trained_once.config().bundle_dir), *form, *map(str, images)])
        found = capsys.readouterr()
        if form:
            assert all(json.loads(line)["path"] for line in found.out.splitlines())
        return found.err if form else found.out

    assert "! 3 of 3 images are unlike the training images: check camera, light" in said(*odd, broken)
    assert "are unlike the training images: check" not in said(*odd, paths[0])
    assert "are unlike the training images: check" not in said(*odd[:2])


def test_an_image_that_is_too_novel_is_for_review_and_a_defective_verdict_stays(trained_once, tmp_path):
    strict = with_card(trained_once.config().bundle_dir, tmp_path / "strict", novelty_limit=-100.0)
    parts = [sample.path for sample in trained_once.samples()]
    usual = list(Inspector.load(trained_once.config().bundle_dir).inspect(parts))
    strange = list(Inspector.load(strict).inspect(parts))
    assert {one.verdict for one in usual} == {"ok", "defective"}
    assert [one.verdict for one in strange] == [
        "review" if one.verdict == "ok" else "defective" for one in usual
    ]
    said = {one.verdict: (one.reason or "")[:40] for one in strange}
    assert said == {"review": "unlike anything seen in training: novelt", "defective": ""}
    assert [one.novelty for one in strange] == [one.novelty for one in usual]


def test_what_has_a_defect_is_more_novel_than_ok_parts(trained_once):
    found = list(
        Inspector.load(trained_once.config().bundle_dir).inspect(s.path for s in trained_once.samples())
    )
    novelty = {label: [one.novelty for one in found if one.verdict == label] for label in ("ok", "defective")}
    assert max(novelty["ok"]) < min(novelty["defective"])


def test_a_model_of_an_earlier_version_measures_no_novelty_and_calls_nothing_unseen(trained_once, tmp_path):
    earlier = with_card(trained_once.config().bundle_dir, tmp_path / "earlier", novelty_limit=None)
    card = read_card(earlier)
    assert (card.unseen(1000.0, 0.0), card.unseen(None, 0.0)) == (None, None)
