"""Inspect images and show the verdicts: a table, or a JSON object a line, and overlays in a folder.

What only some calls need is imported where it is needed: the first verdict of a model folder comes in well under a second.
"""

import json
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from defect_detection.data.bounds import DEFAULT_LIMITS, Limits
from defect_detection.data.index_file import shortened
from defect_detection.data.walk import Walked, find_images, reasons
from defect_detection.errors import DataError, ImageError
from defect_detection.inference.inspect import Inspection, Inspector
from defect_detection.text import printable
from defect_detection.use_cases.overlays import open_overlay_folder, overlay_names

if TYPE_CHECKING:
    from defect_detection.config import Config

_COLOURS = {"ok": "green", "defective": "bold red", "review": "yellow"}
_MOST_ROWS = 40


def inspect_images(
    patterns: Sequence[str],
    model: Path | None,
    json_lines: bool,
    output: Path | None,
    config_path: Path,
    overrides: Sequence[str],
) -> bool:
    """Inspect and show. With a model folder and images given, no configuration is needed. Returns whether all could be read."""
    config = None
    if not (model and patterns) or overrides or config_path.exists():
        from defect_detection.config import load_config

        config = load_config(config_path, overrides)
    found = find_images(patterns or (config.inference_images if config else ()), leave_out=output)
    if config and config.data.on_unreadable == "refuse":
        _refuse_skipped(found)
    inspector = _inspector(config, model)
    if config and (note := inspector.card.other_bit_depth(config.data.bit_depth)):
        print(note, file=sys.stderr)
    limits = Limits.of(config.data) if config else DEFAULT_LIMITS
    pages = config.data.pages if config else "refuse"
    failed: list[str] = []
    inspections: Iterable[Inspection] = inspector.inspect(found.images, limits=limits, pages=pages)
    if output:
        open_overlay_folder(output, found.images)
        names = {path: output / name for path, name in overlay_names(found).items()}
        how = {"bit_depth": inspector.card.bit_depth, "limits": limits, "pages": pages}
        inspections = _with_overlays(inspections, names, how, failed)
    if json_lines:
        all_read, stream = _print_json(inspections), sys.stderr  # standard output has one line an image
    else:
        all_read, stream = _print_table(inspections, len(found.images), inspector, output), sys.stdout
    for line in found.said():
        print(line, file=stream)
    if failed:
        title = f"{len(failed)} overlays could not be written; the verdicts stand"
        print("\n  ".join([title, *map(printable, shortened(failed))]), file=sys.stderr)
    return all_read and not failed


def _refuse_skipped(found: Walked) -> None:
    if found.skipped:
        title = "data.on_unreadable: refuse stops at files that cannot be inspected; convert or remove them"
        raise DataError("\n  ".join([title, *reasons(found.skipped)]))


def _inspector(config: "Config | None", model: Path | None) -> Inspector:
    if model is None:
        from defect_detection.use_cases.inspection import load_inspector

        assert config is not None
        return load_inspector(config)
    if config is None:
        return Inspector.load(model)
    return Inspector.load(model, threads=config.inference.threads, precision=config.inference.precision)


def _with_overlays(
    inspections: Iterable[Inspection], names: Mapping[Path, Path], how: Mapping[str, Any], failed: list[str]
) -> Iterator[Inspection]:
    """Write an overlay of each image, and add those that can't be written to `failed`."""
    from defect_detection.use_cases.inspection import write_overlay

    for inspection in inspections:
        try:
            write_overlay(inspection, names[Path(inspection.path)], **how)
        except (OSError, ImageError) as error:
            failed.append(f"{inspection.path}: {error}")
        yield inspection


def _print_json(inspections: Iterable[Inspection]) -> bool:
    all_read = True
    for inspection in inspections:
        all_read = all_read and inspection.error is None
        print(json.dumps(inspection.to_json(), ensure_ascii=False), flush=not sys.stdout.isatty())
    return all_read


def _print_table(
    inspections: Iterable[Inspection], total: int, inspector: Inspector, output: Path | None
) -> bool:
    """Show the first inspections and count the rest, so that a folder of any size fits into memory."""
    shown: list[Inspection] = []
    counts: Counter[str] = Counter()
    started = time.perf_counter()
    for inspection in _watched(inspections, total):
        counts[inspection.verdict or "unreadable"] += 1
        if len(shown) < _MOST_ROWS:
            shown.append(inspection)
    seconds = time.perf_counter() - started
    _print_rows(shown, total - len(shown))
    _print_summary(counts, total / seconds, inspector, output)
    return not counts["unreadable"]


def _watched(inspections: Iterable[Inspection], total: int) -> Iterator[Inspection]:
    if total == 1:
        yield from inspections
        return
    from defect_detection.use_cases.progress import bars

    with bars() as watch:
        for done, inspection in enumerate(inspections, 1):
            yield inspection
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
