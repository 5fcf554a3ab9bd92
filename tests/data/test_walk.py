"""Images, listed files and ignored files: the same rules for every command."""

import os
import shutil
from pathlib import Path

import pytest
from PIL import Image

from defect_detection.data.walk import OUTPUT_MARK, Walked, find_images, walk
from defect_detection.errors import DataError


@pytest.fixture
def parts(tmp_path, write_images) -> Path:
    """A folder with two images."""
    write_images(tmp_path / "parts", 2)
    return tmp_path / "parts"


def names(walked: Walked, folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in walked.images]


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("a.jfif", "JPEG"),
        ("a.JPE", "JPEG"),
        ("a", "PNG"),
        ("a.tiff2", "TIFF"),
        ("a.dib", "BMP"),
        ("a.dat", "WEBP"),
    ],
)
def test_the_content_decides_whatever_the_ending(parts, name, form):
    Image.new("RGB", (8, 8)).save(parts / name, form)
    assert set(names(walk(parts), parts)) == {"000.png", "001.png", name}


def test_other_files_are_named_by_ending_with_what_to_do(parts):
    for number, (suffix, form) in enumerate(
        [(".gif", "GIF"), (".pgm", "PPM"), (".jp2", "JPEG2000"), (".GIF", "GIF")]
    ):
        Image.new("L", (8, 8)).save(parts / f"b{number}{suffix}", form)
    (parts / "scan.heic").write_bytes(b"\0\0\0\x18ftypheic")
    (parts / "more.zip").write_bytes(b"PK\x03\x04")
    (parts / "copy.jpg.part").write_bytes(b"\xff\xd8\xff\xe0")
    (parts / "raw.NEF").write_bytes(b"II*\0" + bytes(60))
    (parts / "film").write_bytes(b"\0\0\0\x18ftypmp42")
    walked = walk(parts)
    assert names(walked, parts) == ["000.png", "001.png"]
    said = "\n".join(walked.said())
    assert (
        "7 files not looked at (2 .gif, 1 .heic, 1 .jp2, 1 .nef, 1 .pgm, 1 without an extension): not a JPEG"
        in said
    )
    assert "convert it to PNG or JPEG" in said
    assert "1 file not looked at (1 .zip): an archive; unpack it" in said
    assert "1 file not looked at (1 .part): an unfinished copy" in said


def test_side_files_are_counted_and_nothing_stops_at_them(parts):
    for name in ("README", "notes.txt", "000.json", "001.json", "labels.CSV"):
        (parts / name).write_text("words")
    walked = walk(parts)
    assert walked.skipped == []
    assert walked.said() == ["Left out: 5 side files (.csv, .json, .txt, README)"]


@pytest.mark.parametrize(
    "folder", ["@eaDir", "@EADIR", "#recycle", "#Snapshot", "$RECYCLE.BIN", "System Volume Information", ".Trash-1000",
               ".Trashes", "__MACOSX", "lost+found", "@Recycle", "@Recently-Snapshot", ".@__thumb", ".git", "RECYCLED",
               "FOUND.012", "@SynoDrive", "@SynologyDriveShareSync", "_gsdata_"],
)  # fmt: skip
def test_system_folders_are_left_out_and_counted(parts, write_images, folder):
    write_images(parts / "line" / folder / "deeper", 2)
    walked = walk(parts)
    assert names(walked, parts) == ["000.png", "001.png"]
    assert walked.left_out.total() == 1
    assert walked.said() == [
        f"Left out: 1 {'hidden folder' if folder[0] == '.' else f'system folder ({folder})'}"
    ]


def test_system_files_are_left_out_and_counted(parts):
    for name in ("Thumbs.db", "desktop.ini", ".DS_Store", "._000.png", "~$a.docx", "0.png:Zone.Identifier"):
        (parts / name).write_bytes(b"\xff\xd8\xff")
    assert walk(parts).said() == [
        "Left out: 2 hidden files, 4 system files (0.png:Zone.Identifier, Thumbs.db, desktop.ini, ~$a.docx)"
    ]


def test_a_project_below_a_hidden_folder_is_looked_at(tmp_path, write_images):
    write_images(tmp_path / ".work" / "#recycle" / "parts", 2)
    folder = tmp_path / ".work" / "#recycle" / "parts"
    assert len(walk(folder).images) == len(find_images([str(folder)]).images) == 2


def test_links_to_folders_are_followed_and_each_folder_is_read_once(parts, tmp_path, write_images):
    write_images(tmp_path / "camera2", 3)
    (parts / "cam2").symlink_to(tmp_path / "camera2")
    (parts / "loop").symlink_to(parts)
    (parts / "000.link").symlink_to(parts / "line")
    write_images(parts / "line", 1)
    walked = walk(parts)
    assert names(walked, parts) == [
        "000.png",
        "001.png",
        "cam2/000.png",
        "cam2/001.png",
        "cam2/002.png",
        "line/000.png",
    ]
    assert walked.said() == ["Left out: 2 repeated links"]
    assert find_images([str(parts)]).images == walked.images


def test_a_real_folder_keeps_its_name_where_a_link_comes_first(tmp_path, write_images):
    write_images(tmp_path / "ok", 1)
    (tmp_path / "a link").symlink_to(tmp_path / "ok")
    assert names(walk(tmp_path), tmp_path) == ["ok/000.png"]


def test_what_cannot_be_read_is_named(parts, monkeypatch):
    (parts / "gone.png").symlink_to("/nowhere.png")
    (parts / "gone").symlink_to("/nowhere")
    (parts / "round.png").symlink_to(parts / "round.png")
    os.mkfifo(parts / "pipe.png")
    (parts / "closed").mkdir()
    whole = os.scandir

    def scandir(place):  # the tests may run as root, who is refused nothing
        if Path(place).name == "closed":
            raise PermissionError(13, "Permission denied")
        return whole(place)

    with monkeypatch.context() as patched:
        patched.setattr(os, "scandir", scandir)
        walked = walk(parts)
    assert {item.path.name: item.reason for item in walked.skipped} == {
        "gone.png": "a broken link",
        "gone": "a broken link",
        "round.png": "a broken link",
        "pipe.png": "neither a file nor a folder",
        "closed": "an unreadable folder (Permission denied)",
    }


def test_a_folder_that_may_not_be_entered_ends_nothing(parts, write_images, monkeypatch):
    write_images(parts / "closed", 1)
    write_images(parts / "line", 1)
    whole = {name: getattr(os, name) for name in ("stat", "scandir")}

    def refused(name):  # the tests may run as root, who is refused nothing
        def call(path, *args, **options):
            parts = () if isinstance(path, int) else Path(path).parts
            if "closed" in (parts if name == "scandir" else parts[:-1]):
                raise PermissionError(13, "Permission denied")
            return whole[name](path, *args, **options)

        return call

    for name in whole:
        monkeypatch.setattr(os, name, refused(name))
    for walked in (walk(parts), find_images([str(parts)]), find_images([f"{parts}/*"])):
        assert names(walked, parts) == ["000.png", "001.png", "line/000.png"]
        assert [item.reason.partition(" (")[0] for item in walked.skipped] == ["an unreadable folder"]
    assert find_images([f"{parts}/closed/a.png"]).images == [parts / "closed" / "a.png"]


def test_a_folder_too_deep_for_the_system_ends_nothing(parts, monkeypatch):
    monkeypatch.chdir(parts)
    for _ in range(20):
        Path("n" * 250).mkdir()
        os.chdir("n" * 250)
    walked = walk(parts)
    assert names(walked, parts) == ["000.png", "001.png"]
    assert [item.reason for item in walked.skipped] == ["an unreadable folder (File name too long)"]


def test_patterns_files_and_folders_name_each_image_once_in_their_order(parts, tmp_path, write_images):
    write_images(parts / "line", 1)
    (parts / "again").symlink_to(parts)
    Image.new("L", (8, 8)).save(parts / "b.gif")
    found = find_images([str(parts / "line"), f"{parts}/*", str(parts / "again" / "000.png"), "missing.png"])
    assert found.images == [
        parts / "line" / "000.png", parts / "000.png", parts / "001.png", Path("missing.png"),
    ]  # fmt: skip
    assert [item.path.name for item in found.skipped] == ["b.gif"]
    assert found.roots == [parts / "line", parts, parts / "again", Path()]


def test_a_pattern_leaves_out_what_a_folder_does(parts, write_images):
    write_images(parts / "@eaDir", 1)
    write_images(parts / "old", 1)
    write_images(parts / "new" / "line", 1)
    (parts / "old" / OUTPUT_MARK).touch()
    found = find_images([f"{parts}/**/*.png"], leave_out=parts / "new")
    assert names(found, parts) == ["000.png", "001.png"]
    assert found.left_out.total() == 3


def test_nothing_to_inspect_says_what_was_there(tmp_path):
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic")
    with pytest.raises(DataError, match=r"no images found; expected .*\n  1 file not looked at \(1 .heic\)"):
        find_images([str(tmp_path)])


def test_a_pipe_that_is_named_is_not_waited_for(parts):
    os.mkfifo(parts / "pipe.png")
    with pytest.raises(DataError, match=r"pipe\.png: no images found.*\n.*: neither a file nor a folder"):
        find_images([str(parts / "pipe.png")])
    assert len(find_images([str(parts), f"{parts}/*"]).skipped) == 1


def test_folders_of_overlays_are_left_out(parts, write_images):
    shutil.copytree(parts, parts / "marked")
    assert len(walk(parts).images) == 4
    assert len(walk(parts, leave_out=parts / "line" / ".." / "marked").images) == 2
    (parts / "marked" / OUTPUT_MARK).touch()
    assert walk(parts).said() == ["Left out: 1 folder of overlays (marked)"]
