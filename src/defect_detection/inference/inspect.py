"""Inspect images with a bundle: decode, score, verdict, evidence map. Needs neither TensorFlow nor MLflow."""

import glob
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from defect_detection.data.images import IMAGE_SUFFIXES, MAX_PIXELS, read_image
from defect_detection.errors import DataError, ImageError
from defect_detection.inference.runtime import Runtime
from defect_detection.model.bundle import OPENVINO_FILE, Card, read_card, verify

Source = Path | bytes | np.ndarray


@dataclass(frozen=True)
class Inspection:
    """One verdict on one image, or why there is none.

    score: P(defective). latency_ms: decoding plus the image's share of its batch.
    evidence: float32 array of shape (h, w), log-odds per cell: where the defect is.
    """

    path: str
    score: float | None
    verdict: str | None
    threshold: float
    model: str
    latency_ms: float
    evidence: np.ndarray | None = None
    error: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return what a line of ``--json`` holds: all but the evidence map, and `error` only where there is one."""
        fields = {
            "path": self.path,
            "score": self.score,
            "verdict": self.verdict,
            "threshold": self.threshold,
        }
        fields |= {"model": self.model, "latency_ms": round(self.latency_ms, 2)}
        return fields | ({"error": self.error} if self.error else {})


class Inspector:
    """A bundle that is loaded and ready.

    Example:
        inspector = Inspector.load(Path("temp_best_model"))
        for inspection in inspector.inspect([Path("part.jpg")]):
            print(inspection.verdict, inspection.score)
    """

    def __init__(self, runtime: Runtime, card: Card, name: str, batch_size: int = 16) -> None:
        self.card = card
        self.name = name
        self.batch_size = batch_size
        self._runtime = runtime

    @classmethod
    def load(
        cls,
        folder: Path,
        *,
        name: str | None = None,
        threads: int | None = None,
        precision: str = "f32",
        batch_size: int = 16,
    ) -> "Inspector":
        """Load a bundle. `name` is what inspections call the model; the folder's own when not given.

        Raises:
            BundleError: the folder is incomplete, damaged or of another version.
        """
        card = read_card(folder)
        verify(folder, card, (OPENVINO_FILE, "model.bin"))
        runtime = Runtime(folder / OPENVINO_FILE, threads=threads, precision=precision)
        return cls(runtime, card, name or f"{card.name} ({folder})", batch_size)

    def score(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Score decoded images.

        Args:
            images: uint8 array of shape (n_images, image_size, image_size, 3), RGB.

        Returns:
            score: float32 array of shape (n_images,), P(defective); evidence: float32 array of shape (n_images, h, w).
        """
        batches = [
            self._runtime(images[i : i + self.batch_size]) for i in range(0, len(images), self.batch_size)
        ]
        return {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}

    def inspect(
        self,
        images: Sequence[Source],
        *,
        max_pixels: int = MAX_PIXELS,
        on_progress: Callable[[int], None] | None = None,
    ) -> Iterator[Inspection]:
        """Yield one inspection per image, in order; an image that can't be read gets its error.

        Decoding of the next images overlaps with the model; at most two batches of images are in memory.

        Args:
            images: paths, encoded bytes, or uint8 arrays (height, width, 3) RGB of the model's size.
            max_pixels: a larger image is refused before it is decoded.
            on_progress: is called with the number of images done.
        """
        size = (self.card.image_size, self.card.image_size)
        with ThreadPoolExecutor(2) as threads:
            numbered = list(enumerate(images))
            chunks = [numbered[i : i + self.batch_size] for i in range(0, len(numbered), self.batch_size)]
            decoding = (
                [threads.submit(_decode, image, size, max_pixels) for _, image in chunks[0]] if chunks else []
            )
            for number, chunk in enumerate(chunks):
                decoded = [job.result() for job in decoding]
                following = chunks[number + 1] if number + 1 < len(chunks) else []
                decoding = [threads.submit(_decode, image, size, max_pixels) for _, image in following]
                yield from self._verdicts([_label(image, index) for index, image in chunk], decoded)
                if on_progress:
                    on_progress(chunk[-1][0] + 1)

    def _verdicts(
        self, paths: list[str], decoded: list[tuple[np.ndarray | str, float]]
    ) -> Iterator[Inspection]:
        readable = [pixels for pixels, _ in decoded if isinstance(pixels, np.ndarray)]
        started = time.perf_counter()
        outputs = self._runtime(np.stack(readable)) if readable else {}
        share_ms = (time.perf_counter() - started) * 1000 / max(len(readable), 1)
        row = 0
        for path, (pixels, decode_ms) in zip(paths, decoded, strict=True):
            if isinstance(pixels, str):
                yield Inspection(path, None, None, self.card.threshold, self.name, decode_ms, error=pixels)
                continue
            score = float(outputs["score"][row])
            verdict = self.card.verdict(score)
            evidence = outputs["evidence"][row]
            yield Inspection(
                path, score, verdict, self.card.threshold, self.name, decode_ms + share_ms, evidence
            )
            row += 1


def _decode(image: Source, size: tuple[int, int], max_pixels: int) -> tuple[np.ndarray | str, float]:
    started = time.perf_counter()
    try:
        pixels: np.ndarray | str = (
            image if isinstance(image, np.ndarray) else read_image(image, size, max_pixels)
        )
    except ImageError as error:
        pixels = str(error)
    return pixels, (time.perf_counter() - started) * 1000


def _label(image: Source, index: int) -> str:
    return str(image) if isinstance(image, Path) else f"image {index}"


def find_images(patterns: Sequence[str]) -> list[Path]:
    """Return the images that files, folders (with what is below them) and glob patterns name, in order, each once.

    A file that is named is returned whatever its ending, also when it doesn't exist: its inspection then says so.

    Raises:
        DataError: a folder or pattern holds no image.
    """
    found: dict[Path, None] = {}
    for pattern in patterns:
        path = Path(pattern).expanduser()
        if path.is_dir():
            images = sorted(child for child in path.rglob("*") if _is_image(child, path))
        elif glob.has_magic(pattern) and not path.exists():
            matches = glob.glob(str(path), recursive=True)  # noqa: PTH207  the pattern may be absolute
            images = sorted(Path(match) for match in matches if Path(match).is_file())
        else:
            images = [path]
        if not images:
            raise DataError(
                f"{pattern}: no image there; expected an image file, a folder with images, or a pattern like 'parts/*.png'"
            )
        found |= dict.fromkeys(images)
    return list(found)


def _is_image(path: Path, folder: Path) -> bool:
    hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
    return path.suffix.lower() in IMAGE_SUFFIXES and not hidden and path.is_file()
