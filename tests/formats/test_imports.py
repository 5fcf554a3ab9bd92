"""Layouts as the other tools write them, and damaged ones, which are refused by name before anything is written."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from layouts import RULES, SIZE, content_of, imported, picture, small_project
from PIL import Image

from defect_detection.cli import main
from defect_detection.config import Config
from defect_detection.errors import DataError
from defect_detection.formats.areas import Polygon, coco_counts
from defect_detection.formats.exporting import export_data
from defect_detection.formats.importing import rules_of
from defect_detection.formats.table import NAMES

WIDTH, HEIGHT = SIZE


def coco(root: Path, annotations=(), images=None, categories=None) -> Path:
    """Write a data set in COCO's layout: a.png with annotations, b.png without."""
    for seed, name in enumerate("ab"):
        picture(root / f"images/train/{name}.png", seed)
    images = images or [
        {"id": n, "file_name": f"{name}.png", "width": WIDTH, "height": HEIGHT}
        for n, name in ((1, "a"), (2, "b"))
    ]
    content = {
        "images": images,
        "annotations": [
            {"id": n, "image_id": 1, "category_id": 1, **one} for n, one in enumerate(annotations)
        ],
        "categories": categories or [{"id": 1, "name": "scratch"}, {"id": 2, "name": "good"}],
    }
    (root / "annotations").mkdir(exist_ok=True)
    (root / "annotations/instances_train.json").write_text(json.dumps(content))
    return root


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def mask_of(config) -> np.ndarray:
    (mask,) = config.data.train_dir.parent.glob("masks/*/*/*.png")
    return np.asarray(Image.open(mask)) > 0


def test_coco_boxes_polygons_and_both_kinds_of_runs_become_one_mask(tmp_path):
    column = {"counts": [HEIGHT, HEIGHT, HEIGHT * (WIDTH - 2)], "size": [HEIGHT, WIDTH]}  # the second column
    packed = {"counts": "0`0`;", "size": [HEIGHT, WIDTH]}  # the first column
    assert coco_counts("0`0`;", "x").tolist() == [0, HEIGHT, HEIGHT * (WIDTH - 1)]
    source = coco(
        tmp_path / "theirs",
        [
            {"bbox": [10, 2, 3, 4]},
            {"segmentation": [[15, 5, 18, 5, 18, 8, 15, 8]], "keypoints": [1, 2, 2], "iscrowd": 0},
            {"segmentation": column, "iscrowd": 1},
            {"segmentation": packed},
        ],
    )
    back, account = imported("coco", source, tmp_path / "ours")
    expected = np.zeros((HEIGHT, WIDTH), bool)
    expected[2:6, 10:13] = expected[5:8, 15:18] = expected[:, :2] = True
    assert np.array_equal(mask_of(back), expected)
    assert account.counts == {("train", "scratch"): 1, ("train", "ok"): 1}
    assert "not carried over: keypoints: 1, such as instances_train.json: annotations[1]" in account.said
    assert "not carried over: crowd flags: 1, such as instances_train.json: annotations[2]" in account.said
    assert any("1 images without any annotation count as OK" in line for line in account.said)


def test_yolo_boxes_and_a_pose_are_read_and_a_folder_for_two_splits_is_read_once(tmp_path):
    root = tmp_path / "theirs"
    write(
        root / "data.yaml",
        "path: /somewhere/else\ntrain: images/train\nval: images/test\ntest: images/test\nnames: {0: scratch}\n",
    )
    for seed, split in enumerate(("train", "test")):
        picture(root / f"images/{split}/{split}.png", seed)
    write(root / "labels/train/train.txt", "0 0.5 0.5 0.25 0.5\n")
    back, account = imported("yolo", root, tmp_path / "ours")
    expected = np.zeros((HEIGHT, WIDTH), bool)
    expected[4:12, 9:15] = True
    assert np.array_equal(mask_of(back), expected)
    assert account.counts == {("train", "scratch"): 1, ("test", "ok"): 1}


def test_a_voc_box_counts_from_one_and_includes_its_last_pixel(tmp_path):
    root = tmp_path / "theirs"
    picture(root / "JPEGImages/a.png", 1)
    picture(root / "JPEGImages/later.png", 2)
    box = "<bndbox><xmin>3</xmin><ymin>2</ymin><xmax>5</xmax><ymax>2</ymax></bndbox>"
    one = f"<object><name>scratch</name><difficult>1</difficult>{box}</object>"
    write(root / "Annotations/a.xml", f"<annotation><filename>a.png</filename>{one}</annotation>")
    write(root / "ImageSets/Main/test.txt", "a\n")
    back, account = imported("voc", root, tmp_path / "ours")
    assert np.argwhere(mask_of(back)).tolist() == [[1, 2], [1, 3], [1, 4]]
    assert account.counts == {("test", "scratch"): 1}
    assert account.said[:2] == (
        "not carried over: difficult flags: 1, such as Annotations/a.xml: object[0]",
        "not carried over: images that are not annotated yet: 1, such as JPEGImages/later.png",
    )


def test_cvat_masks_turned_boxes_and_tags_are_read_and_tracks_are_named(tmp_path):
    root = tmp_path / "theirs"
    for seed, name in enumerate("ab"):
        picture(root / f"images/{name}.png", seed)
    frame = f'width="{WIDTH}" height="{HEIGHT}"'
    mask = '<mask label="dent" rle="1, 3, 2" left="4" top="5" width="3" height="2"><attribute name="x">1</attribute></mask>'
    turned = '<box label="dent" xtl="10" ytl="2" xbr="16" ybr="4" rotation="90"/><polyline label="dent" points="1,1;2,2"/>'
    write(
        root / "annotations.xml",
        f'<annotations><image id="0" name="a.png" {frame}>{mask}{turned}</image>'
        f'<image id="1" name="b.png" {frame}><tag label="Good"/></image><track id="7"/></annotations>',
    )
    back, account = imported("cvat", root, tmp_path / "ours")
    expected = np.zeros((HEIGHT, WIDTH), bool)
    expected[5, 5:7] = expected[6, 4] = True
    expected[0:6, 12:14] = True
    assert np.array_equal(mask_of(back), expected)
    assert account.counts == {("train", "dent"): 1, ("train", "ok"): 1}
    assert [line.split(":")[1].strip() for line in account.said[:3]] == [
        "attributes",
        "places of annotations of the type polyline",
        "tracks of videos",
    ]


def test_an_area_that_cannot_be_drawn_still_gives_the_type(tmp_path):
    frame = f'name="a.png" width="{WIDTH}" height="{HEIGHT}"'
    line = '<polyline label="scratch" points="1,1;2,2"/>'
    write(tmp_path / "cvat/annotations.xml", f"<annotations><image {frame}>{line}</image></annotations>")
    ellipse = {"type": "ellipselabels", "value": {"ellipselabels": ["scratch"]}}
    tasks = [{"data": {"image": "a.png"}, "annotations": [{"result": [ellipse]}]}]
    write(tmp_path / "labelstudio/p.json", json.dumps(tasks))
    points = {"type": "points", "label_id": 0, "points": [1, 2]}
    content = {"categories": {"label": {"labels": [{"name": "scratch"}]}}}
    items = [{"id": "a", "annotations": [points, {"type": "caption", "caption": "x"}]}]
    write(tmp_path / "datumaro/annotations/train.json", json.dumps(content | {"items": items}))
    for form, kind in (("cvat", "polyline"), ("labelstudio", "ellipselabels"), ("datumaro", "points")):
        picture(tmp_path / form / "images/a.png", 1)
        _, account = imported(form, tmp_path / form, tmp_path / f"ours-{form}")
        assert (list(account.counts), account.masks) == ([("train", "scratch")], 0)
        assert "not carried over: places of " in "".join(account.said)
        assert f"of the type {kind}: 1" in "".join(account.said)


def test_label_studio_uploads_brushes_and_rectangles_are_read(tmp_path):
    root = tmp_path / "theirs"
    for seed, name in enumerate(("a", "b", "later")):
        picture(root / f"images/{name}.png", seed)
    head = {"original_width": WIDTH, "original_height": HEIGHT, "image_rotation": 0}
    alpha = np.zeros(WIDTH * HEIGHT * 4, np.uint8)
    alpha[3 + 4 * 30 : 3 + 4 * 33 : 4] = 255
    bits = f"{len(alpha):032b}{7:05b}{0:04b}{0:04b}{0:04b}{15:04b}"
    for start in range(0, len(alpha), 1 << 16):
        chunk = alpha[start : start + (1 << 16)]
        bits += f"011{len(chunk) - 1:016b}" + "".join(f"{value:08b}" for value in chunk)
    packed = [int(bits[place : place + 8].ljust(8, "0"), 2) for place in range(0, len(bits), 8)]
    brush = {
        "type": "brushlabels",
        "value": {"format": "rle", "rle": packed, "brushlabels": ["dent"]},
        **head,
    }
    corner = {"x": 50, "y": 50, "width": 12.5, "height": 12.5, "rotation": 0, "rectanglelabels": ["dent"]}
    tasks = [
        {
            "data": {"image": "/data/upload/1/0123abcd-a.png"},
            "annotations": [
                {"result": [brush, {"type": "rectanglelabels", "value": corner, **head}]},
                {"was_cancelled": True},
            ],
        },
        {"data": {"image": "/data/local-files/?d=images/b.png"}, "annotations": [{"result": []}]},
        {"data": {"image": "later.png"}, "annotations": [], "predictions": [{"result": []}]},
    ]
    write(root / "project.json", json.dumps(tasks))
    back, account = imported("labelstudio", root, tmp_path / "ours")
    expected = np.zeros((HEIGHT, WIDTH), bool)
    expected[1, 6:9] = expected[8:10, 12:15] = True
    assert np.array_equal(mask_of(back), expected)
    assert account.counts == {("train", "dent"): 1, ("train", "ok"): 1}
    assert (
        account.said[0] == "not carried over: images that are not annotated yet: 1, such as project.json: [2]"
    )


def test_mvtec_keeps_its_splits_and_the_bytes_of_its_images(tmp_path):
    root = tmp_path / "bottle"
    for seed, name in enumerate(("train/good/000", "test/good/000", "test/broken_large/000")):
        picture(root / f"{name}.png", seed)
    (root / "ground_truth/broken_large").mkdir(parents=True)
    marked = np.zeros((HEIGHT, WIDTH), np.uint8)
    marked[3:5, 3:9] = 255
    Image.fromarray(marked).save(root / "ground_truth/broken_large/000_mask.png")
    back, account = imported("mvtec", root, tmp_path / "ours")
    assert account.counts == {("train", "ok"): 1, ("test", "ok"): 1, ("test", "broken_large"): 1}
    found = {key: value for key, value in content_of(back).items() if value[0]}
    assert [mask for _, mask in found.values()] == [(marked > 0).tobytes()]
    with pytest.raises(DataError, match="name one of its categories: bottle"):
        imported("mvtec", tmp_path, tmp_path / "other")


def test_labels_are_renamed_to_types_and_to_ok(tmp_path):
    source = coco(
        tmp_path / "theirs", [{"bbox": [1, 1, 2, 2]}], categories=[{"id": 1, "name": "kratzer/tief"}]
    )
    with pytest.raises(
        DataError, match=r"label 'kratzer/tief': as a defect type it is not a valid name.*--rename"
    ):
        imported("coco", source, tmp_path / "refused")
    back, _ = imported(
        "coco", source, tmp_path / "one", replace(RULES, renamed={"kratzer/tief": "deep scratch"})
    )
    assert ("deep scratch",) in [types for types, _ in content_of(back).values()]
    back, account = imported("coco", source, tmp_path / "two", replace(RULES, renamed={"kratzer/tief": "ok"}))
    assert account.counts == {("train", "ok"): 2}
    assert any(line.startswith("not carried over: areas of OK labels: 1") for line in account.said)


def test_images_without_any_annotation_can_be_left_out(tmp_path):
    source = coco(tmp_path / "theirs", [{"bbox": [1, 1, 2, 2]}])
    _, account = imported("coco", source, tmp_path / "ours", replace(RULES, unlabelled="skip"))
    assert account.counts == {("train", "scratch"): 1}
    assert account.said[0].startswith("not carried over: images without any annotation: 1")


@pytest.mark.parametrize(
    ("form", "files"),
    [
        ("yolo", {"data.yaml": "train: images\nnames: [scratch]\n", "labels/looked-at.txt": "\n"}),
        ("voc", {"Annotations/looked-at.xml": "<annotation><filename>looked-at.png</filename></annotation>"}),
        (
            "labelstudio",
            {
                "p.json": '[{"data": {"image": "images/looked-at.png"}, "annotations": [{"result": []}]},'
                ' {"data": {"image": "images/new.png"}, "annotations": []}]'
            },
        ),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_an_annotation_that_marks_nothing_says_ok_where_the_others_are_left_out(form, files, tmp_path):
    folder = "JPEGImages" if form == "voc" else "images"
    for seed, name in enumerate(("looked-at", "new")):
        picture(tmp_path / "theirs" / folder / f"{name}.png", seed)
    for name, text in files.items():
        write(tmp_path / "theirs" / name, text)
    back, account = imported(form, tmp_path / "theirs", tmp_path / "ours", replace(RULES, unlabelled="skip"))
    assert account.counts == {("train", "ok"): 1}
    assert len(content_of(back)) == 1
    assert account.said[0].startswith("not carried over: images ")
    assert "new.png" in account.said[0] or "p.json: [1]" in account.said[0]


def test_an_annotation_of_another_kind_does_not_say_ok(tmp_path):
    for seed, name in enumerate(("empty", "taxonomy")):
        picture(tmp_path / "theirs/images" / f"{name}.png", seed)
    results = {"empty": [], "taxonomy": [{"type": "taxonomy", "value": {"taxonomy": [["scratch"]]}}]}
    tasks = [
        {"data": {"image": f"images/{name}.png"}, "annotations": [{"result": result}]}
        for name, result in results.items()
    ]
    write(tmp_path / "theirs/p.json", json.dumps(tasks))
    _, account = imported(
        "labelstudio", tmp_path / "theirs", tmp_path / "ours", replace(RULES, unlabelled="skip")
    )
    assert account.counts == {("train", "ok"): 1}
    assert any("images without any annotation: 1" in line for line in account.said)


BAD_ANNOTATIONS = {
    "outside its image of 24 x 16 px": {"bbox": [20, 10, 30, 4]},
    "has no area": {"bbox": [3, 3, 0, 4]},
    r"annotations\[0\].bbox: expected 4 numbers": {"bbox": [3, 3]},
    r"annotations\[0\].bbox\[1\]: expected a number, received '3x'": {"bbox": [3, "3x", 1, 1]},
    r"annotations\[0\].category_id: no category has the id 9": {"bbox": [1, 1, 2, 2], "category_id": 9},
    r"annotations\[0\].image_id: no image has the id 5": {"bbox": [1, 1, 2, 2], "image_id": 5},
    "expected bbox or segmentation, received neither": {},
    "at least 3 corners, received 5 numbers": {"segmentation": [[1, 2, 3, 4, 5]]},
    "has runs of 7 pixels in all, expected 384": {"segmentation": {"counts": [3, 4], "size": [16, 24]}},
    "is of 16 x 24 px, expected 24 x 16 px": {"segmentation": {"counts": [3, 381], "size": [24, 16]}},
    "expected compressed runs of COCO": {"segmentation": {"counts": "\x01", "size": [16, 24]}},
}


@pytest.mark.parametrize("message", BAD_ANNOTATIONS)
def test_an_annotation_that_does_not_fit_is_refused_by_file_and_key(message, tmp_path):
    source = coco(tmp_path / "theirs", [BAD_ANNOTATIONS[message]])
    with pytest.raises(DataError, match=message) as caught:
        imported("coco", source, tmp_path / "ours")
    assert "instances_train.json: annotations[0]" in str(caught.value)
    assert not (tmp_path / "ours").exists()


def image(name: str, number: int = 1, **more: object) -> dict[str, object]:
    return {"id": number, "file_name": name, "width": WIDTH, "height": HEIGHT, **more}


BAD_IMAGES = {
    "no such file: images/train/gone.png": [image("gone.png")],
    "which leaves that folder": [image("../../secret.png")],
    "received the address": [image("https://example.com/a.png")],
    "no such file": [image("a\0.png")],
    "a.png is listed before, in instances_train.json: images": [image("a.png"), image("a.png", 2)],
    "1 is the id of images": [image("a.png"), image("b.png")],
    "its size is given as 640 x 480 px, but a.png has 24 x 16 px": [image("a.png", width=640, height=480)],
}


@pytest.mark.parametrize("message", BAD_IMAGES)
def test_an_image_that_is_missing_elsewhere_or_listed_twice_is_refused(message, tmp_path):
    picture(tmp_path / "secret.png", 9)
    source = coco(tmp_path / "theirs", images=BAD_IMAGES[message])
    with pytest.raises(DataError, match=message):
        imported("coco", source, tmp_path / "ours")
    assert not (tmp_path / "ours").exists()


def test_a_link_that_leaves_the_folder_is_refused(tmp_path):
    source = coco(tmp_path / "theirs", images=[image("link.png")])
    (source / "images/train/link.png").symlink_to(picture(tmp_path / "secret.png", 9))
    with pytest.raises(DataError, match="which leaves that folder"):
        imported("coco", source, tmp_path / "ours")


def test_ok_and_a_defect_on_one_image_are_refused(tmp_path):
    source = coco(tmp_path / "theirs", [{"bbox": [1, 1, 2, 2]}, {"bbox": [5, 5, 2, 2], "category_id": 2}])
    with pytest.raises(DataError, match=r"a.png has the label 'scratch' and the OK label 'good'"):
        imported("coco", source, tmp_path / "ours")


BOMB = '<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;"><!ENTITY c SYSTEM "file:///etc/passwd">]>'


@pytest.mark.parametrize(
    ("form", "name", "text", "message"),
    [
        (
            "cvat",
            "annotations.xml",
            f"{BOMB}<annotations>&b;</annotations>",
            "without a document type and without entities",
        ),
        (
            "voc",
            "Annotations/a.xml",
            f"{BOMB}<annotation>&c;</annotation>",
            "without a document type and without entities",
        ),
        ("cvat", "annotations.xml", "<annotations>", "expected XML"),
        ("cvat", "annotations.xml", "<annotations/>", "not for video"),
        ("voc", "Annotations/a.xml", "<annotation/>", "expected the element filename"),
        ("coco", "annotations/x.json", "[" * 200_000, "expected JSON"),
        ("coco", "annotations/x.json", '{"images": [NaN]}', "NaN is no number"),
        ("coco", "annotations/x.json", "[]", "expected an object, received"),
        ("coco", "annotations/x.json", "{}", "expected the key 'images'"),
        ("datumaro", "annotations/x.json", '{"items": []}', "expected the key 'categories'"),
        ("labelstudio", "x.json", '[{"data": {}}]', "expected the key 'image'"),
        ("yolo", "data.yaml", "a: &a [1]\nb: *a\n", "without aliases"),
        ("yolo", "data.yaml", "names: [scratch]\ntrain: ../elsewhere\n", "no such folder or list"),
        ("yolo", "data.yaml", "names: 7\n", "names: expected a list, received 7"),
        (
            "yolo",
            "data.yaml",
            "names: [x]\ntrain: !!python/object/apply:os.system ['true']\n",
            "expected YAML",
        ),
        ("mvtec", "test/good/a.png", "", "expected the folder train/good"),
    ],
)
def test_damaged_and_hostile_files_are_refused_by_name(form, name, text, message, tmp_path):
    write(tmp_path / "theirs" / name, text)
    with pytest.raises(DataError, match=message):
        imported(form, tmp_path / "theirs", tmp_path / "ours")
    assert not (tmp_path / "ours").exists()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("7 0.5 0.5 0.1 0.1", "unknown class 7"),
        ("0 0.5 0.5", "received 3 numbers"),
        ("0 2 2 0.1 0.1", "outside its image"),
    ],
)
def test_a_line_of_yolo_is_refused_with_its_number(line, message, tmp_path):
    root = tmp_path / "theirs"
    picture(root / "images/train/a.png", 1)
    write(root / "data.yaml", "train: images/train\nnames: [scratch]\n")
    write(root / "labels/train/a.txt", f"0 0.5 0.5 0.1 0.1\n{line}\n")
    with pytest.raises(DataError, match=rf"labels/train/a.txt: line 2.*{message}"):
        imported("yolo", root, tmp_path / "ours")


@pytest.mark.parametrize(
    ("mark", "message"),
    [
        (
            '<mask label="x" rle="4" left="20" top="0" width="90000" height="90000"/>',
            "outside its image of 24 x 16 px",
        ),
        ('<mask label="x" rle="1,1e18" left="0" top="0" width="2" height="2"/>', "expected counts of pixels"),
        (
            '<mask label="x" rle="1,9" left="0" top="0" width="2" height="2"/>',
            "runs of 10 pixels in all, expected 4",
        ),
        ('<box label="x" xtl="1e300" ytl="0" xbr="2" ybr="2"/>', "has no area"),
        ('<box label="" xtl="1" ytl="0" xbr="2" ybr="2"/>', "expected the name of a label"),
        ('<polygon label="x" points="1,1;2"/>', "at least 3 corners"),
    ],
)
def test_a_shape_of_cvat_that_does_not_fit_is_refused_whatever_its_size(mark, message, tmp_path):
    root = tmp_path / "theirs"
    picture(root / "images/a.png", 1)
    frame = f'name="a.png" width="{WIDTH}" height="{HEIGHT}"'
    write(root / "annotations.xml", f"<annotations><image {frame}>{mark}</image></annotations>")
    with pytest.raises(DataError, match=rf"annotations.xml: image\[0\].*{message}"):
        imported("cvat", root, tmp_path / "ours")


@pytest.mark.parametrize(
    ("rle", "message"),
    [
        ([255, 255, 255, 255, 255], "ends too early"),
        ([0] * 12, "holds 0 values, expected 1536"),
        ([300], "not bytes"),
    ],
)
def test_a_damaged_brush_of_label_studio_is_refused(rle, message, tmp_path):
    picture(tmp_path / "theirs/a.png", 1)
    value = {"format": "rle", "rle": rle, "brushlabels": ["x"]}
    result = {"type": "brushlabels", "value": value, "original_width": WIDTH, "original_height": HEIGHT}
    tasks = [{"data": {"image": "a.png"}, "annotations": [{"result": [result]}]}]
    write(tmp_path / "theirs/p.json", json.dumps(tasks))
    with pytest.raises(DataError, match=message):
        imported("labelstudio", tmp_path / "theirs", tmp_path / "ours")


def test_labels_of_yolo_without_their_image_are_refused(tmp_path):
    root = tmp_path / "theirs"
    picture(root / "images/train/a.png", 1)
    write(root / "data.yaml", "train: images/train\nnames: [scratch]\n")
    write(root / "labels/train/classes.txt", "scratch\n")
    write(root / "labels/train/gone.txt", "0 0.5 0.5 0.1 0.1\n")
    with pytest.raises(DataError, match=r"1 label files without an image:\n  labels/train/gone\.txt"):
        imported("yolo", root, tmp_path / "ours")
    (root / "data.yaml").rename(root / "classes.txt").write_text("scratch\n")
    with pytest.raises(DataError, match=r"labels/train/gone\.txt"):
        imported("yolo", root, tmp_path / "ours")


def test_a_voc_mask_without_an_object_and_a_listed_image_that_is_missing_are_refused(tmp_path):
    root = tmp_path / "theirs"
    picture(root / "JPEGImages/a.png", 1)
    mask = picture(root / "SegmentationClass/a.png", 2)
    write(root / "Annotations/a.xml", "<annotation><filename>a.png</filename></annotation>")
    with pytest.raises(
        DataError, match=r"SegmentationClass/a\.png: marks pixels, but Annotations/a\.xml has no"
    ):
        imported("voc", root, tmp_path / "ours")
    Image.new("L", SIZE).save(mask)  # of an OK image
    write(root / "ImageSets/Main/train.txt", "a\ngone\n")
    with pytest.raises(DataError, match=r"train\.txt: line 2: no such image: gone"):
        imported("voc", root, tmp_path / "ours")
    write(root / "ImageSets/Main/train.txt", "a\n")
    assert imported("voc", root, tmp_path / "ours")[1].counts == {("train", "ok"): 1}


def test_a_label_of_cvat_that_its_list_lacks_is_refused(tmp_path):
    picture(tmp_path / "theirs/images/a.png", 1)
    listed = "<meta><project><labels><label><name>scratch</name></label></labels></project></meta>"
    frame = f'name="a.png" width="{WIDTH}" height="{HEIGHT}"'
    image_ = f'<image {frame}><tag label="scrach"/></image>'
    write(tmp_path / "theirs/annotations.xml", f"<annotations>{listed}{image_}</annotations>")
    with pytest.raises(DataError, match="unknown label 'scrach', expected one of scratch"):
        imported("cvat", tmp_path / "theirs", tmp_path / "ours")


@pytest.mark.parametrize(("label", "is_refused"), [("no defect", True), ("ok_2024", True), ("bad ok", False)])
def test_a_label_that_resembles_an_ok_class_is_refused_until_it_is_clear(label, is_refused, tmp_path):
    source = coco(tmp_path / "theirs", [{"bbox": [1, 1, 2, 2]}], categories=[{"id": 1, "name": label}])
    if is_refused:
        with pytest.raises(
            DataError, match=f"label '{label}': it resembles an OK class.*--rename '{label}=ok'"
        ):
            imported("coco", source, tmp_path / "ours")
    rules = replace(RULES, renamed={label: "ok"} if is_refused else {})
    _, account = imported("coco", source, tmp_path / "ours", rules)
    assert account.counts[("train", "ok" if is_refused else label)]


def test_a_label_with_an_equals_sign_can_be_renamed():
    assert rules_of(Config(), ["a=b=scratch"], "ok").renamed == {"a=b": "scratch"}


def test_validation_images_of_mvtec_are_for_training(tmp_path):
    for seed, place in enumerate(("train/good", "validation/good", "test/hole")):
        picture(tmp_path / f"theirs/{place}/{seed}.png", seed)
    _, account = imported("mvtec", tmp_path / "theirs", tmp_path / "ours")
    assert account.counts == {("train", "ok"): 2, ("test", "hole"): 1}


def test_a_mask_of_mvtec_without_its_image_and_one_of_another_size_are_refused(tmp_path):
    root = tmp_path / "bottle"
    for seed, name in enumerate(("train/good/000", "test/hole/000")):
        picture(root / f"{name}.png", seed)
    picture(root / "ground_truth/hole/001_mask.png", 5)
    with pytest.raises(DataError, match="1 masks without an image"):
        imported("mvtec", root, tmp_path / "ours")
    (root / "ground_truth/hole/001_mask.png").unlink()
    picture(root / "ground_truth/hole/000_mask.png", 5, (7, 5))
    with pytest.raises(DataError, match="is of 7 x 5 px, expected 24 x 16 px"):
        imported("mvtec", root, tmp_path / "ours")


def test_other_data_is_never_replaced_and_a_failed_write_leaves_nothing(tmp_path, monkeypatch):
    source = coco(tmp_path / "theirs", [{"bbox": [1, 1, 2, 2]}])
    kept = write(tmp_path / "full/data/mine.txt", "mine")
    with pytest.raises(DataError, match="received one that holds files"):
        imported("coco", source, tmp_path / "full")
    assert kept.read_text() == "mine"
    ours = small_project(tmp_path / "project")
    with pytest.raises(DataError, match="received one that holds files"):
        export_data("coco", tmp_path / "full", ours)
    (tmp_path / "project/data/train/ok/1.png").rename(tmp_path / "project/data/train/ok/1\x01.png")
    (tmp_path / "project/data/index.csv").unlink()
    with pytest.raises(DataError, match=r"nothing was written.*\n.*its name has characters"):
        export_data("coco", tmp_path / "out", ours)
    assert not (tmp_path / "out").exists()


def test_a_mask_or_an_image_that_cannot_be_used_is_named_and_the_rest_is_exported(tmp_path):
    ours = small_project(tmp_path)
    (tmp_path / "data/masks/test/scratch/1.png").write_bytes(b"no image")
    (tmp_path / "data/train/ok/1.png").write_bytes(b"no image")
    done = export_data("cvat", tmp_path / "theirs", ours)
    assert (done.images, done.masks) == (6, 2)
    assert [line.split(":")[1].strip() for line in done.said] == [
        "masks that cannot be used",
        "places of defects without a mask (the whole image is marked)",
        "unreadable images",
    ]
    back, _ = imported("cvat", tmp_path / "theirs", tmp_path / "back")
    assert len(content_of(back)) == 6


def test_images_of_one_name_in_two_folders_are_both_kept(tmp_path):
    root = coco(tmp_path / "theirs", images=[image("x/1.png"), image("y/1.png", 2)])
    for seed, folder in enumerate("xy"):
        picture(root / f"images/train/{folder}/1.png", seed)
    back, _ = imported("coco", root, tmp_path / "ours")
    assert len(content_of(back)) == 2


def test_the_commands_import_export_and_refuse_with_code_3(tmp_path, monkeypatch, capsys):
    small_project(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert main(["data", "export", "--format", "coco", "theirs"]) == 0
    assert main(["data", "import", "--format", "coco", "theirs", "--output", "back"]) == 0
    said = capsys.readouterr().out
    assert "test/scratch: 1 images" in said
    assert "Wrote 7 images and 3 masks to back. Next: set data.train_dir and data.test_dir to" in said
    assert main(["data", "diff", "data", "back"]) == 0
    for arguments in (
        ["import", "--format", "coco", "theirs"],  # the project's own data are there
        ["import", "--format", "pascal", "theirs", "--output", "new"],
        ["import", "--format", "coco", "nowhere", "--output", "new"],
        ["import", "--format", "coco", "theirs", "--output", "new", "--rename", "scratch"],
        ["import", "--format", "coco", "theirs", "--output", "new", "--rename", "scrach=x"],
        ["import", "--format", "coco", "theirs", "--output", "new", "--unlabelled", "maybe"],
        ["export", "--format", "zip", "new"],
        ["import", "--format", "coco", "theirs", "--output", "data/test/new"],
        ["export", "--format", "coco", "data/train/new"],
    ):
        assert main(["data", *arguments]) == 3
        assert not list(Path().rglob("new"))
    assert "data/train/new: expected a folder outside data.train_dir" in capsys.readouterr().err


@pytest.mark.parametrize("form", NAMES)
def test_an_empty_folder_is_refused_with_what_is_expected(form, tmp_path):
    (tmp_path / "theirs").mkdir()
    with pytest.raises(DataError, match="expected"):
        imported(form, tmp_path / "theirs", tmp_path / "ours")


def test_a_polygon_with_an_edge_on_the_border_stays_inside():
    drawn = Polygon(np.array([(-0.5, 0), (WIDTH + 0.5, 0), (WIDTH + 0.5, 2), (-0.5, 2)])).draw(WIDTH, HEIGHT)
    assert drawn.sum() == 2 * WIDTH
