"""Print verdicts as a table, or as one JSON object per line.

Modules that only some calls need are imported late, so the first verdict of a model folder takes well under a second.
"""

import json
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from defect_detection.data.index_file import shortened
from defect_detection.inference.inspect import Inspection, Inspector
from defect_detection.text import printable
from defect_detection.use_cases.inspection import Inspecting

_COLOURS = {"ok": "green", "defective": "bold red", "review": "yellow"}
_MOST_ROWS = 40
LEAST_TO_DOUBT = 3  # images


def show_verdicts(inspecting: Inspecting, json_lines: bool, output: Path | None) -> bool:
    """Print the verdicts as they arrive, then the files left out. Return whether all files were read and written."""
    for note in inspecting.notes:
        print(note, file=sys.stderr)
    tally = _VerdictCounts()
    if json_lines:
        _print_json(tally.counted(_watched(inspecting, count=False)))
    else:
        _print_table(inspecting, tally, output)
    stream = sys.stderr if json_lines else sys.stdout  # with --json, standard output has one line an image
    for line in (*inspecting.found.said(), *tally.doubt()):
        print(line, file=stream)
    if failed := inspecting.failed:
        title = f"{len(failed)} overlays could not be written; the verdicts are valid"
        print("\n  ".join([title, *map(printable, shortened(failed))]), file=sys.stderr)
    return not (tally.verdicts["unreadable"] or failed)


@dataclass
class _VerdictCounts:
    """The number of images by verdict (or unreadable), and the number unlike the training images."""

    verdicts: Counter[str] = field(default_factory=Counter)
    unlike: int = 0

    def counted(self, inspections: Iterable[Inspection]) -> Iterator[Inspection]:
        """Count inspections as they pass."""
        for inspection in inspections:
            self.verdicts[inspection.verdict or "unreadable"] += 1
            self.unlike += inspection.reason is not None
            yield inspection

    def doubt(self) -> list[str]:
        """Return a warning if all images, and enough of them, are unlike the training images: the camera is then the likely cause."""
        read = self.verdicts.total() - self.verdicts["unreadable"]
        if read < LEAST_TO_DOUBT or self.unlike < read:
            return []
        return [
            f"! {read} of {read} images are unlike the training images: check camera, light and image format, or train with images of "
            "this camera"
        ]


def _print_json(inspections: Iterable[Inspection]) -> None:
    for inspection in inspections:
        print(json.dumps(inspection.to_json(), ensure_ascii=False), flush=not sys.stdout.isatty())


def _print_table(inspecting: Inspecting, tally: _VerdictCounts, output: Path | None) -> None:
    """Show the first inspections and count the rest, so memory does not depend on the size of the folder."""
    total = len(inspecting.found.images)
    shown: list[Inspection] = []
    started = time.perf_counter()
    for inspection in tally.counted(_watched(inspecting, count=total > 1)):
        if len(shown) < _MOST_ROWS:
            shown.append(inspection)
    seconds = time.perf_counter() - started
    _print_rows(shown, total - len(shown))
    _print_summary(tally.verdicts, total / seconds, inspecting.inspector, output)


def _watched(inspecting: Inspecting, *, count: bool) -> Iterator[Inspection]:
    """Yield the inspections. Show how many are done, if they count, and the tiles of large images."""
    if not (count or inspecting.inspector.card.tile_rule):
        yield from inspecting.inspections
        return
    from defect_detection.cli.progress import bars

    total = len(inspecting.found.images)
    with bars() as watch:
        inspecting.watch = watch
        for done, inspection in enumerate(inspecting.inspections, 1):
            yield inspection
            if count:
                watch("inspecting", "", done, total)


def _print_rows(inspections: Sequence[Inspection], more: int) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="dim")
    columns = [("image", "left"), ("verdict", "left"), ("score", "right"), ("ms", "right")]
    if any(inspection.reason for inspection in inspections):
        columns.append(("reason", "left"))
    for column, justify in columns:
        table.add_column(column, justify=justify, overflow="fold")  # type: ignore[arg-type]
    for inspection in inspections:
        name = printable(inspection.path)
        page = f" (page {inspection.page} of {inspection.pages})" if inspection.pages > 1 else ""
        if inspection.error:
            why = inspection.error.removeprefix(f"{name}: ")
            table.add_row(Text(name), Text("error", "yellow"), "", Text(printable(why)))
            continue
        verdict = Text(str(inspection.verdict), _COLOURS[inspection.verdict or "review"])
        row = (Text(name + page), verdict, f"{inspection.score:.3f}", f"{inspection.latency_ms:.0f}")
        table.add_row(*row, *([inspection.reason] if inspection.reason else []))
    console = Console(width=None if sys.stdout.isatty() else 160)
    console.print(table)
    if more:
        console.print(f"… and {more} more: --json shows all", style="dim")


def _print_summary(counts: Counter[str], rate: float, inspector: Inspector, output: Path | None) -> None:
    total = counts.total()
    parts = [f"{counts['ok']} ok", f"{counts['defective']} defective"]
    parts += [f"{counts[name]} {name}" for name in ("review", "unreadable") if counts[name]]
    speed = f" at {rate:.0f} images/s" if total > _MOST_ROWS else ""
    where = (
        f"Overlays: {printable(output)}." if output else "Next: --output FOLDER shows where the defects are."
    )
    images = "1 image" if total == 1 else f"{total} images{speed}"
    model = f"{printable(inspector.name)}, threshold {inspector.card.threshold:.3f}"
    print(f"{images}: {', '.join(parts)}; {model}. {where}")
