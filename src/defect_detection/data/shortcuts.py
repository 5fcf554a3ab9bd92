"""Find shortcuts: file properties that predict the label, such as format, size, camera, day or name.

A model learns whatever separates the two labels. Where OK parts are PNG files and defective ones are JPEG files, it learns
the traces of JPEG, and every figure is perfect.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np

from defect_detection.data.headers import headers_of
from defect_detection.data.samples import DEFECTIVE, OK, Sample
from defect_detection.errors import ShortcutError

LEAST_ACCURACY = (
    0.8  # balanced accuracy of guessing from the property: below it, most of the label is not told
)
MOST_P = 0.01  # after Bonferroni's correction for the properties that were tried
_BINS = 8  # of sizes and qualities, where there are more different ones
DAYS = ("capture day", "day in the path")
_MOST_SHOWN = 4  # values of a property
_TOLD_BY_ABSENCE = ("resolution", "colour profile", "camera", "software", "EXIF orientation")
NAMES = ("file name", "file day")  # given after labelling, as often as not
_DAY = re.compile(r"(?<!\d)(20\d\d)[-_.]?(0[1-9]|1[0-2])[-_.]?(0[1-9]|[12]\d|3[01])(?!\d)")


@dataclass(frozen=True)
class Shortcut:
    """A property that predicts the label. accuracy: balanced accuracy of guessing each part's label from the other parts with its
    value. p: corrected.
        counts: by value, how many parts are OK and how many are defective, the most frequent first.
    """

    name: str
    accuracy: float
    p: float
    counts: tuple[tuple[str, int, int], ...]

    @property
    def is_seen(self) -> bool:
        """Check whether the property can be visible in the picture. A day or a name is not, but related changes may be."""
        return self.name not in DAYS + NAMES

    def __str__(self) -> str:
        return f"the {self.name} predicts the label of {self.accuracy:.0%} of the parts"


def find_shortcuts(samples: Sequence[Sample], cache_dir: Path) -> list[Shortcut]:
    """Return the file properties that predict the label, the most certain first.

    Args:
        samples: what training learns from.
        cache_dir: headers are kept there.
    """
    headers = headers_of(samples, cache_dir)
    binned = _with_bins([_with_absences(header) for header in headers])
    rows = [header | _outside(sample.path) for header, sample in zip(binned, samples, strict=True)]
    tables = {name: _table(samples, [row.get(name, "") for row in rows]) for name in _names(rows)}
    tried = {name: table for name, table in tables.items() if len(table) > 1}
    found = [_judged(name, table, len(tried)) for name, table in tried.items()]
    told = [one for one in found if one.accuracy >= LEAST_ACCURACY and one.p <= MOST_P]
    return sorted(told, key=lambda one: -one.accuracy)


def check_shortcuts(found: Sequence[Shortcut]) -> None:
    """Refuse data if a property that can be visible in the picture predicts the label.

    Raises:
        ShortcutError: names each property with its counts.
    """
    seen = [one for one in found if one.is_seen]
    if seen:
        lines = [f"{one}: {described(one)}" for one in seen]
        raise ShortcutError(
            "\n  ".join(
                [
                    "file properties predict the label, so the figures would not measure the detection of defects:",
                    *lines,
                ]
            )
            + "\nsave OK and defective images in the same way, with the same camera and program. `defect data check` lists "
            "all; with data.allow_shortcuts: true, training continues and every report says so"
        )


def described(shortcut: Shortcut) -> str:
    """Return the counts of the most frequent values in words."""
    parts = [f"{value}: {ok} OK, {bad} defective" for value, ok, bad in shortcut.counts[:_MOST_SHOWN]]
    more = len(shortcut.counts) - _MOST_SHOWN
    return "; ".join(parts) + (f"; and {more} more values" if more > 0 else "")


def _names(rows: Sequence[Mapping[str, str]]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row))


def _with_absences(header: Mapping[str, str]) -> dict[str, str]:
    """Name missing properties of the header; programs that save an image again often drop the camera."""
    lacking = [name for name in _TOLD_BY_ABSENCE if name not in header] if header else []
    return {**header, **dict.fromkeys(lacking, "none")}


def _with_bins(headers: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    """Put sizes and qualities into bins of equally many images where there are many different ones."""
    return _with_bins_of_sizes(_with_bins_of_quality(headers))


def _with_bins_of_quality(headers: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    known = [header["JPEG quality"] for header in headers if "JPEG quality" in header]
    if len(set(known)) <= _BINS:
        return list(headers)
    steps = np.array([float(quality.split()[2]) for quality in known])
    binned = iter(_bins(steps, "mean step {:.2f} to {:.2f}"))
    return [
        header | ({"JPEG quality": next(binned)} if "JPEG quality" in header else {}) for header in headers
    ]


def _with_bins_of_sizes(headers: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    sizes = [tuple(map(int, header.get("image size", "0 x 0").split(" x "))) for header in headers]
    if len(set(sizes)) <= _BINS:
        return list(headers)
    width, height = np.array(sizes, float).T
    area = _bins(np.sqrt(width * height), "{:.0f} to {:.0f} px")
    shape = _bins(width / np.maximum(height, 1), "{:.2g} to {:.2g}")
    return [
        header | ({"image size": a, "image shape": s} if header else {})
        for header, a, s in zip(headers, area, shape, strict=True)
    ]


def _bins(values: np.ndarray, text: str) -> list[str]:
    edges = np.unique(np.quantile(values, np.linspace(0, 1, _BINS + 1)))
    places = np.clip(np.searchsorted(edges, values, "right") - 1, 0, max(len(edges) - 2, 0))
    return [text.format(edges[place], edges[min(place + 1, len(edges) - 1)]) for place in places]


def _outside(path: Path) -> dict[str, str]:
    """Return the properties of the file's name, folder and date."""
    days = _DAY.findall(path.as_posix())
    properties = {"file name": re.sub(r"\d+", lambda digits: f"<{len(digits[0])} digits>", path.stem)}
    if days:
        properties["day in the path"] = "-".join(days[-1])
    with suppress(OSError):
        properties["file day"] = date.fromtimestamp(path.stat().st_mtime).isoformat()
    return properties


def _table(samples: Sequence[Sample], values: Sequence[str]) -> dict[str, tuple[int, int]]:
    """Count the OK and the defective parts of each value; a part with several values has its most frequent one."""
    parts: dict[tuple[str, int], Counter[str]] = defaultdict(Counter)
    for sample, value in zip(samples, values, strict=True):
        if value:
            parts[sample.group or sample.sha256, sample.label][value] += 1
    counts: dict[str, Counter[int]] = defaultdict(Counter)
    for (_, label), held in parts.items():
        counts[held.most_common(1)[0][0]][label] += 1
    return {value: (count[OK], count[DEFECTIVE]) for value, count in counts.items()}


def _judged(name: str, table: Mapping[str, tuple[int, int]], tried: int) -> Shortcut:
    """Guess each part's label from the other parts with the same value, and test the guesses against the labels."""
    from scipy.stats import fisher_exact

    counts = np.array(list(table.values()), float)  # (n_values, 2)
    total = counts.sum(axis=0)
    if total.min() < 2:
        return Shortcut(name, 0.0, 1.0, ())
    hits = np.zeros(2)
    for label in (OK, DEFECTIVE):
        others = counts.copy()
        others[:, label] = np.maximum(others[:, label] - 1, 0)
        left = total.copy()
        left[label] -= 1
        share = others / left
        right = np.sign(share[:, label] - share[:, 1 - label])  # 0: a coin
        hits[label] = (counts[:, label] * (right + 1) / 2).sum()
    sure = np.floor(hits)
    guesses = [[sure[0], total[0] - sure[0]], [total[1] - sure[1], sure[1]]]
    p = float(fisher_exact(guesses, alternative="greater").pvalue)
    ordered = sorted(table.items(), key=lambda item: -sum(item[1]))
    named = tuple((value, ok, bad) for value, (ok, bad) in ordered)
    return Shortcut(name, float((hits / total).mean()), min(1.0, p * tried), named)
