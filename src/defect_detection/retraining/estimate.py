"""Estimate how long a training takes: a range, and what it rests on."""

from collections.abc import Sequence
from pathlib import Path

from defect_detection.config import Config, load_retrain_config
from defect_detection.config.retraining import DEFAULT_RETRAIN_PATH, StartFrom
from defect_detection.data.walk import walk
from defect_detection.errors import ConfigError, DataError
from defect_detection.evaluation.rates import Frozen
from defect_detection.records.jobs import Job

START_S = 20.0  # of each training, whatever the number of images: loading libraries, saving, the report
# Start and each image, measured with the default settings on two processors (docs/notes/2026-11-benchmarks.md and
# 2026-11-under-attack.md): 378 s for 10,000 images on an idle machine; 668 s for 922 beside a server without a pause
IDLE_S, BUSY_S = (START_S, 0.03), (2 * START_S, 0.7)
MOST_RUNS = 5  # the latest count
SPREAD = (0.7, 1.5)  # by which equal trainings differ


class TrainingEstimate(Frozen):
    """What a training would read, and how long it takes. The range and its basis are None where there is nothing to train on.

    start_from: what re_train.yaml says; None where it cannot be read.
    """

    train_images: int
    test_images: int
    low_s: float | None = None
    high_s: float | None = None
    basis: str | None = None
    start_from: StartFrom | None = None


def estimate(config: Config, jobs: Sequence[Job]) -> TrainingEstimate:
    """Count the images of a product, and estimate how long a training takes.

    Args:
        jobs: of all products, the newest first.
    """
    data = config.data
    train, test = (_count(data.train_dir) + _count(data.feedback_dir), _count(data.test_dir))
    if not train or not test:
        return TrainingEstimate(train_images=train, test_images=test)
    low, high, basis = _range(train + test, jobs, config.product)
    return TrainingEstimate(
        train_images=train,
        test_images=test,
        low_s=low,
        high_s=high,
        basis=basis,
        start_from=_start_from(config.root / DEFAULT_RETRAIN_PATH),
    )


def _start_from(path: Path) -> StartFrom | None:
    try:
        return load_retrain_config(path).start_from
    except ConfigError:
        return None


def _count(folder: Path | None) -> int:
    """Return the number of image files in a folder; links that lead nowhere and other files do not count."""
    try:
        return len(walk(folder).images) if folder and folder.is_dir() else 0
    except DataError:
        return 0


def _range(images: int, jobs: Sequence[Job], product: str) -> tuple[float, float, str]:
    done = [job for job in jobs if job.outcome and job.images and job.started_at and job.ended_at]
    ours = [job for job in done if job.product == product][:MOST_RUNS]
    if runs := ours or done[:MOST_RUNS]:
        expected = [_scaled(job, images) for job in runs]
        whose = "of this product" if ours else "of other products here"
        return min(expected) * SPREAD[0], max(expected) * SPREAD[1], _told(runs, whose)
    low, high = (start + rate * images for start, rate in (IDLE_S, BUSY_S))
    return (
        low,
        high,
        "times measured on two processors: on an idle machine, and beside a server under constant load",
    )


def _scaled(job: Job, images: int) -> float:
    """Return what a training like an earlier one takes with another number of images."""
    took = _seconds(job)
    start = min(START_S, took)
    return start + (took - start) * images / (job.images or images)


def _seconds(job: Job) -> float:
    assert job.started_at and job.ended_at
    return max(1.0, (job.ended_at - job.started_at).total_seconds())


def _told(runs: Sequence[Job], whose: str) -> str:
    read = [job.images or 0 for job in runs]
    few = f"{min(read)}" if min(read) == max(read) else f"{min(read)} to {max(read)}"
    times = "training" if len(runs) == 1 else f"{len(runs)} trainings"
    return f"the last {times} {whose}, with {few} images"
