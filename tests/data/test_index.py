"""``index.csv`` is parsed in all usual spellings, or refused with line and name."""

from pathlib import Path

import pytest

from defect_detection.data.samples import Sample, scan, scan_folder
from defect_detection.errors import DataError

OK_CLASSES = ("ok", "good")


@pytest.fixture
def data(tmp_path, write_images) -> Path:
    """A folder with train and test, each with two OK images and two scratched ones."""
    for folder in ("train/ok", "train/scratch", "test/ok", "test/scratch"):
        write_images(tmp_path / "data" / folder, 2)
    return tmp_path / "data"


def groups(folder: Path) -> dict[str, str]:
    samples: list[Sample] = scan(folder, OK_CLASSES)[0]
    return {one.path.relative_to(folder).as_posix(): one.group for one in samples if one.group}


@pytest.mark.parametrize(
    "text",
    [
        "file,label,group\r\ntrain\\ok\\000.png,ok,P1\r\n",
        "File,Label,GROUP\ntrain/ok/000.png,OK,P1\n",
        " file , label ,group \n train/ok/000.png , ok , P1 \n",
        "file,label,group\nTRAIN/OK/000.PNG,ok,P1\n",
        "file;label;group\ntrain/ok/000.png;ok;P1\n",
        "file\tlabel\tgroup\ntrain/ok/000.png\tok\tP1\n",
        "sep=;\nfile;group\ntrain/ok/000.png;P1\n",
        "\ufefffile,Defect Type,group\n./train/../train/ok/000.png,,P1,,\n\n,,\n",
        "file,group,width,height\ntrain/ok/000.png,P1,640,480\n",
        "file,group\n{data}/train/ok/000.png,P1\n",
        "file,group\rtrain/ok/000.png,P1\r",
        'file,group,note,note\ntrain/ok/000.png,P1,"two\nlines",\n',
    ],
)
def test_spellings_of_paths_columns_and_delimiters_are_understood(data, text):
    (data / "index.csv").write_text(text.replace("{data}", str(data)), newline="")
    assert groups(data / "train") == {"ok/000.png": "P1"}


@pytest.mark.parametrize("name", ["Index.CSV", "INDEX.csv"])
def test_the_name_of_the_index_may_be_in_any_case(data, name):
    (data / name).write_text("file,group\ntrain/ok/000.png,P1\n")
    assert groups(data / "train") == {"ok/000.png": "P1"}


def test_an_absolute_path_may_reach_the_folder_by_a_link(data, tmp_path):
    (tmp_path / "link").symlink_to(data)
    (data / "index.csv").write_text(f"file,group\n{tmp_path}/link/train/ok/000.png,P1\n")
    assert groups(data / "train") == groups(tmp_path / "link" / "train") == {"ok/000.png": "P1"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("file,groups\ntrain/ok/000.png,P1\n", "unknown column 'groups', did you mean 'group'"),
        ("file,Gruppe\ntrain/ok/000.png,P1\n", "unknown column 'Gruppe', did you mean 'group'"),
        ("file,lot\ntrain/ok/000.png,P1\n", "unknown column 'lot', did you mean 'group'"),
        ("filename,group\ntrain/ok/000.png,P1\n", "unknown column 'filename', did you mean 'file'"),
        ("file,lable\ntrain/ok/000.png,ok\n", "unknown column 'lable', did you mean 'label'"),
        ("file,group,Group\ntrain/ok/000.png,P1,P1\n", "duplicate column 'group'"),
        (
            "file,group\nok/000.png,P1\nok/001.png,P1\n",
            r"2 of 2 rows match no image; paths are relative to .*data$",
        ),
        ("file,group\nC:\\data\\train\\ok\\000.png,P1\n", "1 of 1 rows match no image"),
        ("file,group\n/elsewhere/train/ok/000.png,P1\n", "1 of 1 rows match no image"),
        (
            "file,group\ntrain/ok/000.png,P1\ntrian/ok/001.png,P1\n",
            "line 3: no such file: 'trian/ok/001.png'",
        ),
        ("file,group\ntrain/ok/a,b.png,P1\n", "line 2: expected 2 cells, received 3"),
        ("file,group\n,P1\n", "line 2: the column file is empty"),
        ('file,group\ntrain/ok/000.png,"P1\ntrain/ok/001.png,P2\n', "unexpected end of data"),
        ('file,group\ntrain/ok/000.png,"P1\ntrain/ok/001.png,"\n', "line 3: a cell spans several lines"),
    ],
)
def test_what_is_not_understood_is_refused_by_name(data, text, expected):
    (data / "index.csv").write_text(text)
    with pytest.raises(DataError, match=f"index.csv: .*{expected}|index.csv: {expected}"):
        scan(data / "train", OK_CLASSES)


def test_paths_that_fit_two_files_are_refused(data):
    (data / "train/ok/ABC.png").write_bytes((data / "train/ok/000.png").read_bytes())
    (data / "train/ok/abc.PNG").write_bytes((data / "train/ok/000.png").read_bytes())
    (data / "index.csv").write_text("file,group\ntrain/ok/Abc.png,P1\n")
    with pytest.raises(DataError, match=r"'train/ok/Abc.png' matches 2 files, such as ABC.png and abc.PNG"):
        scan(data / "train", OK_CLASSES)


@pytest.mark.parametrize("other", ["Index.csv", "train/ok/index.csv"])
def test_an_index_that_would_not_be_read_is_refused(data, other):
    (data / "index.csv").write_text("file,group\ntrain/ok/000.png,P1\n")
    (data / other).write_text("file,group\n000.png,P1\n")
    with pytest.raises(DataError, match=r"index\.csv"):
        scan(data / "train", OK_CLASSES)


def test_an_index_that_is_no_file_is_refused(data):
    (data / "train" / "index.csv").symlink_to("gone.csv")
    (data / "test" / "index.csv").mkdir()
    for split in ("train", "test"):
        with pytest.raises(DataError, match=r"index\.csv: expected a CSV file"):
            scan(data / split, OK_CLASSES)


@pytest.mark.parametrize("name", ["index.csv.txt", "index.tsv", "Index.xlsx"])
def test_an_index_under_another_name_is_refused(data, name):
    (data / name).write_text("file,group\ntrain/ok/000.png,P1\n")
    with pytest.raises(DataError, match=r"the index must be named index\.csv"):
        scan(data / "train", OK_CLASSES)


def test_rows_of_a_split_that_was_not_copied_along_are_no_error(data):
    rows = "file,split,source_path,group\ntrain/ok/000.png,train,a,P1\nval/ok/000.png,val,b,P2\ntest/ok/9.png,test,c,P3\n"
    (data / "index.csv").write_text(rows)
    scanned = scan_folder(data / "train", OK_CLASSES)
    assert [one.group for one in scanned.samples if one.group] == ["P1"]
    assert len(scanned.said()) == 1


def test_columns_without_a_use_are_named(data):
    (data / "index.csv").write_text("file,group,part,operator\ntrain/ok/000.png,P1,7,anna\n")
    assert scan_folder(data / "train", OK_CLASSES).said()[1:] == [
        f"  {data}/index.csv: columns not used: part, operator"
    ]


def test_a_type_of_defect_of_an_ok_image_is_said_not_to_be_used(data):
    rows = "file,label,defect_type\ntrain/ok/000.png,ok,poly\ntrain/ok/001.png,0,none\n"
    (data / "index.csv").write_text(rows)
    assert scan_folder(data / "train", OK_CLASSES).said()[1:] == [
        f"  {data}/index.csv: defect type ignored in 1 rows with the label OK"
    ]


def test_an_index_without_rows_is_noticed(data):
    (data / "index.csv").write_text("file,group\n")
    assert scan_folder(data / "train", OK_CLASSES).said()[1:] == [
        f"  {data}/index.csv: no row matches an image"
    ]


def test_masks_that_the_index_names_are_no_samples(data):
    (data / "train/scratch/001.png").rename(data / "train/scratch/000_mask.png")
    (data / "index.csv").write_text("file,mask\ntrain/scratch/000.png,train/scratch/000_mask.png\n")
    scanned = scan_folder(data / "train", OK_CLASSES)
    assert (scanned.understood, scanned.masks) == ("ok: 2 OK; scratch: 1 defective", [])
    assert scanned.samples[-1].mask == data / "train/scratch/000_mask.png"


def test_labels_are_compared_as_folders_are(data):
    rows = "file,label\ntrain/ok/000.png,GOOD \ntrain/ok/001.png, SCRATCH\ntrain/scratch/000.png,Defective\n"
    (data / "index.csv").write_text(rows)
    samples = {
        one.path.name: one for one in scan(data / "train", OK_CLASSES)[0] if one.path.parent.name == "ok"
    }
    assert [(one.label, one.defect_type.casefold()) for one in samples.values()] == [(0, ""), (1, "scratch")]


@pytest.mark.parametrize(
    "rows",
    [
        "defective,scratch; Dent ;scratch\n",
        "defective,scratch\ntrain/ok/000.png,defective,dent\n",
        "scratch;dent,\n",
    ],
)
def test_an_image_may_have_several_types_of_defects(data, write_images, rows):
    write_images(data / "train/dent", 1)
    (data / "index.csv").write_text(f"file,label,defect_type\ntrain/ok/000.png,{rows}")
    found = {one.path: one for one in scan(data / "train", OK_CLASSES)[0]}[data / "train/ok/000.png"]
    assert (found.label, found.defect_types) == (1, ("scratch", "dent"))


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ("1,scratch\ntrain/ok/000.png,0,dent", "line 3: file 'train/ok/000.png' is also in line 2"),
        ("1,scratch\ntrain/ok/000.png,1,scratch", "line 3: file 'train/ok/000.png' is also in line 2"),
        ("1,scratch;good", "line 2: defect type 'good' of a defective image is the name of an OK class"),
    ],
)
def test_rows_that_disagree_and_types_named_as_ok_classes_are_refused(data, rows, expected):
    (data / "index.csv").write_text(f"file,label,defect_type\ntrain/ok/000.png,{rows}\n")
    with pytest.raises(DataError, match=expected):
        scan(data / "train", OK_CLASSES)
