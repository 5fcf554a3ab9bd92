"""Shared services of all predictions of a server: model, limits, queueing and recording."""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from flask import request
from werkzeug.exceptions import ClientDisconnected

from defect_detection.config import Config
from defect_detection.data.bounds import Allowance, Limits
from defect_detection.data.images import Pages
from defect_detection.serving.champion import Served
from defect_detection.serving.limits import Turns
from defect_detection.serving.prometheus import Metrics
from defect_detection.serving.recording import Recorder


@dataclass(frozen=True, slots=True)
class Predicting:
    """The shared services of predictions. `pool` works on the images of one request."""

    served: Served
    recorder: Recorder
    metrics: Metrics
    turns: Turns
    pool: ThreadPoolExecutor
    limits: Limits
    pages: Pages
    max_images: int

    @classmethod
    def of(cls, config: Config, served: Served, recorder: Recorder, metrics: Metrics) -> "Predicting":
        pool = ThreadPoolExecutor(
            config.inference.threads or os.cpu_count() or 1, thread_name_prefix="images"
        )
        turns = Turns(max(1, config.serving.threads - 2))
        limits = Limits.of(config.data), config.data.pages, config.serving.max_images
        return cls(served, recorder, metrics, turns, pool, *limits)

    def limits_for(self, n_bytes: int) -> Limits:
        """Return the limits of decoding for the current request, whose images have so many bytes together.

        What is decoded for it stops when its sender has gone.
        """
        has_gone = request.environ.get("waitress.client_disconnected", lambda: False)

        def check() -> None:
            if has_gone():
                raise ClientDisconnected

        return replace(self.limits, allowance=Allowance(n_bytes, self.limits, check))
