"""The views of a product's images: what is dropped on the page becomes plain folders with an index."""

import io
import os
import shutil
import threading
import time
import zipfile

import numpy as np
import pytest
from tiny import encoded

from defect_detection.data.samples import scan_folder
from defect_detection.data.split import load_splits, scan_split
from defect_detection.records.keys import create_key
from defect_detection.serving.app import create_app
from defect_detection.serving.services import services_of
from defect_detection.use_cases import unpack_images
from defect_detection.use_cases.audit import audit
from defect_detection.use_cases.train import train


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
    chosen = {"share": 0.2, "state": proposal["state"]}

    def choose_now(*_: object) -> None:
        refused = client.post("/data/split", json=chosen)
        assert (refused.status_code, "a training of this product" in refused.json["detail"]) == (409, True)
        raise KeyboardInterrupt

    (project.root / "data/test").mkdir()
    with pytest.raises(KeyboardInterrupt):
        train(project.config(), choose_now)  # as a command does
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


def test_who_labels_what_another_has_labelled_is_told_who_and_when(client, add, app, project):
    add("a.png", picture(0))
    old = seen(client, "data/unlabelled/a.png")
    key = create_key(services_of(app).records.database, "anna", "operator")
    first = client.post("/data/label", json={"images": old, "label": "ok"}, headers={"X-API-Key": key})
    second = client.post(
        "/data/label", json={"images": old, "label": "defective"}, headers={"X-API-Key": key}
    )
    assert (first.status_code, second.status_code) == (200, 409)
    assert "anna changed it at 20" in second.json["detail"]
    table = client.get("/data/changes.csv", headers={"X-API-Key": key}).text
    assert (
        "anna,image labelled,data/train/ok/a.png,data/unlabelled/a.png: no label,data/train/ok/a.png: ok"
        in table
    )
    assert (project.root / "data/train/ok/a.png").is_file()


def test_the_same_content_is_kept_once_and_the_same_name_with_other_content_gets_a_new_one(client, add):
    assert add("a.png", picture(0)).json["state"] == "added"
    assert add("b.png", picture(0)).json["state"] == "there"
    assert add("a.png", picture(1)).json["image"]["file"] == "data/unlabelled/a-2.png"
    odd = add("..\\/top/.hid:den\u202e", picture(2)).json["image"]["file"]
    assert odd == "data/unlabelled/top_.hid_den_.png"


@pytest.mark.parametrize(
    ("content", "status", "said"),
    [
        (b"", 400, "empty file"),
        (b"GIF89a", 415, "expected a JPEG"),
        (picture(0)[:200], 415, "image file is truncated"),
    ],
)
def test_what_is_no_whole_image_is_refused_with_the_reason(client, add, project, content, status, said):
    answer = add("a.png", content)
    assert (answer.status_code, said in answer.json["detail"]) == (status, True), answer.json
    assert not list((project.root / "data").rglob("a*.png"))


def test_an_image_goes_to_the_bin_and_back_and_the_bin_is_emptied_as_it_was_seen(client, add, project):
    for number in range(2):
        add(f"{number}.png", picture(number))
    post(client, "/data/label", "data/unlabelled/0.png", label="defective", types=["dent"])
    post(client, "/data/part", "data/train/dent/0.png", part="7")
    post(client, "/data/move", "data/train/dent/0.png", "data/unlabelled/1.png", to="bin")
    assert not (project.root / "data/train/dent").exists()
    back = post(client, "/data/move", "data/bin/train/dent/0.png", to="back").json["images"][0]["image"]
    assert (back["file"], back["types"], back["part"]) == ("data/train/dent/0.png", ["dent"], "7")
    challenge = post(client, "/data/move", "data/train/dent/0.png", to="challenge").json["images"][0]["image"]
    assert challenge["file"] == "data/challenge/dent/0.png"
    assert client.post("/data/bin/empty", json={"state": "0" * 16}).status_code == 409
    state = client.get("/data").json["state"]
    assert client.post("/data/bin/empty", json={"state": state}).json == {"deleted": 1}
    assert list(images(client)) == ["data/challenge/dent/0.png"]


def test_parts_are_set_from_a_pattern_after_a_preview(client, add, project):
    for number in range(6):
        add(f"p{number // 2}_{number}.png", picture(number))
    add("other.png", picture(9))
    query = {"pattern": "{part}_*.png"}
    preview = client.get("/data/parts", query_string=query).json
    assert (preview["matched"], preview["parts"], preview["unmatched"]) == (6, 3, 1)
    assert preview["examples"][0] == {"file": "data/unlabelled/p0_0.png", "part": "p0"}
    done = client.post("/data/parts", json=query | {"state": preview["state"]})
    assert done.json == {"images": 6, "to_test": 0}
    assert client.post("/data/parts", json=query | {"state": preview["state"]}).status_code == 409
    assert (project.root / "data/unlabelled/index.csv").read_text().count("\n") == 7


def test_folders_outside_the_product_are_shown_and_not_changed(client, add, project, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "ok").mkdir()
    (elsewhere / "ok/a.png").write_bytes(picture(0))
    app = create_app(project.config(f"data.train_dir={elsewhere}"))
    other = app.test_client()
    counts = other.get("/data").json
    assert (counts["train"]["images"], "outside the folder of the product" in counts["unchangeable"]) == (
        1,
        True,
    )
    refused = other.post("/data/images", data=picture(1), content_type="image/png")
    assert (refused.status_code, "outside the folder" in refused.json["detail"]) == (422, True)
    assert other.post("/data/archives", json={"name": "a.zip", "size": 9}).status_code == 422
    services_of(app).records.close()


def zipped(members: dict[str, bytes], link: str = "") -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
        if link:
            entry = zipfile.ZipInfo(link)
            entry.external_attr = 0o120777 << 16
            archive.writestr(entry, "/etc/passwd")
    return file.getvalue()


def send_zip(client, content: bytes, piece: int = 10**6):
    begun = client.post("/data/archives", json={"name": "a.zip", "size": len(content)}).json
    for offset in range(begun["received"], len(content), piece):
        sent = {"data": content[offset : offset + piece], "content_type": "application/octet-stream"}
        client.post(f"/data/archives/{begun['id']}?offset={offset}", **sent)
    return client.post(f"/data/archives/{begun['id']}/unpack", json={"start": 0})


def test_a_zip_is_unpacked_member_by_member_and_what_is_skipped_is_named(client, project):
    members = {
        "set/a.png": picture(0),
        "set/deep/a.png": picture(1),
        "set/again.png": picture(0),
        "set/notes.txt": b"x",
        "__MACOSX/._a.png": b"x",
        "../up.png": picture(2),
        "/etc/down.png": picture(3),
        "set/inner.zip": zipped({"b.png": picture(4)}),
        "set/broken.png": picture(5)[:200],
        "set/bomb.png": b"\0" * 33_000_000,
    }
    answer = send_zip(client, zipped(members, link="set/link.png"), 20_000).json
    assert (answer["added"], answer["there"], answer["left_out"], answer["next"]) == (2, 1, 2, None)
    assert {one["name"]: one["reason"].split(";")[0][:24] for one in answer["skipped"]} == {
        "../up.png": "its path leads out of th",
        "/etc/down.png": "its path leads out of th",
        "set/inner.zip": "an archive",
        "set/broken.png": "cannot be decoded",
        "set/bomb.png": "larger than 32,000,000 b",
        "set/link.png": "a link",
    }
    assert set(images(client)) == {"data/unlabelled/set_a.png", "data/unlabelled/set_deep_a.png"}
    assert list((project.root / "data/.archives").iterdir()) == []


def test_a_zip_that_broke_off_is_gone_on_with_and_one_that_is_none_is_refused(client):
    content = zipped({"a.png": picture(0)})
    begun = client.post("/data/archives", json={"name": "a.zip", "size": len(content)}).json
    sent = {"data": content[:50], "content_type": "application/octet-stream"}
    assert client.post(f"/data/archives/{begun['id']}?offset=0", **sent).json == {"received": 50}
    assert client.post(f"/data/archives/{begun['id']}?offset=60", **sent).status_code == 409
    half = client.post(f"/data/archives/{begun['id']}/unpack", json={"start": 0})
    assert (half.status_code, "received 50: send the rest" in half.json["detail"]) == (409, True)
    more = {**sent, "data": content[50:] + b"x"}
    refused = [client.post(f"/data/archives/{key}?offset=50", **more) for key in (begun["id"], "0" * 16)]
    assert [one.status_code for one in refused] == [422, 422]
    assert f"expected {len(content)} bytes, as it was begun" in refused[0].json["detail"]
    assert "unknown archive: begin again with POST /data/archives" in refused[1].json["detail"]
    assert send_zip(client, content).json["added"] == 1
    too_large = client.post("/data/archives", json={"name": "b.zip", "size": 10**13})
    assert (too_large.status_code, "free on the disk" in too_large.json["detail"]) == (422, True)


def test_training_names_what_has_no_label_and_what_vanished_while_it_read(client, add, project, monkeypatch):
    for number in range(8):
        add(f"{number}.png", picture(number))
    names = [f"data/unlabelled/{number}.png" for number in range(7)]
    post(client, "/data/label", *names, label="ok")
    state = client.get("/data/split?share=0.3").json["state"]
    client.post("/data/split", json={"share": 0.3, "state": state})
    said: list[str] = []
    train = [one["file"] for one in images(client).values() if one["place"] == "train"]

    def vanish(*_of_training):
        post(client, "/data/move", train[0], to="bin") if (project.root / train[0]).exists() else None

    splits = load_splits(project.config(), say=said.append, prepare=vanish)
    assert "not labelled: 1 image in data/unlabelled" in said
    assert [item.path.name for item in splits.skipped] == [train[0].rpartition("/")[2]]
    assert len(splits.train) == len(train) - 1


def test_files_of_other_programs_with_odd_names_and_times_do_not_hide_the_others(client, add, project):
    add("a.png", picture(0))
    folder = project.root / "data/unlabelled"
    (folder / "far.png").write_bytes(picture(1))
    os.utime(folder / "far.png", (1e12, 1e12))
    (folder / "\udcff.png").write_bytes(picture(2))
    (folder / "a\nb.png").write_bytes(picture(3))
    assert set(images(client)) == {"data/unlabelled/a.png", "data/unlabelled/far.png"}
    assert client.get("/data").json["problems"] == [
        "not shown: data/unlabelled/a\\x0ab.png: rename it, its name has a control character",
        "not shown: data/unlabelled/\\xff.png: rename it, its name is not UTF-8",
    ]
    assert post(client, "/data/label", "data/unlabelled/far.png", label="ok").status_code == 200


def test_images_are_not_listed_while_a_change_is_half_done(client, add, app, project):
    add("a.png", picture(1))
    post(client, "/data/part", "data/unlabelled/a.png", part="7")
    product = services_of(app).products.default.images
    folder, found = project.root / "data/unlabelled", []
    reader = threading.Thread(target=lambda: found.append(product.listed()))
    with product.changing:
        (folder / "a.png").rename(folder / "b.png")  # its row in the index follows later
        reader.start()
        reader.join(0.1)
        (folder / "b.png").rename(folder / "a.png")
    reader.join()
    assert (found[0].problems, found[0].images["data/unlabelled/a.png"].part) == ((), "7")


def copied_by_hand(project) -> None:
    """Have the folders read again, because another program has added an image."""
    folder = project.root / "data/unlabelled"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{time.time_ns()}.png").write_bytes(picture(99))


@pytest.mark.parametrize("name", ["index.csv", "INDEX.CSV.png"])
def test_an_image_with_the_name_of_the_index_does_not_stop_other_changes(client, add, project, name):
    assert add(name, picture(1)).status_code == 200
    copied_by_hand(project)
    assert add("b.png", picture(2)).status_code == 200


def test_parts_of_names_that_differ_in_case_only_stay_apart(client, add, project):
    first, second = "data/unlabelled/A.png", "data/unlabelled/a.png"
    for number, file in enumerate((first, second)):
        add(file.rpartition("/")[2], picture(number))
        post(client, "/data/part", file, part=f"p{number}")
        copied_by_hand(project)
    post(client, "/data/label", first, label="ok")
    copied_by_hand(project)
    parts = {file: one["part"] for file, one in images(client).items() if one["part"]}
    assert parts == {"data/train/ok/A.png": "p0", second: "p1"}


def with_bytes(content: bytes, at: int, new: bytes) -> bytes:
    """Return a zip of one image with other bytes in the entry of its list."""
    place = content.rindex(b"PK\x01\x02") + at
    return content[:place] + new + content[place + len(new) :]


@pytest.mark.parametrize(
    ("at", "new"),
    [pytest.param(6, b"\x63", id="a later version"), pytest.param(46, b"\xff", id="a name that is no text")],
)
def test_a_zip_whose_list_is_broken_is_refused_and_can_be_sent_again(client, at, new):
    whole = zipped({"é.png": picture(1)})
    broken = with_bytes(whole, at, new)
    assert send_zip(client, broken).status_code == 422
    assert send_zip(client, whole).json["added"] == 1


def test_members_without_a_name_or_with_unbounded_compression_are_skipped(client):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(".", picture(1))
        archive.writestr("b.png", picture(2), compress_type=zipfile.ZIP_BZIP2)
        archive.writestr("c.png", picture(3))
    done = send_zip(client, file.getvalue()).json
    assert (done["added"], [one["name"] for one in done["skipped"]]) == (1, [".", "b.png"])


def test_a_piece_that_would_fill_the_disk_is_refused(client, tmp_path, monkeypatch):
    begun = client.post("/data/archives", json={"name": "a.zip", "size": 10}).json
    free = shutil.disk_usage(tmp_path).free
    monkeypatch.setattr(unpack_images, "SPARE_BYTES", 2 * free)
    answer = client.post(
        f"/data/archives/{begun['id']}?offset=0", data=b"x" * 10, content_type="application/octet-stream"
    )
    assert answer.status_code == 507


def test_what_is_answered_about_spellings_is_what_is_read_later(client, add, project):
    for number in range(2):
        add(f"{number}.png", picture(number))
    post(client, "/data/label", "data/unlabelled/0.png", label="defective", types=["é"])
    types = ["E\u0301", "dent", "Dent"]
    post(client, "/data/label", "data/unlabelled/1.png", label="defective", types=types)
    now = post(client, "/data/part", "data/train/é/1.png", part="e\u0301").json["images"][0]["image"]
    copied_by_hand(project)
    assert images(client)[now["file"]] == now


def test_what_a_killed_server_was_writing_is_removed(client, project):
    left = project.root / "data/unlabelled/.unfinished-00000000-1-00000000-abcdef.png"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"half")
    os.utime(left, (0, 0))
    assert client.get("/data").status_code == 200
    assert not left.exists()


@pytest.mark.parametrize("is_there", [False, True])
def test_an_image_that_another_program_removed_or_replaced_is_not_changed(client, add, project, is_there):
    add("a.png", picture(1))
    before, file = seen(client, "data/unlabelled/a.png"), project.root / "data/unlabelled/a.png"
    file.unlink() if not is_there else file.write_bytes(picture(2) + b"more")
    answer = client.post("/data/label", json={"images": before, "label": "ok"})
    assert (answer.status_code, "another program" in answer.json["detail"]) == (409, True)


def test_what_a_link_leads_to_outside_the_product_is_not_changed(client, add, project, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside")
    (outside / "o.png").write_bytes(picture(1))
    train = project.root / "data/train"
    train.mkdir(parents=True)
    (train / "dent").symlink_to(outside)
    assert post(client, "/data/move", "data/train/dent/o.png", to="bin").status_code == 422
    add("a.png", picture(2))
    answer = post(client, "/data/label", "data/unlabelled/a.png", label="defective", types=["dent"])
    assert (answer.status_code, "outside the folder" in answer.json["detail"]) == (422, True)
    assert [path.name for path in outside.iterdir()] == ["o.png"]


def test_a_relative_link_is_not_moved_to_where_it_leads_nowhere(client, add, project):
    add("a.png", picture(1))
    folder = project.root / "data/unlabelled"
    (folder / "b.png").symlink_to("a.png")
    answer = post(client, "/data/label", "data/unlabelled/b.png", label="ok")
    assert (answer.status_code, "by a copy of the file" in answer.json["detail"]) == (422, True)


def test_emptying_the_bin_leaves_a_mask_that_lies_elsewhere(client, add, project):
    add("a.png", picture(1))
    post(client, "/data/move", "data/unlabelled/a.png", to="bin")
    mask = project.root.parent / "mask.png"
    mask.write_bytes(picture(2))
    row = f"file,mask\nunlabelled/a.png,{mask}\n"
    (project.root / "data/bin/index.csv").write_text(row)
    state = client.get("/data").json["state"]
    assert client.post("/data/bin/empty", json={"state": state}).json == {"deleted": 1}
    assert mask.is_file()


def test_the_picture_of_an_image_that_another_program_replaced_is_the_new_one(client, add, project):
    add("a.png", picture(1))
    query = {"query_string": {"file": "data/unlabelled/a.png"}}
    shown = client.get("/data/thumbnail", **query).data
    (project.root / "data/unlabelled/a.png").write_bytes(picture(2) + b"more")
    assert client.get("/data/thumbnail", **query).data != shown


def test_a_mask_that_several_images_have_stays_with_them(client, project):
    train = project.root / "data/train"
    for number, name in enumerate(("hole/a.png", "hole/b.png", "masks/m.png")):
        (train / name).parent.mkdir(parents=True, exist_ok=True)
        (train / name).write_bytes(picture(number))
    (train / "index.csv").write_text("file,mask\nhole/a.png,masks/m.png\nhole/b.png,./masks/m.png\n")
    answer = post(client, "/data/move", "data/train/hole/a.png", to="bin")
    assert (answer.status_code, "m.png" in answer.json["detail"]) == (422, True)
    copied_by_hand(project)
    assert client.get("/data").json["problems"] == []


def test_an_image_of_the_test_split_cannot_reach_train_by_the_known_defects(client, project):
    file = project.root / "data/test/hole/a.png"
    file.parent.mkdir(parents=True)
    file.write_bytes(picture(1))
    answer = post(client, "/data/move", "data/test/hole/a.png", to="challenge")
    assert (answer.status_code, "test split" in answer.json["detail"]) == (422, True)


def test_images_of_a_finding_are_named_as_they_lie_now(client, add, project):
    labelled(client, add, 4, 2, 6)
    copied = project.root / "data/train/ok/copy.png"
    copied.write_bytes((project.root / "data/train/ok/0.png").read_bytes())
    proposal = client.get("/data/split?share=0.2").json
    client.post("/data/split", json={"share": 0.2, "state": proposal["state"]})
    assert client.get("/data/findings").json == {"created": None, "findings": []}
    audit(project.config())
    client.post("/data/part", json={"images": seen(client, "data/train/ok/copy.png"), "part": "x"})
    found = {one["kind"]: one["files"] for one in client.get("/data/findings").json["findings"]}
    assert found["copies"] == ["data/train/ok/0.png", "data/train/ok/copy.png"]
