"""The measurements and findings of the audit."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from defect_detection.data.audit.catalogue import KINDS, Severity
from defect_detection.data.audit.findings import find
from defect_detection.data.audit.material import Finding, Material
from defect_detection.data.audit.measure import MEASURED, measured
from defect_detection.data.pixels import decoded
from defect_detection.data.samples import Sample, Skipped, scan

DOCS = Path(__file__).parents[2] / "docs" / "audit.md"
SIZE = (64, 64)


def measure(samples: list[Sample], cache: Path, seen: list[tuple[int, int]] | None = None) -> np.ndarray:
    pixels, _ = decoded(samples, SIZE, cache)
    return measured(samples, pixels, cache, lambda *done: seen.append(done) if seen is not None else None)


def many(count: int, label: int = 0, first: int = 0) -> list[Sample]:
    kind = "hole" if label else ""
    return [
        Sample(Path(f"{label}/{n}.png"), label, kind, "", f"{n:064x}") for n in range(first, first + count)
    ]


def noise(samples: list[Sample]) -> np.ndarray:
    """Return measurements of ordinary images, no two alike."""
    random = np.random.default_rng(0)
    rows = np.zeros(len(samples), MEASURED)
    rows["width"], rows["height"], rows["darkest"], rows["brightest"] = 200, 100, 0.2, 0.8
    rows["sharpness"] = random.normal(6, 0.1, len(samples))
    rows["entropy"] = 7
    rows["hash"] = random.integers(0, 256, rows["hash"].shape)
    rows["thumbnail"] = random.integers(0, 256, rows["thumbnail"].shape)
    return rows


def look(train, test=(), rows=None, skipped=(), scores=None, anomaly=False, **options) -> dict[str, Finding]:
    """Return the findings by kind."""
    rows = noise([*train, *test]) if rows is None else rows
    material = Material(
        tuple(train), tuple(test), tuple(skipped), rows, scores or {}, are_anomaly_scores=anomaly
    )
    return {finding.kind.name: finding for finding in find(material, **options)}


ORDINARY = [*many(60), *many(60, label=1, first=60)]


def test_ordinary_data_has_no_findings():
    assert look(ORDINARY, [*many(60, first=200), *many(60, label=1, first=300)]) == {}


def test_a_second_run_measures_only_new_images(tmp_path, write_images):
    paths = write_images(tmp_path / "data" / "ok", 3)
    samples, _ = scan(tmp_path / "data", ["ok"])
    seen: list[tuple[int, int]] = []
    first = measure(samples, tmp_path / "cache", seen)
    write_images(tmp_path / "data" / "ok", 1)
    samples, _ = scan(tmp_path / "data", ["ok"])
    for path in paths:
        os.truncate(path, 0)  # what was measured isn't opened again
    again = measure(samples, tmp_path / "cache", seen)
    assert seen == [(3, 3), (4, 4)]
    assert (again[:3] == first).all()


def test_size_is_that_of_the_file_and_the_rest_of_what_the_model_sees(tmp_path):
    (tmp_path / "ok").mkdir()
    Image.new("RGB", (200, 100), (255, 255, 255)).save(tmp_path / "ok" / "white.png")
    (row,) = measure(scan(tmp_path, ["ok"])[0], tmp_path / "cache")
    assert (row["width"], row["height"]) == (200, 100)
    assert (row["darkest"], row["brightest"], row["sharpness"], row["entropy"]) == pytest.approx((1, 1, 0, 0))


def test_the_same_image_in_both_folders_blocks_and_can_be_let_through():
    test = [
        Sample(Path("test/copy.png"), 0, "", "", ORDINARY[5].sha256),
        *many(60, first=200),
        *many(60, 1, 300),
    ]
    finding = look(ORDINARY, test)["copies_across_splits"]
    assert finding.severity is Severity.BLOCKS
    assert [entry.paths for entry in finding.entries] == [(Path("0/5.png"), Path("test/copy.png"))]
    assert look(ORDINARY, test, allow_leakage=True)["copies_across_splits"].severity is Severity.ALLOWED


def test_a_group_in_both_folders_blocks():
    train = [*ORDINARY, Sample(Path("a.png"), 0, "", "part1", "a")]
    test = [*many(60, first=200), *many(60, 1, 300), Sample(Path("b.png"), 0, "", "part1", "b")]
    finding = look(train, test)["groups_across_splits"]
    assert finding.severity is Severity.BLOCKS
    assert [(entry.text, entry.paths) for entry in finding.entries] == [
        ("part1", (Path("a.png"), Path("b.png")))
    ]


def test_copies_are_told_by_whether_their_labels_agree():
    copy = Sample(Path("copy.png"), 0, "", "", ORDINARY[5].sha256)
    torn = Sample(Path("torn.png"), 1, "hole", "", ORDINARY[6].sha256)
    found = look([*ORDINARY, copy, torn])
    assert found.keys() == {"copies", "copies_across_labels"}
    assert found["copies"].summary == "1 copy of 1 image"
    assert found["copies_across_labels"].entries[0].text == "OK / defective"


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [
        ("dark", "brightest", 0.3),
        ("bright", "darkest", 0.96),
        ("blurry", "sharpness", 4.0),
        ("low_information", "entropy", 2.9),
        ("odd_size", "width", 320),
        ("odd_size", "height", 60),
    ],
)
def test_a_poor_image_among_ordinary_ones_is_named(kind, field, value):
    rows = noise(ORDINARY)
    rows[field][17] = value
    found = look(ORDINARY, rows=rows)
    assert found.keys() == {kind}
    assert [entry.paths for entry in found[kind].entries] == [(ORDINARY[17].path,)]


def test_data_that_is_blurred_throughout_has_no_blurry_image():
    rows = noise(ORDINARY)
    rows["sharpness"] -= 4
    assert look(ORDINARY, rows=rows) == {}


def test_an_image_out_of_focus_is_blurry(tmp_path, write_images):
    paths = write_images(tmp_path / "ok", 20, side=64)
    with Image.open(paths[4]) as image:
        image.filter(ImageFilter.GaussianBlur(2)).save(paths[4])
    samples, _ = scan(tmp_path, ["ok"])
    found = look(samples, rows=measure(samples, tmp_path / "cache"))
    assert [entry.paths for entry in found["blurry"].entries] == [(paths[4],)]


def deep(folder: Path, bits: int, count: int = 6, white: int | None = None) -> list[Sample]:
    """Write images of a camera that uses so many bits of 16."""
    random = np.random.default_rng(bits)
    (folder / "ok").mkdir(parents=True)
    for number in range(count):
        values = random.integers(0, 2**bits if white is None else white + 1, SIZE, dtype=np.uint16)
        Image.fromarray(values).save(folder / "ok" / f"{number}.png")
    return scan(folder, ["ok"])[0]


@pytest.mark.parametrize(("bits", "named"), [(9, 10), (10, 10), (12, 12), (13, 14), (14, 14)])
def test_few_bits_in_16_bit_files_are_named_and_not_called_dark(tmp_path, bits, named):
    samples = deep(tmp_path / "data", bits)
    found = look(samples, rows=measure(samples, tmp_path / "cache"))
    summary = f"6 of 6 images use {named} of 16 bits; set data.bit_depth: {named}"
    assert found["bit_depth"].summary == summary
    assert found["bit_depth"].entries[0].text == f"values below {2**bits}"
    assert not found.keys() & {"dark", "low_information"}


def test_one_bright_image_shows_that_all_16_bits_are_used(tmp_path):
    samples = [*deep(tmp_path / "dim", 12), *deep(tmp_path / "bright", 16, count=1)]
    found = look(samples, rows=measure(samples, tmp_path / "cache"))
    assert "bit_depth" not in found
    assert len(found["dark"].entries) == 6


def test_values_shifted_to_the_high_bits_need_no_bit_depth(tmp_path):
    (tmp_path / "ok").mkdir()
    values = np.random.default_rng(0).integers(0, 4096, SIZE, dtype=np.uint16) << 4
    Image.fromarray(values).save(tmp_path / "ok/0.png")
    samples = scan(tmp_path, ["ok"])[0]
    assert "bit_depth" not in look(samples, rows=measure(samples, tmp_path / "cache"))


def test_a_bit_depth_that_is_set_is_believed_and_measured_with(tmp_path):
    samples = deep(tmp_path / "data", 12)
    pixels, unreadable = decoded(samples, SIZE, tmp_path / "cache", bit_depth=12)
    rows = measured(samples, pixels, tmp_path / "cache")
    assert (unreadable, look(samples, rows=rows)["imbalance"].summary) == (
        {},
        "0 of 6 train images defective",
    )
    assert rows["brightest"].min() > 0.9
    _, unreadable = decoded(samples, SIZE, tmp_path / "cache", bit_depth=10)
    assert len(unreadable) == 6
    assert "expected values from 0 to 1023 (data.bit_depth: 10)" in next(iter(unreadable.values()))


@pytest.mark.parametrize(("ok", "defective", "summary"), [
    (60, 29, "29 of 89 train images defective"),
    (29, 60, "29 of 89 train images OK"),
    (400, 40, "40 of 440 train images defective"),
    (360, 40, None),
])  # fmt: skip
def test_a_rare_class_is_named(ok, defective, summary):
    found = look([*many(ok), *many(defective, 1, first=1000)])
    assert (found["imbalance"].summary if found else None) == summary


def test_a_label_is_suspect_when_the_held_out_score_contradicts_it_strongly():
    scores = {sample.sha256: 0.9 if sample.label else 0.1 for sample in ORDINARY}
    assert look(ORDINARY, scores=scores) == {}
    scores |= {ORDINARY[3].sha256: 0.97, ORDINARY[70].sha256: 0.02, ORDINARY[4].sha256: 0.7}
    finding = look(ORDINARY, scores=scores)["label_suspects"]
    assert finding.summary == "2 labels of 120 contradicted by the model"
    assert [(entry.paths[0], entry.text) for entry in finding.entries] == [
        (ORDINARY[70].path, "labelled defective · score 0.020"),
        (ORDINARY[3].path, "labelled OK · score 0.970"),
    ]


def test_ok_images_far_above_the_usual_anomaly_score_are_listed_highest_first():
    ok, rng = [sample for sample in ORDINARY if not sample.label], np.random.default_rng(0)
    usual = 1 / (1 + np.exp(4 - rng.normal(0, 1, len(ok)).clip(-2, 2)))  # 4 standard deviations below 0.5
    scores = {sample.sha256: float(score) for sample, score in zip(ok, usual, strict=True)}
    assert "unlike_the_others" not in look(ok, scores=scores, anomaly=True)
    defective = next(sample for sample in ORDINARY if sample.label)
    scores |= {ok[5].sha256: 0.8, ok[9].sha256: 0.99, defective.sha256: 0.01}
    found = look([*ok, defective], scores=scores, anomaly=True)
    finding = found["unlike_the_others"]
    assert "label_suspects" not in found, "an anomaly score is no probability"
    assert finding.severity is Severity.WARNING
    assert [entry.paths[0] for entry in finding.entries] == [ok[9].path, ok[5].path]
    assert finding.entries[0].text == "labelled OK · anomaly score 0.990"


def test_unreadable_files_are_listed_with_the_reason():
    finding = look(ORDINARY, skipped=[Skipped(Path("broken.png"), "empty file (0 bytes)")])["unreadable"]
    assert [(entry.paths[0].name, entry.text) for entry in finding.entries] == [
        ("broken.png", "empty file (0 bytes)")
    ]


def test_files_that_are_left_out_block_where_the_settings_refuse_them():
    skipped = [
        Skipped(Path("a.heic"), "no image"),
        Skipped(Path("b.HEIC"), "no image"),
        Skipped(Path("c.gif"), "no image"),
    ]
    finding = look(ORDINARY, skipped=skipped)["unreadable"]
    assert (finding.severity, finding.summary) == (Severity.WARNING, "3 files left out (1 .gif, 2 .heic)")
    refused = look(ORDINARY, skipped=skipped, refuse_unreadable=True, allow_leakage=True)["unreadable"]
    assert refused.severity is Severity.BLOCKS


def test_masks_among_the_images_block_also_where_leakage_is_allowed():
    material = Material(
        tuple(ORDINARY), (), (), noise(ORDINARY), {}, masks=(Path("0_mask.png"), Path("1_mask.png"))
    )
    finding = find(material, allow_leakage=True)[0]
    assert finding.severity is Severity.BLOCKS
    assert finding.summary == "2 files look like masks of the images beside them"


def test_the_worst_comes_first():
    test = [Sample(Path("test/copy.png"), 0, "", "", ORDINARY[5].sha256)]
    kinds = list(look(ORDINARY, test, skipped=[Skipped(Path("broken.png"), "empty")]))
    assert kinds == ["copies_across_splits", "unreadable", "imbalance"]


def test_every_kind_is_documented():
    text = DOCS.read_text(encoding="utf-8")
    assert [kind.title for kind in KINDS.values() if kind.title not in text] == []


REAL_DATA = Path(__file__).parents[2] / ".." / "shared" / "data"


@pytest.mark.skipif(not REAL_DATA.is_dir(), reason="no ../shared/data beside the repository")
def test_one_spot_on_both_sides_of_a_random_split_is_noticed(tmp_path):
    paths = sorted((REAL_DATA / "magnetic_tile" / "train" / "defective").glob("crack*.jpg"))
    for place, path in enumerate(paths):
        folder = tmp_path / ("test" if place % 3 == 0 else "train") / "crack"
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, folder)
    train, test = (scan(tmp_path / side, ["ok"])[0] for side in ("train", "test"))
    found = look(train, test, rows=measure([*train, *test], tmp_path / "cache"))
    assert len(found["near_across_splits"].entries) >= 3
