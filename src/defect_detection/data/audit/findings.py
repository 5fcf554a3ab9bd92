"""From what was measured to what is wrong with the data. Nothing here reads a file."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from defect_detection.data.audit.kinds import KINDS, Kind, Severity
from defect_detection.data.audit.near import Nearest, nearest
from defect_detection.data.leakage import identical, shared_groups
from defect_detection.data.samples import DEFECTIVE, OK, Sample, Skipped, labels_of
from defect_detection.data.shortcuts import DAYS, Shortcut, described
from defect_detection.data.walk import endings

DARK = 0.32  # of 99 % of the pixels; CleanVision's limits, as the next two
BRIGHT = 0.95  # of 95 % of the pixels
LEAST_ENTROPY = 3.0  # bits
FAR = 4.0  # robust standard deviations from the median
_LEAST_BLUR = 1.4  # and so far in log sharpness: a quarter of the usual
_LEAST_STRETCH = np.log(1.5)  # and so far in log size or log shape
_SURE = 0.8  # P(the other label) of a suspect, at least
_RARE = 0.1  # share of the images
_DEPTHS = (8, 10, 12, 14)  # of cameras that write 16-bit files
_FEW = 30  # images of a label


@dataclass(frozen=True)
class Entry:
    """One image, or images that belong together, and what is to be said about them."""

    paths: tuple[Path, ...]
    text: str = ""


@dataclass(frozen=True)
class Finding:
    """One kind of finding with all images that it is about."""

    kind: Kind
    severity: Severity
    summary: str
    entries: tuple[Entry, ...] = ()


@dataclass(frozen=True)
class Material:
    """What is judged. `measured` has a row for each of `samples`, see `MEASURED`.

    scores: P(defective) by the ``sha256`` of images that the fit which gave it didn't learn from.
    masks: images that look like masks of others.
    bit_depth: `data.bit_depth`. shortcuts: what beside the picture tells the label of the training images.
    """

    train: tuple[Sample, ...]
    test: tuple[Sample, ...]
    skipped: tuple[Skipped, ...]
    measured: np.ndarray
    scores: Mapping[str, float]
    masks: tuple[Path, ...] = ()
    bit_depth: int | None = None
    shortcuts: tuple[Shortcut, ...] = ()

    @cached_property
    def samples(self) -> tuple[Sample, ...]:
        return self.train + self.test

    @cached_property
    def is_test(self) -> np.ndarray:
        return np.arange(len(self.samples)) >= len(self.train)


def find(
    material: Material,
    allow_leakage: bool = False,
    refuse_unreadable: bool = False,
    allow_shortcuts: bool = False,
) -> list[Finding]:
    """Return everything that was found, the worst first.

    Args:
        allow_leakage: leakage, which blocks training, is let through, and still reported; allow_shortcuts: so are shortcuts.
        refuse_unreadable: files that are left out block training.
    """
    found = [finding for look in _LOOKS for finding in look(material)]
    if allow_leakage:
        found = [_let_through(one, ("copies_across_splits", "groups_across_splits")) for one in found]
    if allow_shortcuts:
        found = [_let_through(one, ("shortcuts",)) for one in found]
    if refuse_unreadable:
        found = [
            replace(one, severity=Severity.BLOCKS) if one.kind.name == "unreadable" else one for one in found
        ]
    order = list(Severity)
    return sorted(found, key=lambda finding: order.index(finding.severity))


def _let_through(finding: Finding, kinds: tuple[str, ...]) -> Finding:
    if finding.kind.name not in kinds:
        return finding
    return Finding(finding.kind, Severity.ALLOWED, finding.summary, finding.entries)


def _finding(kind: str, summary: str, entries: Iterable[Entry] = ()) -> Finding:
    return Finding(KINDS[kind], KINDS[kind].severity, summary, tuple(entries))


def _shared_groups(material: Material) -> Iterator[Finding]:
    members = defaultdict(list)
    for sample in material.samples:
        members[sample.group].append(sample.path)
    groups = shared_groups(material.train, material.test)
    if groups:
        entries = [Entry(tuple(members[group]), group) for group in groups]
        yield _finding("groups_across_splits", f"{_count(len(groups), 'group')} in both folders", entries)


def _copies_across_splits(material: Material) -> Iterator[Finding]:
    pairs = [Entry((known.path, sample.path)) for known, sample in identical(material.train, material.test)]
    if pairs:
        yield _finding("copies_across_splits", f"{_count(len(pairs), 'test image')} also in train", pairs)


def _copies(material: Material) -> Iterator[Finding]:
    by_content: dict[str, list[Sample]] = defaultdict(list)
    for sample in material.samples:
        by_content[sample.sha256].append(sample)
    alike = [samples for samples in by_content.values() if len(samples) > 1]
    torn = [samples for samples in alike if len({sample.label for sample in samples}) > 1]
    if torn:
        entries = [Entry(tuple(s.path for s in samples), _labels(samples)) for samples in torn]
        yield _finding("copies_across_labels", f"{_count(len(torn), 'image')} with two labels", entries)
    train = {sample.path for sample in material.train}
    sides = [
        [s.path for s in samples if (s.path in train) == side]
        for samples in alike
        if samples not in torn
        for side in (True, False)
    ]
    entries = [Entry(tuple(paths)) for paths in sides if len(paths) > 1]
    if entries:
        spare = sum(len(entry.paths) - 1 for entry in entries)
        yield _finding(
            "copies", f"{_count(spare, 'copy', 'copies')} of {_count(len(entries), 'image')}", entries
        )


def _near(material: Material) -> Iterator[Finding]:
    across_splits, across_labels, within = _nearest(material)
    samples = material.samples
    tests = np.flatnonzero((across_splits.partner >= 0) & material.is_test)
    order = tests[np.argsort(-across_splits.similarity[tests], kind="stable")]
    if len(order):
        pairs = [(int(across_splits.partner[i]), int(i), across_splits.similarity[i]) for i in order]
        summary = (
            f"{len(pairs)} of {_count(len(material.test), 'test image')} nearly identical to a training image"
        )
        yield _finding("near_across_splits", summary, [_pair(samples, *pair) for pair in pairs])
    for kind, result in (("near_across_labels", across_labels), ("near_within", within)):
        if (result.partner >= 0).any():
            entries = [_pair(samples, i, j, result.similarity[i]) for i, j in result.pairs()]
            yield _finding(
                kind, f"{_count(int((result.partner >= 0).sum()), 'image')} with a near duplicate", entries
            )


def _nearest(material: Material) -> list[Nearest]:
    samples, measured = material.samples, material.measured
    return nearest(
        measured["hash"],
        measured["thumbnail"],
        contents=_numbered(sample.sha256 for sample in samples),
        units=_numbered(sample.group or f"\0{place}" for place, sample in enumerate(samples)),
        relations=np.stack([material.is_test, [sample.label == DEFECTIVE for sample in samples]]),
    )


def _pair(samples: Sequence[Sample], one: int, other: int, similarity: float) -> Entry:
    pair = samples[one], samples[other]
    return Entry((pair[0].path, pair[1].path), f"similarity {similarity:.2f} · {_labels(pair)}")


def _numbered(names: Iterable[str]) -> np.ndarray:
    return np.unique(list(names), return_inverse=True)[1]


def _labels(samples: Iterable[Sample]) -> str:
    return " / ".join("defective" if sample.label == DEFECTIVE else "OK" for sample in samples)


def _label_suspects(material: Material) -> Iterator[Finding]:
    """Suspect an image when the other label is likely, and as likely as for those that have that label."""
    scored = [sample for sample in material.train if sample.sha256 in material.scores]
    labels = labels_of(scored)
    scores = np.array([material.scores[sample.sha256] for sample in scored])
    if set(labels) != {OK, DEFECTIVE}:
        return
    other = np.where(labels == OK, scores, 1 - scores)  # P(the other label)
    usual = np.where(labels == OK, scores[labels == DEFECTIVE].mean(), 1 - scores[labels == OK].mean())
    order = np.argsort(-other, kind="stable")
    suspects = order[other[order] >= np.maximum(_SURE, usual[order])]
    entries = [
        Entry((scored[i].path,), f"labelled {_labels([scored[i]])} · score {scores[i]:.3f}") for i in suspects
    ]
    if entries:
        summary = f"{_count(len(entries), 'label')} of {len(scored)} contradicted by the model"
        yield _finding("label_suspects", summary, entries)


def _unreadable(material: Material) -> Iterator[Finding]:
    if material.skipped:
        entries = [Entry((item.path,), item.reason) for item in material.skipped]
        which = endings(item.path for item in material.skipped)
        yield _finding("unreadable", f"{_count(len(entries), 'file')} left out ({which})", entries)


def _masks(material: Material) -> Iterator[Finding]:
    if material.masks:
        count = len(material.masks)
        summary = f"{_count(count, 'file')} {'looks' if count == 1 else 'look'} like masks of the images beside them"
        yield _finding("masks", summary, [Entry((path,)) for path in material.masks])


def _imbalance(material: Material) -> Iterator[Finding]:
    for name, samples in (("train", material.train), ("test", material.test)):
        counts = Counter(sample.label for sample in samples)
        rarest = min((OK, DEFECTIVE), key=lambda label: counts[label])
        count = counts[rarest]
        if samples and (count < _FEW or count < _RARE * len(samples)):
            word = "OK" if rarest == OK else "defective"
            yield _finding("imbalance", f"{count} of {_count(len(samples), f'{name} image')} {word}")


def _shortcuts(material: Material) -> Iterator[Finding]:
    for one in material.shortcuts:
        kind = "shortcuts" if one.is_seen else "shortcut_days" if one.name in DAYS else "shortcut_names"
        yield _finding(kind, f"{one} ({described(one)})")


def _odd_sizes(material: Material) -> Iterator[Finding]:
    width, height = (material.measured[side].astype(float) for side in ("width", "height"))
    odd = _is_far(np.log(width * height) / 2, _LEAST_STRETCH) | _is_far(
        np.log(width / height), _LEAST_STRETCH
    )
    texts = [f"{w:.0f} × {h:.0f} px" for w, h in zip(width, height, strict=True)]
    usual = f"{np.median(width):.0f} × {np.median(height):.0f} px"
    yield from _listed("odd_size", material, odd, texts, f" (usual: {usual})")


def _bit_depth(material: Material) -> Iterator[Finding]:
    """Tell images of a camera that uses fewer than 16 bits by the largest value in all of them."""
    bits = material.measured["bits"]
    depth = _likely_depth(material)
    if depth is not None:
        texts = [f"values below {2 ** int(one)}" for one in bits]
        yield from _listed(
            "bit_depth", material, bits > 0, texts, f" use {depth} of 16 bits; set data.bit_depth: {depth}"
        )


def _likely_depth(material: Material) -> int | None:
    """Return the least usual bit depth that fits all 16-bit files; None where it is set, or all 16 bits are used."""
    most = int(material.measured["bits"].max(initial=0))
    if material.bit_depth is not None or not most:
        return None
    return next((depth for depth in _DEPTHS if most <= depth), None)


def _quality(material: Material) -> Iterator[Finding]:
    m = material.measured
    in_doubt = m["bits"] > 0 if _likely_depth(material) else np.zeros(len(m), bool)
    blurry = _is_far(m["sharpness"].astype(float), _LEAST_BLUR, only_below=True)
    usual = float(np.median(m["sharpness"]))
    for kind, where, values, text in (
        ("blurry", blurry, np.exp(m["sharpness"] - usual), "{:.0%} of the usual sharpness"),
        ("dark", (m["brightest"] < DARK) & ~in_doubt, m["brightest"], "99 % of the pixels below {:.0%}"),
        ("bright", (m["darkest"] > BRIGHT) & ~in_doubt, m["darkest"], "95 % of the pixels above {:.0%}"),
        ("low_information", (m["entropy"] < LEAST_ENTROPY) & ~in_doubt, m["entropy"], "{:.1f} of 8 bits"),
    ):
        yield from _listed(kind, material, where, [text.format(float(value)) for value in values])


def _listed(
    kind: str, material: Material, where: np.ndarray, texts: Sequence[str], more: str = ""
) -> Iterator[Finding]:
    rows = zip(material.samples, texts, where, strict=True)
    entries = [Entry((sample.path,), text) for sample, text, is_listed in rows if is_listed]
    if entries:
        yield _finding(kind, f"{len(entries)} of {_count(len(material.samples), 'image')}{more}", entries)


def _is_far(values: np.ndarray, least: float, only_below: bool = False) -> np.ndarray:
    """Say which values lie far from the median, measured by the median distance from it; and at least so far."""
    if not len(values):
        return np.zeros(0, bool)
    distance = np.median(values) - values
    distance = distance if only_below else abs(distance)
    spread = 1.4826 * np.median(abs(values - np.median(values)))  # that of a normal distribution
    return np.asarray(distance > max(least, FAR * spread))


def _count(number: int, word: str, plural: str = "") -> str:
    return f"{number} {word}" if number == 1 else f"{number} {plural or word + 's'}"


_LOOKS: tuple[Callable[[Material], Iterator[Finding]], ...] = (
    _copies_across_splits,
    _shared_groups,
    _shortcuts,
    _copies,
    _near,
    _label_suspects,
    _masks,
    _unreadable,
    _imbalance,
    _bit_depth,
    _odd_sizes,
    _quality,
)
