"""Checks of a model beside its figures: known defects, loading in a new process, leakage, and images unlike the training images."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from defect_detection.config import Config
from defect_detection.data.audit.measure import measured
from defect_detection.data.bounds import Limits
from defect_detection.data.reference import look_of
from defect_detection.data.samples import Sample
from defect_detection.data.walk import Skipped, Walked, in_words, walk
from defect_detection.errors import LeakageError
from defect_detection.evaluation.gate import Check
from defect_detection.files.unfinished import working_folder
from defect_detection.inference.inspect import Inspection, Inspector
from defect_detection.model.bundle import read_card, read_golden, seen_in_training
from defect_detection.model.card import Card
from defect_detection.model.parity import golden_verdicts
from defect_detection.processes.messages import READ_BY_A_PROGRAM, error_of
from defect_detection.processes.python_path import python_path
from defect_detection.text import from_root, printable
from defect_detection.use_cases.scoring import Scored, readable

_MOST_NAMED = 10  # files; the others are counted


def check_challenge(inspector: Inspector, config: Config) -> Check:
    """Inspect the known defects. "review" counts as caught, since a person sees the part; an unreadable file does not."""
    folder = config.data.challenge_dir
    if folder.exists() and not folder.is_dir():
        text = f"{printable(from_root(folder, config.root))}: expected a folder of known defects, received a file"
        return Check(name="challenge", passed=False, text=text)
    walked = walk(folder) if folder.is_dir() else Walked()
    if not walked.images and not walked.skipped:
        text = f"No known defects to check: {printable(from_root(folder, config.root))} contains no image{_left_out(walked)}"
        return Check(name="challenge", passed=None, text=text)
    found = list(inspector.inspect(walked.images, limits=Limits.of(config.data), pages=config.data.pages))
    missed = [one for one in found if one.verdict not in ("defective", "review")]
    if missed or walked.skipped:
        names = _named(missed, walked.skipped, config.root)
        count = f"{len(missed) + len(walked.skipped)} of {len(found) + len(walked.skipped)}"
        return Check(name="challenge", passed=False, text=f"{count} known defects are missed: {names}")
    return Check(
        name="challenge",
        passed=True,
        text=f"All {len(found)} known defects are caught{_for_review(found)}{_left_out(walked)}",
    )


def _left_out(walked: Walked) -> str:
    return f" (left out: {in_words(walked.left_out)})" if walked.left_out else ""


def _for_review(found: Sequence[Inspection]) -> str:
    count = sum(one.verdict == "review" for one in found)
    return f", {count} of them for review" if count else ""


def _named(missed: Sequence[Inspection], skipped: Sequence[Skipped], root: Path) -> str:
    names = [f"{printable(from_root(Path(one.path), root))} ({_why(one)})" for one in missed]
    names += [f"{printable(from_root(one.path, root))} ({one.reason})" for one in skipped]
    more = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def _why(inspection: Inspection) -> str:
    return "cannot be read" if inspection.score is None else f"score {inspection.score:.3f}"


_TIMEOUT_S = 120.0  # a start takes a second, on a busy machine several


def check_servable(bundle: Path) -> Check:
    """Inspect the golden images with the bundle in a separate process, and compare the verdicts with those of Keras.

    These are verdicts of inspections: an OK one becomes review if the image is unlike the training images.
    """
    images, scores = read_golden(bundle)
    card = read_card(bundle)
    try:
        answers = _answers(bundle, images, card.framing is not None)
    except (OSError, subprocess.SubprocessError, ValueError, KeyError) as error:
        return Check(name="servable", passed=False, text=f"It cannot be served: {_reason(error)}")
    verdicts = golden_verdicts(bundle, card, scores)
    if card.tile_rule:  # each golden image is one tile
        verdicts = card.verdicts(card.tile_rule.scores(scores))

    def unlike(image: np.ndarray) -> str | None:
        """Golden images are passed as files, unless they are fitted already as no file can be; a tile is like no image."""
        size = None if card.framing else (image.shape[1], image.shape[0])
        return None if card.tile_rule else card.unlike(look_of(image), size)

    expected = [
        "review"
        if verdict == "ok" and (unlike(image) or card.unseen(one.get("novelty"), one["score"]))
        else verdict
        for verdict, image, one in zip(verdicts, images, answers, strict=True)
    ]
    differing = sum(a["verdict"] != b for a, b in zip(answers, expected, strict=True))
    if differing:
        text = f"A fresh process gives {differing} of {len(expected)} golden images a different verdict"
        return Check(name="servable", passed=False, text=text)
    text = f"A fresh process loads it and gives {len(expected)} golden images the same verdicts"
    return Check(name="servable", passed=True, text=text)


def _answers(bundle: Path, images: np.ndarray, fitted: bool) -> list[dict[str, Any]]:
    """Return the inspection of each golden image as JSON, in order.

    Args:
        fitted: the model cuts, pads or masks images, which was done to these already.
    """
    with working_folder() as folder:
        if fitted:
            return _run(["-m", "defect_detection.inference.golden", str(bundle.absolute())], folder)
        paths = [str(folder / f"{number:04}.png") for number in range(len(images))]
        for path, image in zip(paths, images, strict=True):
            Image.fromarray(image).save(path)
        command = ["-m", "defect_detection.cli", "inspect", "--json", "--model", str(bundle.absolute())]
        return _run([*command, *paths], folder)


def _run(arguments: Sequence[str], folder: Path) -> list[dict[str, Any]]:
    done = subprocess.run(  # noqa: S603  our own command
        [sys.executable, *arguments],
        cwd=folder,  # a folder without config.yaml: nothing but the bundle may be needed
        env=os.environ | READ_BY_A_PROGRAM | python_path(),
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
        check=True,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def _reason(error: Exception) -> str:
    if isinstance(error, subprocess.CalledProcessError):
        return error_of(error.stderr) or f"exit code {error.returncode}"
    return str(error) or type(error).__name__


def leakage_notes(candidate: Scored, samples: Sequence[Sample], allowed: bool) -> list[str]:
    """Return the remarks of a report about leakage and shortcuts, one sentence each.

    Args:
        allowed: ``data.allow_leakage``.

    Raises:
        LeakageError: the candidate was trained on one of the images, and that isn't allowed.
    """
    seen = set(seen_in_training(candidate.bundle, (sample.sha256 for sample in samples)))
    if seen and not allowed:
        paths = [printable(sample.path) for sample in samples if sample.sha256 in seen]
        raise LeakageError(
            f"{len(paths)} test images were among the training images of {candidate.reference}; a test on training images "
            "is worthless. Remove them from the test folder, or train again without them (data.allow_leakage: true allows "
            "them, and every report says so):\n  " + "\n  ".join(paths[:10])
        )
    return [*_leaks(candidate, samples, seen), *_shortcuts(candidate.inspector.card)]


def _shortcuts(card: Card) -> list[str]:
    told = card.data.get("shortcuts")
    if not told:
        return []
    if card.kind == "one_class":
        return [
            f"Shortcuts: in the training images {told}: the model learned from OK images alone, so not from this, but the figures "
            "for defective images may be too good"
        ]
    return [
        f"Shortcuts: in the training images {told} (data.allow_shortcuts): the figures of this report may not measure the "
        "detection of defects"
    ]


def _leaks(candidate: Scored, samples: Sequence[Sample], seen: set[str]) -> list[str]:
    at_training = int(candidate.inspector.card.data.get("leaking_images", 0))
    count = max(at_training, sum(sample.sha256 in seen for sample in samples))
    if not count:
        return []
    return [
        f"Leakage: {count} test images, or others of their group, were among the training images (data.allow_leakage): the "
        "figures of this report are too good"
    ]


def unlike_facts(candidate: Scored, samples: Sequence[Sample], config: Config) -> list[tuple[str, str]]:
    """Return a fact for the report: how many test images are unlike the training images; None for earlier models."""
    card = candidate.inspector.card
    if card.reference is None:
        return []
    unlike = _unlike(candidate, samples, config)
    sent = sum(
        card.verdict(score) == "ok" and reason is not None
        for score, reason in zip(candidate.scores.tolist(), unlike, strict=True)
    )
    count = len(unlike) - unlike.count(None)
    text = f"{count} of {len(unlike)} test images are unlike the training images"
    if count:
        text += (
            f"; {sent} of them would be ok and go to review instead. This report counts them by their score"
        )
    return [("Unlike the training images", text)]


def _unlike(candidate: Scored, samples: Sequence[Sample], config: Config) -> list[str | None]:
    card, scores = candidate.inspector.card, candidate.scores.tolist()
    novelty = [None] * len(samples) if candidate.novelty is None else candidate.novelty.tolist()
    store = readable(samples, card, config)
    rows = measured(samples, store, config.cache_dir)
    assert card.reference is not None
    looks = [card.reference.reason(row["look"], (int(row["width"]), int(row["height"]))) for row in rows]
    return [look or card.unseen(*seen) for look, *seen in zip(looks, novelty, scores, strict=True)]
