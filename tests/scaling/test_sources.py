"""What a batch inspection finds, and how it is cut into shards."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from defect_detection.errors import DataError
from defect_detection.scaling.parquet_columns import images_of
from defect_detection.scaling.sources import Shard, find


def write_table(path: Path, **columns: list) -> str:
    pq.write_table(pa.table(columns), path, row_group_size=3)
    return str(path)


def shards(found, done=(), at_once=1) -> list[Shard]:
    return list(found.shards(set(done), at_once))


def test_a_folder_a_pattern_and_a_file_give_absolute_paths_each_once(write_images, tmp_path, monkeypatch):
    paths = write_images(tmp_path / "parts", 3)
    monkeypatch.chdir(tmp_path)
    found = find(["parts", "parts/*.png", "parts/000.png"], None, str(tmp_path / "out"))
    assert found.addresses == [str(path) for path in paths]


def test_no_image_is_lost_or_cut_twice_and_what_is_done_is_left_out(write_images, tmp_path):
    paths = [str(path) for path in write_images(tmp_path, 100, side=2)]
    found = find([str(tmp_path)], None, "/nowhere")
    some = shards(found, done=paths[:10])
    assert [name for shard in some for name in shard.names] == paths[10:]
    assert len({shard.key for shard in some}) == len(some) > 1


def test_a_table_of_images_is_read_row_by_row(tmp_path):
    images = [bytes([number]) * 5 for number in range(8)]
    address = write_table(tmp_path / "a.parquet", picture=images, line=list("abcdefgh"))
    found = find([str(tmp_path)], None, "/nowhere")
    assert len(found) == 8
    done = {f"{address}#{row}" for row in (0, 4)}
    cut = shards(found, done)
    assert [row for shard in cut for row in shard.rows] == [1, 2, 3, 5, 6, 7]
    got = [one for shard in cut for one in images_of(shard.table, shard.column, shard.rows)]
    assert got == [images[row] for row in (1, 2, 3, 5, 6, 7)]


def test_a_table_of_paths_names_files_beside_it_and_elsewhere(tmp_path):
    address = write_table(tmp_path / "a.parquet", file=["x/1.png", "/abs/2.png", "s3://bucket/3.png"])
    found = find([address], None, "/nowhere")
    assert found.addresses == [str(tmp_path / "x/1.png"), "/abs/2.png", "s3://bucket/3.png"]
    assert [shard.names for shard in shards(found)] == [tuple(found.addresses[:2]), ("s3://bucket/3.png",)]


def test_a_table_with_several_columns_asks_which(tmp_path):
    address = write_table(tmp_path / "a.parquet", left=["1.png"], right=["2.png"])
    with pytest.raises(
        DataError, match=r"a\.parquet: expected one column .* left \(string\), right .* --column"
    ):
        find([address], None, "/nowhere")
    assert find([address], "right", "/nowhere").addresses == [str(tmp_path / "2.png")]


def test_a_half_written_table_is_named(tmp_path):
    address = Path(write_table(tmp_path / "a.parquet", image=[b"1"] * 100))
    address.write_bytes(address.read_bytes()[:-10])
    with pytest.raises(
        DataError, match=r"a\.parquet: is not a complete Parquet file .*; write or copy it again"
    ):
        find([str(address)], None, "/nowhere")


def test_a_bucket_that_refuses_is_told_with_what_to_do(monkeypatch):
    class Refusing(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
            self.send_response(403)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(b"" if self.command == "HEAD" else body)

        do_HEAD = do_GET  # noqa: N815  as the server looks for it

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "wrong")
    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
        with pytest.raises(
            DataError, match=r"s3://parts/line3: the storage cannot be used .*ACCESS_DENIED.*credentials"
        ):
            find(["s3://parts/line3"], None, "/nowhere")
        server.shutdown()
