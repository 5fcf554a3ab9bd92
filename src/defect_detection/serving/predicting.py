"""Inspection of the images of a request, within the limits of the server, and recording."""

import hashlib
import json
import logging
import os
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

import numpy as np
from flask import request
from werkzeug.exceptions import ClientDisconnected, UnprocessableEntity

from defect_detection.config import Config
from defect_detection.config.products import DEFAULT
from defect_detection.data.bounded import look_at
from defect_detection.data.bounds import Allowance, Limits
from defect_detection.data.images import Pages
from defect_detection.inference.inspect import Inspection
from defect_detection.model.type_rule import types_json
from defect_detection.processes.watch import Follow
from defect_detection.records.inspections import Inspected
from defect_detection.serving.champion import LoadedChampion, Served
from defect_detection.serving.limits import DecodingTurns
from defect_detection.serving.prometheus import RequestMetrics
from defect_detection.serving.recording import Recorder
from defect_detection.serving.uploads import check_image

MOST_OF_A_NAME = 256  # characters of a type in the database
_SILENCE_S = 10  # between two lines about the tiles of one image
AHEAD = 2 * (os.cpu_count() or 1)  # images of one request that are worked on or wait for it

log = logging.getLogger(__name__)
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Predicting:
    """The shared services of predictions. `pool` works on the images of one request."""

    served: Served
    recorder: Recorder
    metrics: RequestMetrics
    turns: DecodingTurns
    pool: ThreadPoolExecutor
    limits: Limits
    pages: Pages
    max_images: int
    product: str = DEFAULT

    @classmethod
    def of(cls, config: Config, served: Served, recorder: Recorder, metrics: RequestMetrics) -> "Predicting":
        pool = ThreadPoolExecutor(
            config.inference.threads or os.cpu_count() or 1, thread_name_prefix="images"
        )
        turns = DecodingTurns(max(1, config.serving.threads - 2))
        limits = Limits.of(config.data), config.data.pages, config.serving.max_images
        return cls(served, recorder, metrics, turns, pool, *limits)

    def of_product(self, config: Config, served: Served) -> "Predicting":
        """Return the services for another product, which shares pool, turns and records with this one."""
        limits, pages = Limits.of(config.data), config.data.pages
        return replace(self, served=served, limits=limits, pages=pages, product=config.product)

    def limits_for(self, n_bytes: int) -> Limits:
        """Return the limits of decoding for the current request, whose images have so many bytes together.

        What is decoded for it stops when its sender has gone.
        """
        has_gone = request.environ.get("waitress.client_disconnected", lambda: False)

        def check() -> None:
            if has_gone():
                raise ClientDisconnected

        return replace(self.limits, allowance=Allowance(n_bytes, self.limits, check))

    def inspect(self, champion: LoadedChampion, image: bytes | np.ndarray, limits: Limits) -> Inspection:
        """Inspect an image when it is its turn. It is neither counted nor recorded.

        Raises:
            HTTPException: says why it can't be inspected.
        """
        inspect_one = partial(
            champion.inspector.inspect_one, image, limits=limits, pages=self.pages, on_tile=_on_tile(limits)
        )
        if isinstance(image, bytes):
            with self.turns.taking(check_image(image, limits), "reduced"):
                inspection = inspect_one()
        else:
            inspection = inspect_one()
        if inspection.error is not None:
            raise UnprocessableEntity(inspection.error)
        return inspection

    def each(
        self,
        limits: Limits,
        work: Callable[[Any, Any], Result],
        images: Iterable[tuple[Any, bytes | np.ndarray]],
    ) -> Iterator[Result]:
        """Work on the images of one request, and yield the results in order.

        Plain images are worked on at the same time, a few ahead, so that other requests get their turn. Those that may take long
        come one after the other, in this thread.
        """
        waiting: deque[Callable[[], Result]] = deque()
        for name, image in images:
            if limits.allowance:
                limits.allowance.check()
            if isinstance(image, np.ndarray) or look_at(image).is_quick("reduced"):
                waiting.append(self.pool.submit(work, name, image).result)
            else:
                waiting.append(partial(_itself, work(name, image)))
            if len(waiting) >= AHEAD:
                yield waiting.popleft()()
        while waiting:
            yield waiting.popleft()()

    def keep(
        self,
        inspection: Inspection,
        champion: LoadedChampion,
        content: bytes,
        context: Mapping[str, str],
        name: str = "",
    ) -> str:
        """Record and count an inspection; return its id."""
        assert inspection.verdict is not None and inspection.score is not None
        recorded = Inspected(
            id=uuid.uuid4().hex,
            sha256=hashlib.sha256(content).hexdigest(),
            name=name,
            verdict=inspection.verdict,
            score=inspection.score,
            threshold=inspection.threshold,
            model_name=champion.reference.name,
            model_version=champion.reference.version,
            latency_ms=inspection.latency_ms,
            reason=inspection.reason,
            novelty=inspection.novelty,
            **(inspection.camera._asdict() if inspection.camera else {}),
            **_found(inspection),
            product=self.product,
            **context,  # type: ignore[arg-type]
        )
        self.recorder.record(recorded, content)
        self.count(inspection, champion)
        return recorded.id

    def count(self, inspection: Inspection, champion: LoadedChampion) -> None:
        """Count an inspection that is not recorded."""
        self.metrics.inspected(inspection, champion.reference.version, self.product)


def _on_tile(limits: Limits) -> Follow:
    """Return a function that stops the tiles of a large image when its sender has gone, and logs them now and then."""
    logged = time.monotonic()

    def follow(phase: str, done: int, total: int, metrics: Mapping[str, float] | None = None) -> None:
        nonlocal logged
        if limits.allowance:
            limits.allowance.check()
        if time.monotonic() - logged >= _SILENCE_S:
            logged = time.monotonic()
            log.info("inspecting a large image: %d of %d tiles", done, total)

    return follow


def _found(inspection: Inspection) -> dict[str, Any]:
    """Return where the defects are and of which types, as they are recorded."""
    types = types_json(inspection.types)["defect_types"]
    return {
        "boxes": json.dumps(inspection.boxes.to_json()) if inspection.boxes.found else None,
        "defect_type": inspection.defect_type and inspection.defect_type[:MOST_OF_A_NAME],
        "defect_types": json.dumps(types) if types else None,
    }


def _itself(result: Result) -> Result:
    return result
