"""Inspect images with a bundle: decode, score, verdict, evidence map. Needs neither TensorFlow nor MLflow."""

import os
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from defect_detection.data.bounds import DEFAULT_LIMITS, Limits
from defect_detection.data.boxes import ANY_SIZE, NO_BOXES, Boxes, BoxRules, find_boxes
from defect_detection.data.extent import Extent
from defect_detection.data.framing import Framing
from defect_detection.data.images import Pages
from defect_detection.data.reference import Camera
from defect_detection.errors import BundleError, ConfigError, ImageError
from defect_detection.inference.decoding import Decoded, Source, decode, decoded_ahead, label_of
from defect_detection.inference.runtime import Outputs, Runtime
from defect_detection.inference.tiled import judge_large
from defect_detection.model.bundle import CARD_FILE, OPENVINO_FILE, read_card, verify
from defect_detection.model.card import Card, ScoreIs
from defect_detection.model.parity import FormParity, allowed_difference, golden_parity
from defect_detection.model.type_rule import NamedType, types_json
from defect_detection.processes.watch import Follow, unwatched
from defect_detection.text import printable

MOST_DECODING = 16  # threads; each may hold one image at its full size
_UNWATCHED: Follow = partial(unwatched, "tiles")


@dataclass(frozen=True)
class Inspection:
    """One verdict on one image, or why there is none.

    score: P(defective), or an anomaly score: see `score_is`. page: which decided, from 1, of `pages` in the file.
    reason: how the image, or a page of it, is unlike the training images, so that it is never OK.
    novelty: in standard deviations of OK training images, how unlike them it is; None of a model that cannot tell.
    camera: figures of the page that decided.
    latency_ms: decoding plus the model, with the model's waiting for other images.
    evidence: float32 array of shape (h, w), log-odds per cell: where the defect is. extent: the pixels of the upright image that it
        covers. boxes: its connected areas above the level that corresponds to the threshold; none below the threshold.
    types_if_defective: the types of its defects, strongest first, as if it were defective; empty of a model that names none.
    size: (width, height) of the upright image, at the page that decided.
    """

    path: str
    score: float | None
    verdict: str | None
    threshold: float
    model: str
    latency_ms: float
    evidence: np.ndarray | None = None
    extent: Extent | None = None
    error: str | None = None
    page: int = 1
    pages: int = 1
    reason: str | None = None
    score_is: ScoreIs = "probability"
    novelty: float | None = None
    camera: Camera | None = None
    boxes: Boxes = NO_BOXES
    types_if_defective: tuple[NamedType, ...] = ()
    size: tuple[int, int] | None = None

    @property
    def types(self) -> tuple[NamedType, ...]:
        """The types of its defects, strongest first; empty of an OK image, and of a model that names none."""
        return () if self.verdict == "ok" else self.types_if_defective

    @property
    def defect_type(self) -> str | None:
        """The strongest type of its defects; None where the model names none."""
        return self.types[0].name if self.types else None

    def to_json(self) -> dict[str, Any]:
        """Return what a line of ``--json`` holds: no evidence map; `reason`, `error`, pages and boxes only where there are some.

        `score_is` only where the score is not P(defective).
        """
        fields: dict[str, Any] = {"path": printable(self.path)}
        fields |= {name: getattr(self, name) for name in ("score", "verdict", "threshold")}
        fields |= {"score_is": self.score_is} if self.score_is != "probability" else {}
        fields |= {"model": printable(self.model), "latency_ms": round(self.latency_ms, 2)}
        fields |= {"novelty": round(self.novelty, 2)} if self.novelty is not None else {}
        fields |= {"page": self.page, "pages": self.pages} if self.pages > 1 else {}
        fields |= {"reason": self.reason} if self.reason else {}
        fields |= types_json(self.types) if self.types else {}
        fields |= {"boxes": self.boxes.to_json()} if self.boxes.found else {}
        fields |= {"ignored_boxes": self.boxes.ignored} if self.boxes.ignored else {}
        return fields | ({"error": self.error} if self.error else {})


class Inspector:
    """A bundle that is loaded and ready. Several threads may share it.

    Example:
        inspector = Inspector.load(Path("temp_best_model"))
        for inspection in inspector.inspect([Path("part.jpg")]):
            print(inspection.verdict, inspection.score)
    """

    def __init__(
        self,
        runtime: Runtime,
        card: Card,
        name: str,
        threads: int | None = None,
        box_rules: BoxRules = ANY_SIZE,
    ) -> None:
        self.card = card
        self.box_rules = box_rules
        self.name = name
        self._runtime = runtime
        self._threads = min(threads or os.cpu_count() or 1, MOST_DECODING)
        self._under_way = _UnderWay()

    @classmethod
    def load(
        cls,
        folder: Path,
        *,
        name: str | None = None,
        threads: int | None = None,
        precision: str = "f32",
        box_rules: BoxRules = ANY_SIZE,
    ) -> "Inspector":
        """Load a bundle.

        Args:
            name: what inspections call the model; the card's name and the folder when not given.
            threads: CPU threads of the model, and of decoding; all cores when not given.
            precision: f32, or bf16, which is tried on the golden images first.
            box_rules: how areas of evidence become boxes.

        Raises:
            BundleError: the folder is incomplete, damaged or of another version.
            ConfigError: with this precision golden images get other verdicts, or scores that differ too much.
        """
        card = read_card(folder)
        verify(folder, card, (OPENVINO_FILE, "model.bin"))
        runtime = Runtime(folder / OPENVINO_FILE, threads=threads, precision=precision)
        if runtime.size not in (None, card.frame.size):
            raise BundleError(
                f"{folder / CARD_FILE}: image_size: expected {Framing.plain(runtime.size).image_size}, that of {OPENVINO_FILE}, "
                f"received {card.image_size}; copy the whole folder again, or train again"
            )
        inspector = cls(runtime, card, name or f"{card.name} ({folder})", threads, box_rules)
        if precision != "f32" and not (found := inspector.parity(folder, precision)).allowed:
            raise ConfigError(
                f"inference.precision: {precision} is not accurate enough for the model in {folder}; set it to f32: {found} "
                f"({allowed_difference(precision)})"
            )
        return inspector

    def parity(self, folder: Path, precision: str = "f32") -> FormParity:
        """Compare scores and verdicts on the golden images of the bundle in `folder` with those that it was trained with.

        Raises:
            BundleError: the golden images, or their verdicts, were changed.
        """
        return golden_parity(folder, self.score, "OpenVINO", precision)

    def score(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Score decoded images.

        Args:
            images: uint8 array of shape (n_images, height, width, 3), RGB, as `card.frame` fits them; at least one.

        Returns:
            score: float32 array of shape (n_images,), P(defective); evidence: float32 array of shape (n_images, h, w).
        """
        return self._runtime(images)

    def inspect(
        self,
        images: Iterable[Source],
        *,
        limits: Limits = DEFAULT_LIMITS,
        pages: Pages = "refuse",
        on_tile: Follow = _UNWATCHED,
    ) -> Generator[Inspection, None, None]:
        """Yield one inspection per image, in order; an image that can't be read gets its error.

        Decoding in threads overlaps with the model. However many images come, only a few are in memory: `images` may be a
        generator, and is read only a few images per core ahead of what was yielded.

        Args:
            images: paths, encoded bytes, or uint8 arrays of shape (height, width, 3), RGB, as `card.frame` fits them.
            limits: a larger image is refused before it is decoded, and one that takes too long is not decoded to its end.
            pages: what to do with a file of several pages. With "all" each page is judged, and the highest score decides.
            on_tile: follows the tiles of a large image; the phase is the name of the image.
        """
        if self.card.tile_rule:
            yield from (self._tiled(one, i, limits, pages, on_tile) for i, one in enumerate(images))
            return
        decode_one = partial(decode, card=self.card, limits=limits, pages=pages)
        answered: list[Outputs] = []
        with (
            closing(decoded_ahead(images, decode_one, self._threads)) as decoded,
            closing(self._runtime.each(_page_by_page(decoded))) as answers,
        ):
            for image, answer in answers:
                answered += [answer] if answer else []
                if len(answered) == len(image.pages):
                    yield self._inspection(image, answered)
                    answered = []

    def inspect_one(
        self,
        image: Source,
        *,
        limits: Limits = DEFAULT_LIMITS,
        pages: Pages = "refuse",
        on_tile: Follow = _UNWATCHED,
    ) -> Inspection:
        """Inspect one image in the thread that calls; many threads may at the same time.

        A single call has all cores for itself, of several each gets its share. Arguments as for `inspect`.
        """
        if self.card.tile_rule:
            return self._tiled(image, 0, limits, pages, on_tile)
        with self._under_way as count:
            decoded = decode(image, 0, self.card, limits, pages)
            answered = [self._runtime.one(pixels, alone=count() == 1) for pixels in decoded.pages]
        return self._inspection(decoded, answered)

    def prepare(self, *, lean: bool = False) -> None:
        """Warm up: run each form of the model once, so the first images do not wait. lean: see `Runtime.prepare`."""
        self._runtime.prepare(lean=lean)
        for alone in (True, False):
            self._runtime.one(np.zeros((*self.card.frame.size, 3), np.uint8), alone=alone)

    def _tiled(self, image: Source, number: int, limits: Limits, pages: Pages, on_tile: Follow) -> Inspection:
        """Inspect a large image tile by tile."""
        started, card, path = time.perf_counter(), self.card, label_of(image, number)

        def took_ms() -> float:
            return (time.perf_counter() - started) * 1000

        try:
            seen = judge_large(image, card, self._runtime, limits, pages, partial(on_tile, path))
        except ImageError as error:
            return Inspection(path, None, None, card.threshold, self.name, took_ms(), error=str(error))
        reason = seen.unlike or card.unseen(seen.novelty, seen.score)
        verdict = card.verdict(seen.score, reason)
        return Inspection(
            path,
            seen.score,
            verdict,
            card.threshold,
            self.name,
            took_ms(),
            seen.evidence,
            seen.extent,
            reason=reason,
            score_is=card.score_is,
            novelty=seen.novelty,
            camera=seen.camera,
            boxes=find_boxes(seen.evidence, seen.score, card.threshold, seen.extent, self.box_rules),
            size=seen.extent.size,
            types_if_defective=self._named(seen.types, seen.type_novelty),
        )

    def _inspection(self, image: Decoded, answered: Sequence[Outputs]) -> Inspection:
        """Return the result of the page with the highest score."""
        path, threshold = image.label, self.card.threshold
        if not answered:
            return Inspection(path, None, None, threshold, self.name, image.took_ms, error=image.error)
        scores = [float(answer.outputs["score"]) for answer in answered]
        worst = max(range(len(scores)), key=scores.__getitem__)
        took_ms = image.took_ms + sum(answer.took_ms for answer in answered)
        score, evidence, extent = scores[worst], answered[worst].outputs["evidence"], image.extents[worst]
        page, pages = worst + 1, len(scores)
        novelties = [float(one.outputs["novelty"]) if "novelty" in one.outputs else None for one in answered]
        unlike = [
            look or self.card.unseen(novelty, score)
            for look, novelty, score in zip(image.unlike, novelties, scores, strict=True)
        ]
        reason = unlike[worst] or next(filter(None, unlike), None)
        verdict = self.card.verdict(score, reason)
        return Inspection(
            path,
            score,
            verdict,
            threshold,
            self.name,
            took_ms,
            evidence,
            extent,
            page=page,
            pages=pages,
            reason=reason,
            score_is=self.card.score_is,
            novelty=novelties[worst],
            camera=image.cameras[worst],
            boxes=find_boxes(evidence, score, threshold, extent, self.box_rules),
            size=image.sizes[worst],
            types_if_defective=self._named(answered[worst].outputs.get("types"), novelties[worst]),
        )

    def _named(self, types: Any, novelty: float | None) -> tuple[NamedType, ...]:
        rule = self.card.types
        return rule.named(np.asarray(types).tolist(), novelty) if rule else ()


class _UnderWay:
    """Counts the threads that are inside its ``with`` block."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count = 0

    def __enter__(self) -> Callable[[], int]:
        with self._lock:
            self._count += 1
        return lambda: self._count

    def __exit__(self, *_error: object) -> None:
        with self._lock:
            self._count -= 1


def _page_by_page(images: Iterable[Decoded]) -> Iterator[tuple[Decoded, np.ndarray | None]]:
    for image in images:
        yield from ((image, page) for page in image.pages or (None,))
