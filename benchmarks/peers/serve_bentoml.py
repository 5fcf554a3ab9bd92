"""BentoML with this project's graph in OpenVINO: a worker for each core."""

from pathlib import Path

import bentoml
from serving_task import Scorer


@bentoml.service(workers="cpu_count")
class Inspection:
    def __init__(self) -> None:
        self.scorer = Scorer()

    @bentoml.api
    def predict(self, image: Path) -> dict:
        score = self.scorer(image.read_bytes())
        return {"verdict": "defective" if score >= 0.5 else "ok", "score": score}
