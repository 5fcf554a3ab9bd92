import hashlib
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from defect_detection.data.leakage import check_leakage
from defect_detection.data.samples import Sample, scan
from defect_detection.errors import DataError
from defect_detection.synthetic.camera import expose
from defect_detection.synthetic.flaws import FLAWS
from defect_detection.synthetic.lines import LINES
from defect_detection.synthetic.sample_data import Shot, take, write_sample_data

SIZE = 64
SMALL = {"n_train": 48, "n_test": 24, "size": SIZE}


def contents(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sample") / "data"
    write_sample_data(folder, **SMALL)
    return folder


@pytest.fixture(scope="module")
def splits(data: Path) -> tuple[list[Sample], list[Sample]]:
    (train, skipped), (test, also_skipped) = (scan(data / split, ["ok"]) for split in ("train", "test"))
    assert not skipped and not also_skipped
    return train, test


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path, data):
    write_sample_data(tmp_path / "again", **SMALL)
    write_sample_data(tmp_path / "other", seed=1, **SMALL)
    assert contents(tmp_path / "again") == contents(data)
    assert not set(contents(tmp_path / "other").values()) & set(contents(data).values())


def test_a_third_is_defective_and_every_line_has_its_share(splits):
    for samples, n_images in zip(splits, (48, 24), strict=True):
        assert len(samples) == n_images
        assert sum(sample.label for sample in samples) == n_images // 3
        lines = Counter(sample.group.split("-")[0] for sample in samples)
        assert len(lines) == 3 and lines.keys() <= {line.name for line in LINES}
        assert min(lines.values()) > n_images / len(lines) * 0.7


def test_images_are_labelled_by_folder_and_index_alike(data, splits, tmp_path):
    bare = tmp_path / "bare"
    (data / "train").rename(bare)
    try:
        by_folder, _ = scan(bare, ["ok"])
    finally:
        bare.rename(data / "train")
    assert [(s.path.name, s.label, s.defect_type) for s in by_folder] == [
        (s.path.name, s.label, s.defect_type) for s in splits[0]
    ]


def test_groups_never_straddle_and_some_parts_are_photographed_twice(splits):
    check_leakage(*splits)
    for samples in splits:
        labels: dict[str, set[int]] = {}
        for sample in samples:
            labels.setdefault(sample.group, set()).add(sample.label)
        assert all(len(found) == 1 for found in labels.values())
        assert max(Counter(sample.group for sample in samples).values()) == 2


def test_defective_images_have_a_mask_of_their_size_and_ok_images_none(splits):
    for sample in [*splits[0], *splits[1]]:
        assert (sample.mask is not None) == bool(sample.label)
        if sample.mask:
            mask = np.asarray(Image.open(sample.mask))
            assert mask.shape == (SIZE, SIZE) and set(np.unique(mask)) == {0, 255}


def test_a_mask_lies_where_the_flaw_changed_the_image():
    shots = [
        Shot("train", line, part, flaw, 1, seed=3)
        for line in LINES
        for flaw in line.flaws
        for part in range(3)
    ]
    for shot in shots:
        flawed, flawless = take(shot, SIZE), take(replace(shot, flaw=""), SIZE)
        assert flawed.mask is not None and flawless.mask is None
        change = np.abs(flawed.image.astype(int) - flawless.image).max(-1)
        assert change[flawed.mask].mean() > 8
        assert change[flawed.mask].mean() > 4 * change[~flawed.mask].mean()


def test_a_second_image_shows_the_same_part_in_other_light_and_noise():
    for line in LINES:
        first, second, other = (
            take(Shot("train", line, part, "", number, seed=0), SIZE).image.astype(float).ravel()
            for part, number in ((1, 1), (1, 2), (2, 1))
        )
        assert (first != second).mean() > 0.5
        assert np.corrcoef(first, second)[0, 1] > np.corrcoef(first, other)[0, 1]


@pytest.mark.parametrize("line", LINES, ids=lambda line: line.name)
def test_every_line_and_flaw_is_finite_for_any_seed(line):
    for seed in range(6):
        rng = np.random.default_rng(seed)
        part = line.build(rng, SIZE)
        for damaged in (part, *(FLAWS[flaw](rng, part, rng.uniform(0.2, 1)) for flaw in line.flaws)):
            image = expose(damaged, line.light)
            assert image.shape == (SIZE, SIZE, 3) and image.dtype == np.float32
            assert np.isfinite(image).all()


def test_writing_again_does_nothing(data):
    before = {path: path.stat().st_mtime_ns for path in data.rglob("*")}
    steps: list[int] = []
    summary = write_sample_data(data, **SMALL, on_progress=lambda done, total: steps.append(done))
    assert not summary.written and steps == []
    assert sum(summary.train.values()) == 48 and summary.test["ok"] == 16
    assert {path: path.stat().st_mtime_ns for path in data.rglob("*")} == before


def test_sample_data_of_other_arguments_is_replaced(tmp_path):
    folder = tmp_path / "data"
    write_sample_data(folder, n_train=6, n_test=3, size=32)
    summary = write_sample_data(folder, n_train=9, n_test=3, size=32)
    assert summary.written and sum(summary.train.values()) == 9
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


@pytest.mark.parametrize("own", ["train/ok/mine.jpg", "train/ok/ring-001-1.jpg"])
def test_a_folder_with_files_of_others_is_left_alone(tmp_path, own):
    folder = tmp_path / "data"
    (folder / own).parent.mkdir(parents=True)
    (folder / own).write_bytes(b"mine")
    with pytest.raises(DataError, match="are not sample data"):
        write_sample_data(folder, n_train=6, n_test=3, size=32)
    assert contents(folder).keys() == {own}


def test_sample_data_with_files_added_or_removed_is_left_alone(tmp_path):
    folder = tmp_path / "data"
    write_sample_data(folder, n_train=6, n_test=3, size=32)
    (folder / "train" / "ok" / "mine.jpg").write_bytes(b"mine")
    with pytest.raises(DataError, match=r"mine\.jpg"):
        write_sample_data(folder, n_train=9, n_test=3, size=32)
    (folder / "train" / "ok" / "mine.jpg").unlink()
    removed = next((folder / "train" / "ok").iterdir())
    removed.unlink()
    with pytest.raises(DataError, match=removed.name):
        write_sample_data(folder, n_train=6, n_test=3, size=32)


def test_nothing_is_left_of_an_interrupted_writing(tmp_path):
    def interrupt(done: int, total: int) -> None:
        if done == total:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_sample_data(tmp_path / "data", n_train=6, n_test=3, size=32, on_progress=interrupt)
    assert list(tmp_path.iterdir()) == []
