"""Run all steps on sample data in a new folder."""

import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from defect_detection.config import Config, load_config
from defect_detection.errors import DataError
from defect_detection.evaluation.gate import Outcome
from defect_detection.files.unfinished import write_text
from defect_detection.processes.watch import Watch, unwatched
from defect_detection.synthetic.sample_data import write_sample_data
from defect_detection.use_cases.evaluate import Evaluation, evaluate
from defect_detection.use_cases.inspection import inspect_images
from defect_detection.use_cases.project import shipped
from defect_detection.use_cases.train import Trained, train

CONFIG = Path("config.yaml")
# The demo uses the settings of the project, but not its store or data.
_OWN = (
    "cache_dir=cache",
    "report_dir=reports",
    "bundle_dir=temp_best_model",
    "best_model_info=best_model_info.txt",
    "data.train_dir=data/train",
    "data.test_dir=data/test",
    "data.feedback_dir=null",
    "data.challenge_dir=data/challenge",
    "records.images_dir=inspections",
)


@dataclass(frozen=True)
class Demo:
    """The result of the demo: the training, the decision, and the number of test images by verdict."""

    trained: Trained
    evaluated: Evaluation
    model: str
    verdicts: Mapping[str, int]
    seconds: float


def run_demo(folder: Path, watch: Watch = unwatched) -> Demo:
    """Draw data, train, evaluate, promote and inspect in `folder`, with the settings of ./config.yaml, or the defaults without one.

    All that it writes goes to `folder`: the environment and ``.env``, which may name the real registry, do not count.
    """
    started = time.perf_counter()
    config = demo_config(folder)
    write_sample_data(folder / "data", on_progress=partial(watch, "sample data", "drawing"))
    trained = train(config, watch)
    evaluated = evaluate(config, watch)
    is_promoted = evaluated.decision.outcome is Outcome.PROMOTE or evaluated.champion is not None
    overlays = folder / "overlays"
    shutil.rmtree(overlays, ignore_errors=True)
    done = inspect_images(
        [str(config.data.test_dir)], None if is_promoted else config.bundle_dir, overlays, config
    )
    verdicts = {"ok": 0, "defective": 0, "review": 0}
    for number, inspection in enumerate(done.inspections, start=1):
        verdicts[inspection.verdict or "review"] += 1
        watch("inspecting", "", number, len(done.found.images))
    if done.failed:
        raise DataError("\n  ".join(["overlays could not be written:", *done.failed]))
    return Demo(trained, evaluated, done.inspector.name, verdicts, time.perf_counter() - started)


def demo_config(folder: Path) -> Config:
    """Return the settings of ./config.yaml with everything that is written in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    text = CONFIG.read_text(encoding="utf-8") if CONFIG.is_file() else shipped("config.yaml")
    write_text(folder / "config.yaml", text)
    return load_config(folder / "config.yaml", _OWN, environment={})
