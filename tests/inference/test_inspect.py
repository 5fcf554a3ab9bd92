"""An inspector over many images: in order, lazily, in bounded memory, whatever happens in between."""

import io
import itertools
import os
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest
from PIL import Image
from plant import SIDE
from waiting import LIMIT_S

from defect_detection.data.bounds import Limits
from defect_detection.inference.inspect import Inspector
from defect_detection.inference.runtime import FEW

MOST_AHEAD = 50 + 4 * (
    os.cpu_count() or 1
)  # images that are read before their verdict is out: decoding, and running


def scores(inspections) -> list[float]:
    return [inspection.score for inspection in inspections]


def test_an_image_scores_the_same_alone_and_among_many(inspector, trained_once, paths):
    assert len(paths) > FEW
    together = list(inspector.inspect(paths))
    alone = Inspector.load(trained_once.config().bundle_dir)
    for path, among_many in zip(paths[::5], together[::5], strict=True):
        (single,) = alone.inspect([path])
        assert single.score == pytest.approx(among_many.score, abs=1e-6)
        np.testing.assert_allclose(single.evidence, among_many.evidence, atol=1e-4)


def test_verdicts_come_in_the_order_of_the_images(inspector, paths):
    mixed = paths[::-1] * 3
    assert [inspection.path for inspection in inspector.inspect(mixed)] == [str(path) for path in mixed]
    assert scores(inspector.inspect(mixed)) == pytest.approx(
        scores(inspector.inspect(paths))[::-1] * 3, abs=1e-6
    )


def test_an_endless_generator_is_read_only_a_little_ahead(inspector, paths):
    read = itertools.count()
    images = (paths[next(read) % len(paths)] for _ in itertools.repeat(None))
    for done, _ in zip(range(1, 301), inspector.inspect(images), strict=False):
        last = done
    assert last == 300
    assert next(read) <= 301 + MOST_AHEAD


def test_nothing_gives_nothing(inspector):
    assert list(inspector.inspect([])) == []


def test_paths_bytes_and_arrays_score_the_same(inspector, paths, pixels):
    path, array = paths[0], pixels[0]
    read_only = array.copy()
    read_only.flags.writeable = False
    turned_twice = np.ascontiguousarray(array[::-1, ::-1])[::-1, ::-1]
    found = list(inspector.inspect([path, path.read_bytes(), array, read_only, turned_twice]))
    assert [inspection.path for inspection in found[:3]] == [str(path), "image 1", "image 2"]
    assert scores(found) == pytest.approx([found[0].score] * 5, abs=1e-6)


def test_corrupt_images_get_their_error_and_the_others_their_verdicts(inspector, paths, tmp_path):
    cut = tmp_path / "cut.png"
    cut.write_bytes(paths[0].read_bytes()[:200])
    images = [cut, paths[0], b"no image", tmp_path / "missing.png", *paths[1:70], cut]
    found = list(inspector.inspect(images))
    assert [i for i, inspection in enumerate(found) if inspection.error] == [0, 2, 3, len(images) - 1]
    assert "cut.png: " in found[0].error
    assert (found[0].score, found[0].verdict, found[0].evidence) == (None, None, None)
    readable = [inspection for inspection in found if not inspection.error]
    assert scores(readable) == pytest.approx(scores(inspector.inspect(paths[:70])), abs=1e-6)


@pytest.mark.parametrize(
    "wrong", [np.zeros((SIDE, SIDE + 1, 3), np.uint8), np.zeros((SIDE, SIDE, 3), np.float32)]
)
def test_an_array_of_another_shape_or_type_is_an_error_of_that_image(inspector, pixels, wrong):
    right, refused = inspector.inspect([pixels[0], wrong])
    assert right.error is None
    assert f"expected a uint8 array of shape ({SIDE}, {SIDE}, 3)" in refused.error


def test_evidence_maps_are_kept_by_who_holds_them(inspector, pixels):
    first, second = inspector.inspect([pixels[0], pixels[-1]])
    before = first.evidence.copy()
    assert not np.array_equal(before, second.evidence)
    list(inspector.inspect(list(pixels)))
    np.testing.assert_array_equal(first.evidence, before)


def test_two_series_in_turns_do_not_mix(inspector, paths):
    pairs = zip(inspector.inspect(paths), inspector.inspect(paths[::-1]), strict=True)
    forwards, backwards = zip(*pairs, strict=True)
    assert scores(forwards) == pytest.approx(scores(backwards)[::-1], abs=1e-6)


def test_threads_may_share_an_inspector(inspector, pixels):
    expected = inspector.score(pixels)["score"]
    found: dict[int, np.ndarray] = {}
    threads = [
        threading.Thread(target=lambda n=n: found.update({n: inspector.score(pixels[n:])["score"]}))
        for n in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for start, part in found.items():
        np.testing.assert_allclose(part, expected[start:], atol=1e-6)
    assert len(found) == 4


def test_stopping_early_leaves_no_thread(inspector, paths):
    before = set(threading.enumerate())
    inspections = inspector.inspect(itertools.cycle(paths))
    next(inspections)
    inspections.close()
    assert set(threading.enumerate()) <= before


def test_an_error_of_the_callers_generator_comes_through(inspector, paths):
    def images():
        yield from paths[:10]
        raise OSError("camera unplugged")

    before = set(threading.enumerate())
    with pytest.raises(OSError, match="camera unplugged"):
        list(inspector.inspect(images()))
    assert set(threading.enumerate()) <= before


ENDLESS = """
import itertools, sys, threading
from pathlib import Path
from defect_detection.inference.inspect import Inspector
try:
    for number, _ in enumerate(Inspector.load(Path(sys.argv[1])).inspect(itertools.repeat(Path(sys.argv[2])))):
        if number in (0, 200):
            print("inspecting", flush=True)
except KeyboardInterrupt:
    print([thread.name for thread in threading.enumerate()])
"""


def test_ctrl_c_ends_a_series_and_its_threads(trained_once, paths):
    command = [sys.executable, "-c", ENDLESS, trained_once.config().bundle_dir, paths[0]]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert [process.stdout.readline() for _ in range(2)] == ["inspecting\n"] * 2
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=LIMIT_S)
    finally:
        process.kill()
    assert (output, errors, process.returncode) == ("['MainThread']\n", "", 0)


def test_a_larger_image_than_allowed_is_refused(inspector):
    Image.new("L", (100, 100)).save(buffer := io.BytesIO(), "png")
    (refused,) = inspector.inspect([buffer.getvalue()], limits=Limits(9_999))
    assert "at most 9999 pixels" in refused.error


def views(paths, *numbers: int) -> bytes:
    """Return a TIFF whose pages are these images."""
    first, *others = (Image.open(paths[number]) for number in numbers)
    buffer = io.BytesIO()
    first.save(buffer, "TIFF", save_all=True, append_images=others)
    return buffer.getvalue()


def test_every_page_is_judged_and_the_worst_decides(inspector, paths, tmp_path):
    singles = list(inspector.inspect(paths))
    order = sorted(range(len(paths)), key=lambda n: singles[n].score)
    best, middle, worst = order[0], order[len(order) // 2], order[-1]
    path = tmp_path / "views.tif"
    path.write_bytes(views(paths, best, worst, middle))
    images = [paths[best], path, paths[middle], b"no image", path.read_bytes()]
    found = list(inspector.inspect(images, pages="all"))
    assert [(one.page, one.pages) for one in found] == [(1, 1), (2, 3), (1, 1), (1, 1), (2, 3)]
    for one in (found[1], found[4], inspector.inspect_one(path, pages="all")):
        assert one.score == pytest.approx(singles[worst].score, abs=1e-6)
        assert one.verdict == singles[worst].verdict == "defective"
        np.testing.assert_allclose(one.evidence, singles[worst].evidence, atol=1e-4)
    assert found[1].to_json() | {"latency_ms": 0} == singles[worst].to_json() | {
        "path": str(path), "score": found[1].score, "latency_ms": 0, "page": 2, "pages": 3,
    }  # fmt: skip
    assert "page" not in found[0].to_json()


def test_pages_are_refused_by_default_and_the_first_is_taken_where_asked_for(inspector, paths):
    data = views(paths, 0, 79)
    (refused,) = inspector.inspect([data])
    assert refused.verdict is None
    assert "2 pages; data.pages says refuse" in refused.error
    (first,) = inspector.inspect([data], pages="first")
    (alone,) = inspector.inspect([paths[0]])
    assert (first.score, first.pages) == (pytest.approx(alone.score, abs=1e-6), 1)


def test_the_bit_depth_of_the_model_is_applied(inspector, paths, tmp_path):
    """The same part in 8 bits, and in 12 of 16, has the same score with a model that was trained on 12 bits."""
    values = np.asarray(Image.open(paths[0])).astype(np.uint32)
    path = tmp_path / "deep.png"
    Image.fromarray(((values * 4095 + 254) // 255).astype(np.uint16)).save(path)
    card = inspector.card.model_copy(update={"bit_depth": 12})
    deep = Inspector(inspector._runtime, card, "deep")
    found = [next(deep.inspect([path])), deep.inspect_one(path.read_bytes())]
    (expected,) = inspector.inspect([paths[0]])
    assert scores(found) == pytest.approx([expected.score] * 2, abs=1e-6)
    Image.fromarray((values + 4096).astype(np.uint16)).save(path)
    assert "expected values from 0 to 4095 (data.bit_depth: 12)" in deep.inspect_one(path).error
