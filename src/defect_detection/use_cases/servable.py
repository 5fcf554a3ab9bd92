"""Check that a fresh process can load a bundle and gives the same verdicts, as ``src/inference.py`` would."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from defect_detection.evaluation.gate import Check
from defect_detection.files.unfinished import working_folder
from defect_detection.model.bundle import read_card, read_golden
from defect_detection.processes.messages import READ_BY_A_PROGRAM, error_of

_TIMEOUT_S = 120.0  # a start takes a second, on a busy machine several


def check_servable(bundle: Path) -> Check:
    """Inspect the golden images with the bundle in a separate process, and compare the verdicts with those of Keras."""
    images, scores = read_golden(bundle)
    card = read_card(bundle)
    try:
        answers = _answers(bundle, images)
    except (OSError, subprocess.SubprocessError, ValueError, KeyError) as error:
        return Check(name="servable", passed=False, text=f"It cannot be served: {_reason(error)}")
    verdicts = card.golden_verdicts or card.verdicts(scores)
    expected = [
        "review" if verdict == "ok" and card.unlike(image, image.shape[:2]) else verdict  # as square files
        for verdict, image in zip(verdicts, images, strict=True)
    ]
    differing = sum(a != b for a, b in zip(answers, expected, strict=True))
    if differing:
        text = f"A fresh process gives {differing} of {len(expected)} golden images a different verdict"
        return Check(name="servable", passed=False, text=text)
    text = f"A fresh process loads it and gives {len(expected)} golden images the same verdicts"
    return Check(name="servable", passed=True, text=text)


def _answers(bundle: Path, images: np.ndarray) -> list[str]:
    """Return the verdict of each image, in order."""
    with working_folder() as folder:
        paths = [str(folder / f"{number:04}.png") for number in range(len(images))]
        for path, image in zip(paths, images, strict=True):
            Image.fromarray(image).save(path)
        command = [
            sys.executable,
            "-m",
            "defect_detection.cli",
            "inspect",
            "--json",
            "--model",
            str(bundle.absolute()),
        ]
        done = subprocess.run(  # noqa: S603  our own command
            [*command, *paths],
            cwd=folder,  # a folder without config.yaml: nothing but the bundle may be needed
            env=os.environ | READ_BY_A_PROGRAM | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=True,
        )
    return [json.loads(line)["verdict"] for line in done.stdout.splitlines()]


def _reason(error: Exception) -> str:
    if isinstance(error, subprocess.CalledProcessError):
        return error_of(error.stderr) or f"exit code {error.returncode}"
    return str(error) or type(error).__name__
