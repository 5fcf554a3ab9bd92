"""Known defects that every model must catch: the images of ``data.challenge_dir``."""

from collections.abc import Sequence
from pathlib import Path

from defect_detection.config import Config
from defect_detection.data.bounds import Limits
from defect_detection.data.walk import Skipped, Walked, in_words, walk
from defect_detection.evaluation.gate import Check
from defect_detection.inference.inspect import Inspection, Inspector
from defect_detection.text import from_root, printable

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
