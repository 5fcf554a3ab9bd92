"""Comparison of class names, and questions about unclear names."""

import unicodedata

import pytest

from defect_detection.data.class_names import comparable, suggests_defects, suggests_ok

OK = {comparable(name) for name in ("ok", "good", "class_0", "normal", "ok_front")}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("OK ", "ok"),
        (" Ok\u200b", "ok"),
        ("ＯＫ", "ok"),
        (unicodedata.normalize("NFD", "양품"), "양품"),
        ("Ärger", "A\u0308RGER"),
    ],
)
def test_names_that_look_alike_are_the_same(one, other):
    assert comparable(one) == comparable(other)


@pytest.mark.parametrize(
    "name",
    [
        "ok_2024",
        "Good parts",
        "goods",
        "OK-Teile",
        "okTeile",
        "GoodParts",
        "ok2",
        "OK (2)",
        "i.O.",
        "ОК",
        "0K",
        "ok_back",
        "class_0_2024",
        "class0",
        "goood",
        "godo",
        "nromal",
        "no_defect",
        "No Defects",
        "defect-free",
        "non-defective",
        "undamaged",
        "okay",
        "Gutteile",
        "PASSED",
        "良品",
        "정상",
        "clean",
        "front_ok",
        "none",
        "good_no_defects",
        "ok_in_line_3",
        "OK (ohne Kratzer)",
        "normal, without scratches",
        "ok_not_cleaned",
        "fehlerfrei",
        "in Ordnung",
        "sans défaut",
        "sin defectos",
        "senza difetti",
        "无缺陷",
        "欠陥なし",
    ],
)
def test_a_name_that_may_mean_ok_is_noticed(name):
    assert suggests_ok(name, OK)
    assert not suggests_defects(name, OK)


@pytest.mark.parametrize(
    "name",
    [
        "scratch",
        "nok",
        "NiO",
        "n.i.O.",
        "not ok",
        "no_good",
        "ng",
        "NotOK",
        "not-good",
        "abnormal",
        "non_normal",
        "class_1",
        "class_10",
        "def_front",
        "wood",
        "food",
        "gold",
        "broken",
        "smoke",
        "token",
        "no_screw",
        "No 3",
        "dent",
        "bad",
        "defective",
        "裂纹",
        "不良品",
        "cam2",
        "hole",
        "kein OK",
        "missing_part",
        "color",
        "contamination",
        "nicht in Ordnung",
        "not very good",
        "fehlerhaft",
        "mit Fehler",
        "不合格",
        "缺陷",
    ],
)
def test_names_of_defects_are_not(name):
    assert not suggests_ok(name, OK)


@pytest.mark.parametrize(
    "name", ["nok", "NG", "defective", "bad", "not ok", "No good", "n.i.O.", "Defects", "failed"]
)
def test_a_name_that_surely_means_defects_is_noticed(name):
    assert suggests_defects(name, OK)


@pytest.mark.parametrize("name", ["line 2", "früh", "cam1", "2024-05", "product_B", "good", "batch"])
def test_other_names_say_nothing_about_defects(name):
    assert not suggests_defects(name, OK)
