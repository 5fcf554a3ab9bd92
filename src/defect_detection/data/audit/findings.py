"""Derive the findings of the audit from the measurements. Reads no files."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from defect_detection.data.audit.alike import copies, copies_across_splits, groups_across_splits, near_copies
from defect_detection.data.audit.catalogue import Severity
from defect_detection.data.audit.material import (
    AuditEntry,
    Finding,
    Material,
    counted,
    finding,
    labels_in_words,
)
from defect_detection.data.outlying import FAR, from_median, unlike_the_others
from defect_detection.data.samples import DEFECTIVE, OK, labels_of
from defect_detection.data.shortcuts import DAYS, described
from defect_detection.data.walk import endings

DARK = 0.32  # of 99 % of the pixels; CleanVision's limits, as the next two
BRIGHT = 0.95  # of 95 % of the pixels
LEAST_ENTROPY = 3.0  # bits
_LEAST_BLUR = 1.4  # and so far in log sharpness: a quarter of the usual
_LEAST_STRETCH = np.log(1.5)  # and so far in log size or log shape
_SURE = 0.8  # P(the other label) of a suspect, at least
_RARE = 0.1  # share of the images
_DEPTHS = (8, 10, 12, 14)  # of cameras that write 16-bit files
_FEW = 30  # images of a label


def find(
    material: Material,
    allow_leakage: bool = False,
    refuse_unreadable: bool = False,
    allow_shortcuts: bool = False,
    learns_labels: bool = True,
) -> list[Finding]:
    """Return everything that was found, the worst first.

    Args:
        allow_leakage, allow_shortcuts: these findings are reported, but do not block training.
        refuse_unreadable: files that are left out block training.
        learns_labels: False: training learns from OK images alone, so shortcuts are notes.
    """
    found = [one for look in _LOOKS for one in look(material)]
    if allow_leakage:
        found = [_let_through(one, ("copies_across_splits", "groups_across_splits")) for one in found]
    if not learns_labels:
        found = [_as_note(one) if one.kind.name in ("shortcuts", "shortcut_days") else one for one in found]
    elif allow_shortcuts:
        found = [_let_through(one, ("shortcuts",)) for one in found]
    if refuse_unreadable:
        found = [
            replace(one, severity=Severity.BLOCKS) if one.kind.name == "unreadable" else one for one in found
        ]
    order = list(Severity)
    return sorted(found, key=lambda one: order.index(one.severity))


def _let_through(found: Finding, kinds: tuple[str, ...]) -> Finding:
    return replace(found, severity=Severity.ALLOWED) if found.kind.name in kinds else found


def _as_note(found: Finding) -> Finding:
    summary = f"{found.summary}; training from OK images alone does not learn it, but the figures for defective images may be too good"
    return replace(found, severity=Severity.NOTE, summary=summary)


def _label_suspects(material: Material) -> Iterator[Finding]:
    """Suspect an image whose other label is likely. It must be at least as likely as for the images that have that label."""
    scored = [sample for sample in material.train if sample.sha256 in material.scores]
    labels = labels_of(scored)
    scores = np.array([material.scores[sample.sha256] for sample in scored])
    if material.are_anomaly_scores or set(labels) != {OK, DEFECTIVE}:
        return
    other = np.where(labels == OK, scores, 1 - scores)  # P(the other label)
    usual = np.where(labels == OK, scores[labels == DEFECTIVE].mean(), 1 - scores[labels == OK].mean())
    order = np.argsort(-other, kind="stable")
    suspects = order[other[order] >= np.maximum(_SURE, usual[order])]
    entries = [
        AuditEntry((scored[i].path,), f"labelled {labels_in_words([scored[i]])} · score {scores[i]:.3f}")
        for i in suspects
    ]
    if entries:
        summary = f"{counted(len(entries), 'label')} of {len(scored)} contradicted by the model"
        yield finding("label_suspects", summary, entries)


def _unlike_the_others(material: Material) -> Iterator[Finding]:
    """List OK images far above the usual anomaly score, highest first. An anomaly score contradicts no label."""
    ok = [sample for sample in material.train if sample.label == OK]
    scored = [sample for sample in ok if material.are_anomaly_scores and sample.sha256 in material.scores]
    scores = np.array([material.scores[sample.sha256] for sample in scored])
    likely = np.clip(scores, 1e-6, 1 - 1e-6)
    far = unlike_the_others(np.log(likely / (1 - likely)))
    entries = [
        AuditEntry((scored[i].path,), f"labelled OK · anomaly score {scores[i]:.3f}")
        for i in np.argsort(-scores, kind="stable")
        if far[i]
    ]
    if entries:
        summary = f"{counted(len(entries), 'image')} of {len(scored)} unlike the other OK images"
        yield finding("unlike_the_others", summary, entries)


def _unreadable(material: Material) -> Iterator[Finding]:
    if material.skipped:
        entries = [AuditEntry((item.path,), item.reason) for item in material.skipped]
        which = endings(item.path for item in material.skipped)
        yield finding("unreadable", f"{counted(len(entries), 'file')} left out ({which})", entries)


def _masks(material: Material) -> Iterator[Finding]:
    if material.masks:
        count = len(material.masks)
        summary = f"{counted(count, 'file')} {'looks' if count == 1 else 'look'} like masks of the images beside them"
        yield finding("masks", summary, [AuditEntry((path,)) for path in material.masks])


def _imbalance(material: Material) -> Iterator[Finding]:
    for name, samples in (("train", material.train), ("test", material.test)):
        counts = Counter(sample.label for sample in samples)
        rarest = min((OK, DEFECTIVE), key=lambda label: counts[label])
        count = counts[rarest]
        if samples and (count < _FEW or count < _RARE * len(samples)):
            word = "OK" if rarest == OK else "defective"
            yield finding("imbalance", f"{count} of {counted(len(samples), f'{name} image')} {word}")


def _shortcuts(material: Material) -> Iterator[Finding]:
    for one in material.shortcuts:
        kind = "shortcuts" if one.is_seen else "shortcut_days" if one.name in DAYS else "shortcut_names"
        yield finding(kind, f"{one} ({described(one)})")


def _odd_sizes(material: Material) -> Iterator[Finding]:
    width, height = (material.measured[side].astype(float) for side in ("width", "height"))
    odd = _is_far(np.log(width * height) / 2, _LEAST_STRETCH) | _is_far(
        np.log(width / height), _LEAST_STRETCH
    )
    texts = [f"{w:.0f} × {h:.0f} px" for w, h in zip(width, height, strict=True)]
    usual = f"{np.median(width):.0f} × {np.median(height):.0f} px"
    yield from _listed("odd_size", material, odd, texts, f" (usual: {usual})")


def _bit_depth(material: Material) -> Iterator[Finding]:
    """Detect cameras that use fewer than 16 bits, by the largest value of all images."""
    bits = material.measured["bits"]
    depth = _likely_depth(material)
    if depth is not None:
        texts = [f"values below {2 ** int(one)}" for one in bits]
        yield from _listed(
            "bit_depth", material, bits > 0, texts, f" use {depth} of 16 bits; set data.bit_depth: {depth}"
        )


def _likely_depth(material: Material) -> int | None:
    """Return the lowest usual bit depth that fits all 16-bit files; None if it is set or all 16 bits are used."""
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
    entries = [AuditEntry((sample.path,), text) for sample, text, is_listed in rows if is_listed]
    if entries:
        yield finding(kind, f"{len(entries)} of {counted(len(material.samples), 'image')}{more}", entries)


def _is_far(values: np.ndarray, least: float, only_below: bool = False) -> np.ndarray:
    """Mark outliers: values far from the median in units of the median deviation, and by at least this distance."""
    if not len(values):
        return np.zeros(0, bool)
    above, spread = from_median(values)
    distance = -above if only_below else abs(above)
    return np.asarray(distance > max(least, FAR * float(spread)))


_LOOKS: tuple[Callable[[Material], Iterator[Finding]], ...] = (
    copies_across_splits,
    groups_across_splits,
    _shortcuts,
    copies,
    near_copies,
    _label_suspects,
    _unlike_the_others,
    _masks,
    _unreadable,
    _imbalance,
    _bit_depth,
    _odd_sizes,
    _quality,
)
