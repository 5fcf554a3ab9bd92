"""The views of a product's images: what is dropped on the page becomes plain folders with an index."""

import numpy as np
import pytest
from tiny import encoded

from defect_detection.data.samples import scan_folder
from defect_detection.data.split import scan_split


def picture(number: int) -> bytes:
    return encoded(np.random.default_rng(number).integers(0, 256, (16, 16, 3), np.uint8))


@pytest.fixture
def client(app):
    return app.test_client()


@pytest.fixture
def add(client):
    def add(name: str, content: bytes, **more):
        return client.post(
            "/data/images", data=content, content_type="image/png", query_string={"name": name, **more}
        )

    return add


def images(client) -> dict[str, dict]:
    return {one["file"]: one for one in client.get("/data/images").json["images"]}


def seen(client, *files: str) -> list[dict]:
    known = images(client)
    return [{"file": file, "tag": known[file]["tag"]} for file in files]


def post(client, path: str, *files: str, **body):
    return client.post(path, json={"images": seen(client, *files), **body})


def test_what_is_added_and_labelled_is_what_the_command_line_reads(client, add, project):
    for number in range(3):
        assert add(f"part{number}.png", picture(number)).json["state"] == "added"
    post(client, "/data/label", "data/unlabelled/part0.png", label="ok")
    post(client, "/data/label", "data/unlabelled/part1.png", label="defective", types=["scratch", "dent"])
    post(client, "/data/part", "data/train/ok/part0.png", part="7")
    scanned = scan_split(project.config(), "train_dir")
    found = {one.path.name: (one.label, one.defect_types, one.group) for one in scanned.samples}
    assert found == {"part0.png": (0, (), "7"), "part1.png": (1, ("scratch", "dent"), "")}
    counts = client.get("/data").json
    assert (counts["unlabelled"]["images"], counts["train"]["types"]) == (1, {"scratch": 1, "dent": 1})
    assert scan_folder(project.root / "data/train", ["ok"]).skipped == []
