"""Recognise the names of splits in the names of files and folders."""

import re

from defect_detection.formats.items import TEST, TRAIN, VALIDATION

_WORDS = re.compile(r"[a-z]+")


def in_name(name: str) -> str:
    """Return the split that a name contains as a word, such as ``instances_train2017``; "" if it contains none or several."""
    found = {word for word in _WORDS.findall(name.casefold()) if word in {TRAIN, TEST, *VALIDATION}}
    return found.pop() if len(found) == 1 else ""
