"""Compare class names, recognise names that suggest OK or defective images, and reject names that cannot be folders."""

import re
import unicodedata
from collections.abc import Collection

from defect_detection.data.system_names import is_system_file, is_system_folder
from defect_detection.text import printable

UNNAMED_TYPE = "defective"  # of defective images without a type
MOST_TYPE_CHARACTERS = 64  # of the name of a type of defect
_OF_TYPES = " _.-\u200c\u200d"  # beside letters, marks on them, and digits; the last two join letters of some alphabets


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_GOOD = _names(
    "ok okay oks 0k good goods gut gute guter gutes gutteil gutteile io normal normals nominal pass passed passing perfect correct "
    "acceptable accepted accept conform conforming conforme conformant flawless faultless intact healthy clean undamaged "
    "undefective uncracked unscratched nodefect nodefects defectfree negative neg golden "
    "bueno buena buenos buenas bon bonne bons buono buona buoni correcto correcta bom boa goed dobry dobre uygun "
    "fehlerfrei fehlerlos einwandfrei mangelfrei makellos kratzerfrei rissfrei unbeschädigt ordnung inordnung "
    "良品 良 良好 正常 合格 合格品 正常品 正品 好 好品 完好 无缺陷 無缺陷 无瑕疵 无异常 欠陥なし 異常なし "
    "問題なし 傷なし キズなし 無傷 양품 정상 정상품 합격 정품 결함없음 норма годен годные исправный"
)
_BAD = _names(
    "nok ng nio ko bad defect defects defective defekt defekte fehler fault faults faulty flaw flaws flawed fail failed failure "
    "reject rejected rejects scrap damage damaged anomaly anomalies anomalous abnormal anormal broken crack cracks cracked "
    "scratch scratched scratches error errors nogood notok notgood nonok nongood "
    "fehlerhaft kratzer riss risse schaden beschädigt mangel mängel schlecht ausschuss défaut défauts defaut defauts mauvais "
    "defecto defectos malo difetto difetti scarto defeito defeitos wad wada wady "
    "不良 不良品 不合格 不合格品 缺陷 异常 異常 欠陥 傷 キズ 划痕 불량 불량품 결함 брак дефект дефекты"
)
_NOT = _names(
    "not no non none n nicht kein keine ohne without un nie nao não pas sans sin senza sem bez geen ne не без 非 不"
)
_BETWEEN = _names("in a an any the so very quite all fully")  # "not" and the word that it denies
_NOTHING = _names("no none non free nothing nil mtfree")  # as a whole name: no defect, probably
_FREE = _names("free frei less los")  # behind a defect: defect-free
SPLITS = _names("train training test testing val valid validation eval holdout")
_DEVICE = re.compile(r"con|prn|aux|nul|(?:com|lpt)\d")  # as compared: superscript digits are digits there
# Letters of other alphabets that look like those of "ok" and "good".
_LOOKALIKES = str.maketrans({"о": "o", "к": "k", "ο": "o", "κ": "k", "ɡ": "g", "ԁ": "d"})


def comparable(name: str) -> str:
    """Normalise a name for comparison: Unicode form, lower case, no blanks at the ends, no invisible characters."""
    seen = "".join(c for c in unicodedata.normalize("NFKC", name) if unicodedata.category(c) != "Cf")
    return unicodedata.normalize("NFKC", seen.casefold()).strip()


def shown(name: str) -> str:
    """Normalise a name for display and storage: composed letters, no blanks at the ends."""
    return printable(unicodedata.normalize("NFC", name).strip())


def why_no_type(name: str, ok_classes: Collection[str]) -> str | None:
    """Return why a text cannot be a defect type (which must be a valid folder name on any system), or None."""
    compared = comparable(name)
    if shown(name) != name or len(name) > MOST_TYPE_CHARACTERS or not _is_plain(name):
        return (
            f"not a valid name: at most {MOST_TYPE_CHARACTERS} letters, digits, blanks and _.-, starting with a letter or "
            "digit"
        )
    if compared in map(comparable, ok_classes):
        return "an OK class"
    if compared.startswith("index."):
        return "the name of the index file"
    if _DEVICE.fullmatch(compared.partition(".")[0].rstrip()):
        return "the name of a Windows device"
    if is_system_folder(compared) or is_system_file(compared):
        return "the name of a system folder, which is left out"
    return None


def _is_plain(name: str) -> bool:
    """Check that a name begins with a letter or digit, and does not end with a dot or blank, which Windows drops."""
    kinds = [unicodedata.category(c)[0] for c in name]
    if not kinds or kinds[0] not in "LN" or name[-1] in " .":
        return False
    return all(kind in "LMN" or c in _OF_TYPES for c, kind in zip(name, kinds, strict=True))


def suggests_ok(name: str, ok_names: Collection[str]) -> bool:
    """Check whether a name outside `ok_names` resembles an OK class, such as ``ok_2024`` or ``Good parts``.

    Args:
        ok_names: in their `comparable` form.
    """
    words = _words(name)
    joined = "".join(words)
    if joined in _BAD or not words:
        return False
    if joined in _GOOD or joined in _NOTHING:
        return True
    return True in _said(words, ok_names)


def suggests_defects(name: str, ok_names: Collection[str]) -> bool:
    """Check whether a name clearly means defective images: ``defective``, ``NG``, ``not ok``."""
    words = _words(name)
    if suggests_ok(name, ok_names):
        return False
    return "".join(words) in _BAD or False in _said(words, ok_names)


def _said(words: list[str], ok_names: Collection[str]) -> set[bool]:
    """Return the meanings of a name's words, True for OK: ``no defect`` gives True, ``not ok`` False, ``ok but scratched`` both."""
    bad = (place for place, word in enumerate(words) if word in _BAD)
    return {not _is_denied(words, place) for place in _places_of_good(words, ok_names)} | {
        _is_denied(words, place) for place in bad
    }


def _is_denied(words: list[str], place: int) -> bool:
    before = [word for word in words[:place] if word not in _BETWEEN]
    return not _NOT.isdisjoint(before[-1:]) or not _FREE.isdisjoint(words[place + 1 : place + 2])


def _words(name: str) -> list[str]:
    """Split a name at blanks and signs, between letters and digits, and where a capital follows a small letter."""
    apart = re.sub(r"(?<=[^\W\d_])(?=\d)|(?<=\d)(?=[^\W\d_])|(?<=[a-z])(?=[A-Z])", " ", name)
    words = [word for word in re.split(r"[\W_]+", comparable(apart)) if word]
    return [word.translate(_LOOKALIKES) for word in words]


def _places_of_good(words: list[str], ok_names: Collection[str]) -> set[int]:
    known = {
        place
        for place, word in enumerate(words)
        if word in _GOOD or any(_same_but_for_a_slip(word, good) for good in ("good", "normal"))
    }
    return known.union(*(_places_of(_words(ok), words) for ok in ok_names))


def _places_of(ok: list[str], words: list[str]) -> set[int]:
    """Return where the words of an OK class begin in a row; at 0 also where a name begins with its only word."""
    if not ok:
        return set()
    rows = {place for place in range(len(words)) if words[place : place + len(ok)] == ok}
    is_at_start = "".join(words) == "".join(ok) or (len(ok) == 1 and words[0].startswith(ok[0]))
    return rows | {0} if is_at_start else rows


def _same_but_for_a_slip(word: str, good: str) -> bool:
    """Check for a typo: two letters swapped, a letter doubled, or (in longer words) one missing."""
    if word == good or len(word) < 4:
        return word == good
    swapped = {good[:i] + good[i + 1] + good[i] + good[i + 2 :] for i in range(len(good) - 1)}
    doubled = {good[:i] + good[i] + good[i:] for i in range(len(good))}
    missing = {good[:i] + good[i + 1 :] for i in range(len(good))} if len(good) > 5 else set()
    return word in swapped | doubled | missing
