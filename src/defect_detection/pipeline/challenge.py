"""Known defects that every model must catch: the images of ``data.challenge_dir``."""

from collections.abc import Sequence
from pathlib import Path

from defect_detection.config import Config
from defect_detection.errors import DataError
from defect_detection.evaluation.gate import Check
from defect_detection.inference.inspect import Inspection, Inspector, find_images
from defect_detection.text import printable

_MOST_NAMED = 10  # files; the others are counted


def check_challenge(inspector: Inspector, config: Config) -> Check:
    """Inspect the known defects. "review" counts as caught, since a person sees the part; an unreadable file does not."""
    folder = config.data.challenge_dir
    images = _images_in(folder)
    if not images:
        text = f"No known defects to catch: {_relative(folder, config.root)} holds no image"
        return Check(name="challenge", passed=None, text=text)
    found = list(inspector.inspect(images, max_pixels=config.data.max_pixels, pages=config.data.pages))
    missed = [one for one in found if one.verdict not in ("defective", "review")]
    if missed:
        text = f"{len(missed)} of {len(found)} known defects pass: {_named(missed, config.root)}"
        return Check(name="challenge", passed=False, text=text)
    return Check(
        name="challenge", passed=True, text=f"All {len(found)} known defects are caught{_for_review(found)}"
    )


def _images_in(folder: Path) -> list[Path]:
    try:
        return find_images([str(folder)]) if folder.is_dir() else []
    except DataError:  # no image below it
        return []


def _for_review(found: Sequence[Inspection]) -> str:
    count = sum(one.verdict == "review" for one in found)
    return f", {count} of them for review" if count else ""


def _named(missed: Sequence[Inspection], root: Path) -> str:
    names = [f"{_relative(Path(one.path), root)} ({_why(one)})" for one in missed[:_MOST_NAMED]]
    more = len(missed) - len(names)
    return ", ".join(names) + (f" and {more} more" if more else "")


def _why(inspection: Inspection) -> str:
    return "can't be read" if inspection.score is None else f"score {inspection.score:.3f}"


def _relative(path: Path, root: Path) -> str:
    return printable(path.relative_to(root).as_posix() if path.is_relative_to(root) else path)
