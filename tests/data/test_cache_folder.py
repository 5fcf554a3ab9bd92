import gc
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from defect_detection.cli import main
from defect_detection.data.cache import RowStore
from defect_detection.data.cache_folder import bound, clear, contents
from defect_detection.errors import ConfigError

ROW_BYTES = 1000
MB = 1e-3  # in GB


def fill(folder: Path, n_rows: int, last_used: float, side: int = ROW_BYTES) -> Path:
    """Write a store that nobody has open, used so many seconds after 1970; return its rows."""
    store = RowStore(folder, (side,), np.uint8)
    store.append([str(number) for number in range(n_rows)], np.zeros((n_rows, side), np.uint8))
    (keys,) = folder.glob(f"{side}-*.keys")
    rows = keys.with_suffix(".rows")
    for path in (keys, rows):
        os.utime(path, (last_used, last_used))
    return rows


@pytest.fixture(scope="module", autouse=True)
def _only_new_objects() -> None:
    """Have each look for garbage from here on leave out what was there before: with TensorFlow loaded that takes a second."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """Half a megabyte of pixels, used last; two trunks of one and two megabytes; a fetched model."""
    folder = tmp_path / "cache"
    fill(folder / "pixels" / "v1", 500, 3000)
    fill(folder / "activations" / "older" / "cells", 1000, 1000)
    fill(folder / "activations" / "newer" / "cells", 2000, 2000)
    for name in ("older", "newer"):
        graph = folder / "activations" / name / "model.xml"
        graph.write_text("<net/>")
        os.utime(graph, (500, 500))
    (folder / "models" / "Production_Reg-1").mkdir(parents=True)
    (folder / "models" / "Production_Reg-1" / "inspector.json").write_text("{}")
    gc.collect()
    return folder


def held(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*.rows")}


def sizes(folder: Path) -> dict[str, int]:
    return {kind.name: len(kind.entries) for kind in contents(folder)}


def test_a_cache_within_its_limit_stays(cache):
    assert bound(cache, 4 * MB) == bound(cache, None) == 0
    assert sizes(cache) == {"pixels": 1, "activations": 2, "models": 1}


def test_the_least_recently_used_goes_first_with_its_graph(cache):
    assert bound(cache, 2.9 * MB) > 1_000_000
    assert held(cache) == {"activations/newer/cells/1000-uint8.rows", "pixels/v1/1000-uint8.rows"}
    assert not (cache / "activations" / "older" / "model.xml").exists()


def test_reading_counts_as_using(cache):
    RowStore(cache / "activations" / "older" / "cells", (ROW_BYTES,), np.uint8).rows(["0"])
    gc.collect()
    bound(cache, 2 * MB)
    assert "activations/older/cells/1000-uint8.rows" in held(cache)
    assert "activations/newer/cells/1000-uint8.rows" not in held(cache)


def test_what_is_in_use_stays_even_above_the_limit(cache):
    stored, positions = RowStore(cache / "activations" / "older" / "cells", (ROW_BYTES,), np.uint8).view(
        ["7"]
    )
    part = stored[1:9]
    bound(cache, 1e-6)
    assert held(cache) == {"activations/older/cells/1000-uint8.rows"}
    assert stored[positions].shape == (1, ROW_BYTES)
    del stored
    gc.collect()
    assert bound(cache, 1e-6) == 0, "a part of the view is still there"
    del part
    gc.collect()
    assert bound(cache, 1e-6) > 0
    assert held(cache) == set()


HOLDER = """
import sys, time, numpy as np
from pathlib import Path
from defect_detection.data.cache import RowStore
view = RowStore(Path(sys.argv[1]), (1000,), np.uint8).view(["3"])
print("open", flush=True)
time.sleep(600)
"""


def test_a_store_of_another_process_stays_until_that_is_killed(cache):
    folder = cache / "activations" / "older" / "cells"
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(folder)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "open\n"
        freed, in_use = clear(cache)
        assert (freed > 2_000_000, in_use) == (True, [cache / "activations" / "older"])
        assert held(cache) == {"activations/older/cells/1000-uint8.rows"}
    finally:
        holder.kill()
        holder.communicate()
    assert list(folder.glob("*.in-use-*")), "killed, it could not take its mark away"
    assert clear(cache)[1] == []
    assert held(cache) == set()
    assert not list(folder.glob("*.in-use-*"))


TRAINER = """
import sys, numpy as np
from pathlib import Path
from defect_detection.data.cache import RowStore
from defect_detection.data.cache_folder import bound
for turn in range(40):
    store = RowStore(Path(sys.argv[1]) / "pixels" / "v1", (1000,), np.uint8)
    keys = [str(n) for n in range(turn, turn + 20)]
    rows = np.stack([np.full(1000, int(key) % 251, np.uint8) for key in keys])
    store.append([key for key in keys], rows)
    stored, positions = store.view(keys)
    assert (stored[positions] == rows).all(), turn
    del store, stored
    bound(Path(sys.argv[1]), 1e-5)
"""


def test_processes_that_fill_and_bound_one_cache_never_read_a_wrong_row(tmp_path):
    """The limit is far below what each needs, so stores come and go under the others."""
    trainers = [subprocess.Popen([sys.executable, "-c", TRAINER, str(tmp_path)]) for _ in range(3)]
    assert [trainer.wait() for trainer in trainers] == [0, 0, 0]


def test_a_removed_store_starts_again_empty(cache):
    folder = cache / "pixels" / "v1"
    clear(cache, ["pixels"])
    store = RowStore(folder, (ROW_BYTES,), np.uint8)
    assert (len(store), store.missing(["0"])) == (0, ["0"])
    store.append(["0"], np.full((1, ROW_BYTES), 9, np.uint8))
    assert store.rows(["0"])[0, 0] == 9


@pytest.mark.parametrize("left", ["rows", "keys"])
def test_what_a_killed_removal_leaves_is_read_as_empty_or_whole(cache, left):
    """Keys go first: rows alone are an empty store. Keys alone can't be left behind."""
    folder = cache / "pixels" / "v1"
    keys, rows = next(folder.glob("*.keys")), next(folder.glob("*.rows"))
    if left == "rows":
        keys.unlink()
        assert len(RowStore(folder, (ROW_BYTES,), np.uint8)) == 0
        assert sizes(cache)["pixels"] == 1, "its space is still counted"
    clear(cache, ["pixels"])
    assert not rows.exists() and not keys.exists()


def test_clearing_takes_the_kinds_that_are_named(cache):
    clear(cache, ["models"])
    assert sizes(cache) == {"pixels": 1, "activations": 2, "models": 0}
    with pytest.raises(ConfigError, match=r"expected one of: .*pixels.*, received 'pixel'"):
        clear(cache, ["pixel"])


def test_a_model_that_is_being_fetched_stays(cache):
    fetching = cache / "models" / ".incomplete-x"
    fetching.mkdir()
    (fetching / "model.bin").write_bytes(b"half")
    assert clear(cache, ["models"])[1] == [fetching]
    os.utime(fetching / "model.bin", (0, 0))
    assert clear(cache, ["models"])[1] == []


def test_the_command_shows_and_clears(cache, capsys):
    config = cache.parent / "config.yaml"
    config.write_text("cache_max_gb: 7\ntraining: {hyperparameter_sets: [{name: a}]}\n")
    assert main(["cache", "--config", str(config)]) == 0
    shown = capsys.readouterr().out
    rows = {line.split()[0]: line.split()[1:4] for line in shown.splitlines()[1:]}
    assert rows["activations"] == ["2", "3.0", "MB"]
    assert rows["total"] == ["4", "3.5", "MB"]
    assert "(cache_max_gb): 7 GB; in use: 3.5 MB" in shown
    assert main(["cache", "clear", "pixels", "--config", str(config)]) == 0
    assert sizes(cache) == {"pixels": 0, "activations": 2, "models": 1}
    assert main(["cache", "clear", "--config", str(config)]) == 0
    assert sizes(cache) == {"pixels": 0, "activations": 0, "models": 1}
    assert main(["cache", "clear", "pixel", "--config", str(config)]) == 3


def test_a_cache_that_is_not_there_is_empty(tmp_path):
    assert contents(tmp_path / "none") == []
    assert bound(tmp_path / "none", 1) == 0
    assert clear(tmp_path / "none") == (0, [])


def test_the_mark_of_a_killed_process_goes_when_the_next_one_uses_the_store(tmp_path):
    fill(tmp_path, 1, 1000)
    left = tmp_path / f"{ROW_BYTES}-uint8.in-use-1-0"
    left.write_text("")
    kept = RowStore(tmp_path, (ROW_BYTES,), np.uint8)
    assert (len(kept), left.exists()) == (1, False)
    assert len(list(tmp_path.glob("*.in-use-*"))) == 1
