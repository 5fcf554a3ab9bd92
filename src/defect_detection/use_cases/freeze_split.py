"""Propose a test split of a product's images, and freeze it: from then on no image goes from test to train."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from defect_detection.data.in_training import is_in_training
from defect_detection.data.samples import DEFECTIVE, OK, Sample
from defect_detection.data.test_choice import choose_test
from defect_detection.errors import BusyError, DataError
from defect_detection.use_cases.change_images import ChangedImages, apply, changing
from defect_detection.use_cases.product_images import ListedImages, ProductImage, ProductImages


@dataclass(frozen=True, slots=True)
class Share:
    """How many images of a kind, such as "scratch" or a day, stay in train and how many go to test."""

    name: str
    train: int
    test: int


@dataclass(frozen=True, slots=True)
class Proposal:
    """A test split. kinds: OK and each type of defect; days: on which the images were taken. state: of the images that it is about."""

    state: str
    images: int
    parts: int
    kinds: tuple[Share, ...]
    days: tuple[Share, ...]
    without_part: int
    files: frozenset[str]


def propose_split(images: ProductImages, fraction: float) -> Proposal:
    """Return a test split of the images in train.

    Raises:
        DataError: too few images are labelled. BusyError: there is a test split already.
    """
    return _proposed(images, images.listed(), fraction)


def freeze_split(images: ProductImages, fraction: float, state: str, by: str) -> ChangedImages:
    """Move the proposed images to the test split.

    Args:
        state: of the proposal that the caller saw.

    Raises:
        BusyError: an image has changed since, there is a test split already, or a training reads these images.
        DataError: as for `propose_split`.
    """
    with changing(images) as listed:
        if is_in_training(images.config.root):
            raise BusyError(
                "a training of this product is running and learns from these images: choose the split when the training has ended"
            )
        proposal = _proposed(images, listed, fraction)
        if proposal.state != state:
            raise BusyError(
                "images have changed since this split was proposed. No image was moved: check the new proposal"
            )
        after = {file: replace(listed.images[file], place="test") for file in sorted(proposal.files)}
        return apply(images, listed, after, "image moved to the test split", by)


def _proposed(images: ProductImages, listed: ListedImages, fraction: float) -> Proposal:
    if any(listed.at("test")):
        raise BusyError(
            "the test split is already chosen. It does not change, so that models of different days can be compared; a new "
            "image goes to test if its part is in test"
        )
    train = sorted((one for one in listed.at("train") if one.label), key=lambda one: one.file)
    samples = {images.path(one): sample for one, sample in zip(train, _samples(images, train), strict=True)}
    days = {images.path(one): one.day for one in train}
    paths = choose_test(list(samples.values()), days, fraction, images.config.seed)
    files = frozenset(one.file for one in train if images.path(one) in paths)
    return Proposal(
        listed.state,
        len(files),
        len({one.part or one.file for one in train if one.file in files}),
        _shares((name, one.file in files) for one in train for name in (one.types or ("OK",))),
        _shares((one.day, one.file in files) for one in train),
        sum(not one.part for one in train),
        files,
    )


def _samples(images: ProductImages, train: Sequence[ProductImage]) -> list[Sample]:
    """Return the images as samples. Only the content of those of one size is compared."""
    sizes = Counter(one.n_bytes for one in train)
    found = []
    for one in train:
        try:
            key = images.hash_of(one) if sizes[one.n_bytes] > 1 else f"{one.n_bytes} bytes"
        except OSError as error:
            raise DataError(f"{one.file}: cannot be read ({error.strerror})") from error
        label = OK if one.label == "ok" else DEFECTIVE
        first, *more = one.types or ("",)
        found.append(Sample(images.path(one), label, first, one.part, key, None, tuple(more)))
    return found


def _shares(found: Iterable[tuple[str, bool]]) -> tuple[Share, ...]:
    counts = Counter(found)
    return tuple(
        Share(name, counts[name, False], counts[name, True]) for name in sorted({name for name, _ in counts})
    )
