"""Join samples to parts, each of which stays in one split."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from defect_detection.data.samples import Sample


@dataclass(frozen=True)
class PartSamples:
    """The samples of one part: of one group, or with identical bytes, or joined by a chain of both."""

    name: str  # of its group, else of its content
    samples: tuple[Sample, ...]

    @cached_property
    def labels(self) -> frozenset[int]:
        return frozenset(sample.label for sample in self.samples)

    def rank(self, seed: int | str) -> str:
        """Return a random sort key per part that does not depend on the other parts."""
        return hashlib.sha256(f"{seed} {self.name}".encode(errors="surrogateescape")).hexdigest()


def parts_of(samples: Iterable[Sample]) -> list[str]:
    """Return the name of each sample's part: what splits, intervals and claims count.

    Images of one group are one part, and so are identical images, whatever their groups.
    """
    samples = list(samples)
    names = {sample.path: part.name for part in join(samples) for sample in part.samples}
    return [names[sample.path] for sample in samples]


def of_whole_parts(chosen: np.ndarray, samples: Iterable[Sample]) -> np.ndarray:
    """Extend a selection of samples to whole parts; both bool arrays of shape (n_images,)."""
    parts = np.array(parts_of(samples))
    return np.isin(parts, np.unique(parts[chosen]))


def join(samples: Iterable[Sample]) -> list[PartSamples]:
    """Return the parts of the samples, in the order of each part's first sample."""
    leaders: dict[str, str] = {}
    members: dict[str, list[Sample]] = defaultdict(list)
    samples = list(samples)
    for sample in samples:
        keys = _keys(sample)
        _unite(leaders, keys[0], keys[-1])
    for sample in samples:
        members[_leader(leaders, _keys(sample)[0])].append(sample)
    return [PartSamples(name, tuple(joined)) for name, joined in members.items()]


def _keys(sample: Sample) -> list[str]:
    content = f"image:{sample.sha256}"
    return [f"group:{sample.group}", content] if sample.group else [content]


def _unite(leaders: dict[str, str], one: str, other: str) -> None:
    """Use the smaller name as the root, so a part keeps its name ("group:" before "image:") when it grows."""
    low, high = sorted((_leader(leaders, one), _leader(leaders, other)))
    leaders[high] = low


def _leader(leaders: dict[str, str], key: str) -> str:
    while leaders.setdefault(key, key) != key:
        leaders[key] = leaders[leaders[key]]
        key = leaders[key]
    return key
