import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from other_user import bound_by_permissions

from defect_detection.data.cache import RowStore, scratch
from defect_detection.errors import DataError

SHAPE = (2, 3)


def store_in(folder: Path) -> RowStore:
    return RowStore(folder, SHAPE, np.float32)


def rows_of(*values: float) -> np.ndarray:
    return np.stack([np.full(SHAPE, value, np.float32) for value in values])


def first_values(store: RowStore, keys: list[str]) -> list[float]:
    return [float(value) for value in store.rows(keys)[:, 0, 0]]


def files_of(folder: Path) -> tuple[Path, Path]:
    return next(folder.glob("*.rows")), next(folder.glob("*.keys"))


def test_rows_come_back_by_key_in_the_order_asked_for(tmp_path):
    store_in(tmp_path).append(["a", "b", "c"], rows_of(1, 2, 3))
    store = store_in(tmp_path)
    assert len(store) == 3
    assert first_values(store, ["c", "a", "c"]) == [3, 1, 3]
    assert store.rows([]).shape == (0, *SHAPE)


def test_missing_keeps_the_order_and_names_each_once(tmp_path):
    store = store_in(tmp_path)
    assert store.missing(["b", "a", "b"]) == ["b", "a"]
    store.append(["a"], rows_of(1))
    assert store.missing(["b", "a", "b"]) == ["b"]


def test_view_maps_rows_without_loading_them(tmp_path):
    store = store_in(tmp_path)
    store.append(["a", "b"], rows_of(1, 2))
    stored, positions = store.view(["b"])
    assert isinstance(stored, np.memmap)
    assert (positions.dtype, list(positions)) == (np.int64, [1])
    np.testing.assert_array_equal(stored[positions], rows_of(2))


def test_key_without_a_row_is_an_error(tmp_path):
    with pytest.raises(KeyError, match="nowhere"):
        store_in(tmp_path).rows(["nowhere"])


def test_the_first_row_of_a_key_stays(tmp_path):
    store = store_in(tmp_path)
    store.append(["a", "b"], rows_of(1, 2))
    store_in(tmp_path).append(["b", "c", "c"], rows_of(20, 3, 3))
    assert first_values(store, ["a", "b", "c"]) == [1, 2, 3]
    assert len(store) == 3


def test_wrong_shape_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"expected rows of shape \(2, 2, 3\), received \(1, 2, 3\)"):
        store_in(tmp_path).append(["a", "b"], rows_of(1))


def test_stores_of_other_shapes_and_types_share_a_folder(tmp_path):
    store_in(tmp_path).append(["a"], rows_of(1))
    other = RowStore(tmp_path, SHAPE, np.uint8)
    assert other.missing(["a"]) == ["a"]
    other.append(["a"], rows_of(7).astype(np.uint8))
    assert first_values(store_in(tmp_path), ["a"]) == [1]
    assert other.rows(["a"]).dtype == np.uint8


@pytest.mark.parametrize("torn_row_bytes", [0, 5, 24, 60])
@pytest.mark.parametrize("torn_key", [b"", b"ke"])
def test_what_a_killed_writer_left_is_neither_read_nor_in_the_way(tmp_path, torn_row_bytes, torn_key):
    store_in(tmp_path).append(["a", "b"], rows_of(1, 2))
    rows_file, keys_file = files_of(tmp_path)
    with rows_file.open("ab") as rows, keys_file.open("ab") as keys:
        rows.write(b"\xff" * torn_row_bytes)
        keys.write(torn_key)
    reader, writer = store_in(tmp_path), store_in(tmp_path)
    assert first_values(reader, ["a", "b"]) == [1, 2]
    assert reader.missing(["a", "ke", "c"]) == ["ke", "c"]
    writer.append(["c"], rows_of(3))
    assert first_values(reader, ["a", "b", "c"]) == [1, 2, 3]
    assert first_values(store_in(tmp_path), ["c", "b"]) == [3, 2]
    assert rows_file.stat().st_size == 3 * rows_of(1).nbytes


WRITER = """
import sys, numpy as np
from pathlib import Path
from defect_detection.data.cache import scratch, RowStore
store = RowStore(Path(sys.argv[1]), (2, 3), np.float32)
for start in range(0, 60, 3):
    numbers = range(start, start + 6)
    store.append([str(n) for n in numbers], np.stack([np.full((2, 3), n) for n in numbers]))
"""


def test_processes_and_threads_that_add_the_same_keys_agree(tmp_path):
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)]) for _ in range(2)]
    with ThreadPoolExecutor(4) as threads:
        for start in range(0, 60, 4):
            keys = [str(number) for number in range(start, start + 4)]
            rows = rows_of(*range(start, start + 4))
            list(threads.map(lambda _, keys=keys, rows=rows: store_in(tmp_path).append(keys, rows), range(4)))
    assert [writer.wait() for writer in writers] == [0, 0]
    store = store_in(tmp_path)
    assert len(store) == 63
    assert first_values(store, [str(number) for number in range(63)]) == list(range(63))


KILLED_WRITER = """
import sys, numpy as np
from pathlib import Path
from defect_detection.data.cache import scratch, RowStore
store = RowStore(Path(sys.argv[1]), (500, 100), np.float32)
for number in range(100000):
    store.append([str(number)], np.full((1, 500, 100), number, np.float32))
    print(number, flush=True)
"""


def test_a_writer_that_is_killed_leaves_only_whole_rows_and_no_one_waits_for_it(tmp_path):
    """With kill -9, at three different moments of one store."""
    for rounds in range(1, 4):
        writer = subprocess.Popen(
            [sys.executable, "-c", KILLED_WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        for _ in range(10 * rounds):
            writer.stdout.readline()
        writer.kill()
        writer.communicate()
        store = RowStore(tmp_path, (500, 100), np.float32)
        keys = [str(number) for number in range(len(store))]
        assert len(keys) >= 10 * rounds
        rows = store.rows(keys)
        np.testing.assert_array_equal(rows, np.broadcast_to(np.arange(len(keys))[:, None, None], rows.shape))
    store.append(["after"], np.full((1, 500, 100), 7, np.float32))
    assert store.rows(["after"])[0, 0, 0] == 7


READER = """
import resource, sys, numpy as np
from pathlib import Path
from defect_detection.data.cache import scratch, RowStore
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
stored, positions = RowStore(Path(sys.argv[1]), (1000, 1000), np.float32).view([str(n) for n in range(64)])
before = peak()
total = sum(float(stored[positions[start : start + 4]].sum()) for start in range(0, 64, 4))
print(total, (peak() - before) / 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="peaks of memory are in KiB on Linux only")
def test_reading_a_store_batch_by_batch_does_not_fill_the_memory(tmp_path):
    """256 MB in batches of 16 MB."""
    store = RowStore(tmp_path, (1000, 1000), np.float32)
    for start in range(0, 64, 8):
        store.append([str(n) for n in range(start, start + 8)], np.ones((8, 1000, 1000), np.float32))
    done = subprocess.run(
        [sys.executable, "-c", READER, str(tmp_path)], stdout=subprocess.PIPE, text=True, check=True
    )
    total, grown_mb = map(float, done.stdout.split())
    assert total == 64e6
    assert grown_mb < 100


def test_folder_that_can_not_be_written_says_what_to_do(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(
        DataError, match=r"cannot be written .*; free space, or set cache_dir to another folder"
    ):
        store_in(tmp_path / "file").append(["a"], rows_of(1))


def test_a_large_array_to_fill_lies_in_a_file_that_nobody_else_sees(tmp_path):
    small, large = (scratch(shape, np.float16, tmp_path) for shape in ((4, 8), (1100, 128, 1024)))
    assert not isinstance(small, np.memmap)
    assert isinstance(large, np.memmap)
    large[1000:1002] = 7
    assert (large[1000:1002] == 7).all()
    assert list(tmp_path.iterdir()) == []


NO_MARK = """
import sys
from pathlib import Path
import numpy as np
from defect_detection.data.cache import RowStore
RowStore(Path(sys.argv[1]), (2,), np.uint8).append(["b"], np.zeros((1, 2), np.uint8))
"""


def test_a_mark_that_cannot_be_written_is_an_error_of_the_folder(tmp_path):
    """The files of the store may be written, the folder takes no new one."""
    RowStore(tmp_path, (2,), np.uint8).append(["a"], np.zeros((1, 2), np.uint8))
    tmp_path.chmod(0o555)
    done = subprocess.run(
        [*bound_by_permissions(), sys.executable, "-c", NO_MARK, str(tmp_path)],
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    tmp_path.chmod(0o755)
    assert "DataError: " in done.stderr and "cannot be written (Permission denied)" in done.stderr
