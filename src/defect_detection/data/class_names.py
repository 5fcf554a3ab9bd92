"""Compare names of classes, and tell which look as if they meant OK images or defective ones."""

import re
import unicodedata
from collections.abc import Collection

from defect_detection.text import printable


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_GOOD = _names(
    "ok okay oks 0k good goods gut gute guter gutes gutteil gutteile io normal normals nominal pass passed passing perfect correct "
    "acceptable accepted accept conform conforming conforme conformant flawless faultless intact healthy clean undamaged "
    "undefective uncracked unscratched nodefect nodefects defectfree negative neg golden "
    "bueno buena buenos buenas bon bonne bons buono buona buoni correcto correcta bom boa goed dobry dobre uygun "
    "良品 正常 合格 合格品 正常品 양품 정상 정상품 합격 норма годен годные исправный"
)
_BAD = _names(
    "nok ng nio ko bad defect defects defective defekt defekte fehler fault faults faulty flaw flaws flawed fail failed failure "
    "reject rejected rejects scrap damage damaged anomaly anomalies anomalous abnormal anormal broken crack cracks cracked "
    "scratch scratched scratches error errors nogood notok notgood nonok nongood 不良 不良品 불량 брак"
)
_NOT = _names(
    "not no non none n nicht kein keine ohne without un in nie nao pas sans sin senza geen ne не 非 不"
)
_NOTHING = _names("no none non free nothing nil mtfree")  # as a whole name: no defect, probably
_FREE = _names("free frei less los")  # behind a defect: defect-free
SPLITS = _names("train training test testing val valid validation eval holdout")
# Letters of other alphabets that look like those of "ok" and "good".
_LOOKALIKES = str.maketrans({"о": "o", "к": "k", "ο": "o", "κ": "k", "ɡ": "g", "ԁ": "d"})


def comparable(name: str) -> str:
    """Return the form in which names are compared: one Unicode form, lower case, no outer blanks, nothing invisible."""
    seen = "".join(c for c in unicodedata.normalize("NFKC", name) if unicodedata.category(c) != "Cf")
    return unicodedata.normalize("NFKC", seen.casefold()).strip()


def shown(name: str) -> str:
    """Return a name as it is shown and kept: composed letters, no outer blanks."""
    return printable(unicodedata.normalize("NFC", name).strip())


def suggests_ok(name: str, ok_names: Collection[str]) -> bool:
    """Say whether a name that is none of `ok_names` may yet be meant for OK images, such as ``ok_2024`` or ``Good parts``.

    Args:
        ok_names: in their `comparable` form.
    """
    words = _words(name)
    joined = "".join(words)
    if joined in _BAD or not words:
        return False
    if joined in _GOOD or joined in _NOTHING:
        return True
    is_negated = not _NOT.isdisjoint(words) or not _FREE.isdisjoint(words)
    if _holds_good(words, ok_names):
        return not is_negated
    return is_negated and not _BAD.isdisjoint(words)  # such as no_defect, defect free


def suggests_defects(name: str, ok_names: Collection[str]) -> bool:
    """Say whether a name is surely meant for defective images: ``defective``, ``NG``, ``not ok``."""
    words = _words(name)
    if suggests_ok(name, ok_names):
        return False
    negated_good = not _NOT.isdisjoint(words) and _holds_good(words, ok_names)
    return "".join(words) in _BAD or not _BAD.isdisjoint(words) or negated_good


def _words(name: str) -> list[str]:
    """Split a name at blanks and signs, between letters and digits, and where a capital follows a small letter."""
    apart = re.sub(r"(?<=[^\W\d_])(?=\d)|(?<=\d)(?=[^\W\d_])|(?<=[a-z])(?=[A-Z])", " ", name)
    words = [word for word in re.split(r"[\W_]+", comparable(apart)) if word]
    return [word.translate(_LOOKALIKES) for word in words]


def _holds_good(words: list[str], ok_names: Collection[str]) -> bool:
    if not _GOOD.isdisjoint(words):
        return True
    if any(_same_but_for_a_slip(word, good) for word in words for good in ("good", "normal")):
        return True
    return any(_resembles(words, _words(ok)) for ok in ok_names)


def _resembles(words: list[str], ok: list[str]) -> bool:
    """Say whether the words of a name hold those of an OK class in a row, or begin with its only word."""
    if not ok:
        return False
    rows = [words[start : start + len(ok)] for start in range(len(words) - len(ok) + 1)]
    return ok in rows or "".join(words) == "".join(ok) or (len(ok) == 1 and words[0].startswith(ok[0]))


def _same_but_for_a_slip(word: str, good: str) -> bool:
    """Say whether two neighbours are swapped, a letter is doubled, or (in longer words) one is missing."""
    if word == good or len(word) < 4:
        return word == good
    swapped = {good[:i] + good[i + 1] + good[i] + good[i + 2 :] for i in range(len(good) - 1)}
    doubled = {good[:i] + good[i] + good[i:] for i in range(len(good))}
    missing = {good[:i] + good[i + 1 :] for i in range(len(good))} if len(good) > 5 else set()
    return word in swapped | doubled | missing
