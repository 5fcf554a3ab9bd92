"""Damaged rows of the cache are computed again, and no wrong data is read."""

from pathlib import Path

import numpy as np
import pytest
from done_once import compiled_once  # noqa: F401  fixture

from defect_detection.data.cache import RowStore
from defect_detection.data.split import load_splits
from defect_detection.model.bundle import read_card, read_held_out
from defect_detection.training.bundling import describe, held_out
from defect_detection.training.trial import run_trial

KEYS = [f"{number:064x}" for number in range(8)]
ROWS = np.random.default_rng(0).integers(0, 255, (8, 4, 5), dtype=np.uint8)


def opened(folder: Path) -> RowStore:
    return RowStore(folder, ROWS.shape[1:], ROWS.dtype)


def flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 0xFF
    path.write_bytes(content)


def put_folder(path: Path) -> None:
    path.unlink()
    (path / "something").mkdir(parents=True)


DAMAGES = {
    "a byte": lambda path: flip(path, path.stat().st_size // 2),
    "the first byte": lambda path: flip(path, 0),
    "cut": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 3]),
    "empty": lambda path: path.write_bytes(b""),
    "garbage": lambda path: path.write_bytes(bytes(range(256))[::-1] * 3),
    "gone": lambda path: path.unlink(),
    "a folder": put_folder,
    "a line too many": lambda path: path.write_bytes(b"\n" + path.read_bytes()),
}


@pytest.mark.parametrize("end", [".rows", ".keys"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_store_is_made_again_and_gives_the_same_rows(tmp_path, end, damage):
    opened(tmp_path).append(KEYS, ROWS)
    DAMAGES[damage](next(tmp_path.glob(f"*{end}")))
    store = opened(tmp_path)
    missing = store.missing(KEYS)
    assert missing
    store.append(missing, ROWS[[KEYS.index(key) for key in missing]])
    for reader in (store, opened(tmp_path)):
        np.testing.assert_array_equal(reader.rows(KEYS), ROWS)
        assert reader.missing(KEYS) == []


def test_only_the_damaged_row_is_made_again_and_one_line_says_so(tmp_path, caplog):
    opened(tmp_path).append(KEYS, ROWS)
    flip(next(tmp_path.glob("*.rows")), 3 * ROWS[0].nbytes + 1)
    assert opened(tmp_path).missing(KEYS) == [KEYS[3]]
    (said,) = caplog.messages
    assert "1 of 8 rows are damaged; they are computed again" in said


def test_rows_of_an_earlier_version_are_made_again_without_a_word(tmp_path, caplog):
    opened(tmp_path).append(KEYS, ROWS)
    keys = next(tmp_path.glob("*.keys"))
    keys.write_text("".join(f"{key}\n" for key in KEYS))
    store = opened(tmp_path)
    assert (store.missing(KEYS), len(store)) == (KEYS, 0)
    store.append(KEYS, ROWS)
    np.testing.assert_array_equal(opened(tmp_path).rows(KEYS), ROWS)
    assert caplog.messages == []


def test_training_on_a_damaged_cache_gives_the_scores_of_a_whole_one(plant):
    """The set whose model is kept has both branches, so it reads every store of the cache."""
    config = plant.config()
    (kept,) = [one for one in config.training.hyperparameter_sets if one.name == "both"]
    card, scores = read_card(config.bundle_dir), read_held_out(config.bundle_dir)
    assert card.name == kept.name
    damaged = [*plant.cached(), *plant.root.glob("cache/activations/**/model.bin")]
    assert len(damaged) > 3
    for path in damaged:
        content = np.frombuffer(path.read_bytes(), np.uint8).copy()
        content[:: max(1, len(content) // 500)] ^= 0x5A
        path.write_bytes(content.tobytes())
    splits = load_splits(config)
    trial = run_trial(config.training.resolved(kept), splits, config, lambda *_: None)
    assert held_out(trial) == pytest.approx(scores, abs=1e-4) and len(scores) > 10
    assert describe(trial, splits, config).reference == card.reference
