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


def labelled(client, add, n_ok: int, n_defective: int, n_parts: int) -> None:
    """Add and label images; every one belongs to one of the parts."""
    for number in range(n_ok + n_defective):
        assert add(f"{number}.png", picture(number), modified=1e9 + 86400 * (number % 2)).status_code == 200
    names = [f"data/unlabelled/{number}.png" for number in range(n_ok + n_defective)]
    for number, name in enumerate(names):
        post(client, "/data/part", name, part=f"p{number % n_parts}")
    post(client, "/data/label", *names[:n_ok], label="ok")
    post(client, "/data/label", *names[n_ok:], label="defective", types=["scratch"])


def test_a_split_of_whole_parts_is_proposed_frozen_and_only_grows(client, add, project):
    labelled(client, add, 20, 10, 10)
    proposal = client.get("/data/split?share=0.2").json
    assert {one["name"]: (one["train"], one["test"]) for one in proposal["kinds"]} == {
        "OK": (16, 4),
        "scratch": (8, 2),
    }
    assert [one["test"] for one in proposal["days"]] == [3, 3]
    add("31.png", picture(31))
    stale = client.post("/data/split", json={"share": 0.2, "state": proposal["state"]})
    assert (stale.status_code, images(client).keys() >= {"data/unlabelled/31.png"}) == (409, True)
    state = client.get("/data/split?share=0.2").json["state"]
    assert client.post("/data/split", json={"share": 0.2, "state": state}).status_code == 200
    found = images(client).values()
    in_test = {one["part"] for one in found if one["place"] == "test"}
    assert len(in_test) == 2
    assert in_test.isdisjoint(one["part"] for one in found if one["place"] == "train")
    assert client.get("/data/split").status_code == 409
    post(client, "/data/part", "data/unlabelled/31.png", part=min(in_test))
    answer = post(client, "/data/label", "data/unlabelled/31.png", label="ok").json
    assert (answer["images"][0]["image"]["file"], answer["to_test"]) == ("data/test/ok/31.png", 1)
    config = project.config()
    assert len(scan_split(config, "train_dir").samples) + len(scan_split(config, "test_dir").samples) == 31


def test_a_part_that_reaches_the_test_split_takes_its_other_images_along(client, add):
    labelled(client, add, 8, 0, 4)
    state = client.get("/data/split?share=0.25").json["state"]
    client.post("/data/split", json={"share": 0.25, "state": state})
    found = images(client)
    in_test = next(one for one in found.values() if one["place"] == "test")
    in_train = next(one for one in found.values() if one["place"] == "train")
    moved = post(client, "/data/part", in_test["file"], part=in_train["part"]).json
    assert moved["to_test"] == 2
    assert {one["place"] for one in images(client).values() if one["part"] == in_train["part"]} == {"test"}
