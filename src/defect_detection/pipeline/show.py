"""Inspect images and show the verdicts: a table, or a JSON object a line, and overlays in a folder."""

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from defect_detection.config import Config, load_config
from defect_detection.data.images import MAX_PIXELS
from defect_detection.inference.inspect import Inspection, Inspector, find_images
from defect_detection.pipeline.inspect import load_inspector, write_overlay
from defect_detection.pipeline.progress import bars

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
    config = None if model and patterns and not config_path.exists() else load_config(config_path, overrides)
    images = find_images(patterns or (config.inference_images if config else ()))
    inspector = _inspector(config, model)
    inspections = inspector.inspect(images, max_pixels=config.data.max_pixels if config else MAX_PIXELS)
    if output:
        output.mkdir(parents=True, exist_ok=True)
        inspections = _with_overlays(inspections, output, inspector.card.image_size)
    if json_lines:
        errors = 0
        for inspection in inspections:
            errors += inspection.error is not None
            print(json.dumps(inspection.to_json(), ensure_ascii=False), flush=not sys.stdout.isatty())
        return errors == 0
    shown = _watched(inspections, len(images))
    _print_table(shown, inspector)
    _print_summary(shown, inspector, output)
    return all(inspection.error is None for inspection in shown)


def _inspector(config: Config | None, model: Path | None) -> Inspector:
    if model is None:
        assert config is not None
        return load_inspector(config)
    if config is None:
        return Inspector.load(model)
    settings = config.inference
    return Inspector.load(
        model, threads=settings.threads, precision=settings.precision, batch_size=settings.batch_size
    )


def _with_overlays(inspections: Iterable[Inspection], folder: Path, size: int) -> Iterator[Inspection]:
    for inspection in inspections:
        write_overlay(inspection, folder, size)
        yield inspection


def _watched(inspections: Iterable[Inspection], total: int) -> list[Inspection]:
    shown = []
    with bars() as watch:
        for inspection in inspections:
            shown.append(inspection)
            if total > 1:
                watch("inspecting", "", len(shown), total)
    return shown


def _print_table(inspections: Sequence[Inspection], inspector: Inspector) -> None:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column, justify in (("image", "left"), ("verdict", "left"), ("score", "right"), ("ms", "right")):
        table.add_column(column, justify=justify, overflow="fold")  # type: ignore[arg-type]
    for inspection in inspections[:_MOST_ROWS]:
        if inspection.error:
            table.add_row(
                inspection.path, "[yellow]error[/]", "", inspection.error.removeprefix(f"{inspection.path}: ")
            )
            continue
        colour = _COLOURS[inspection.verdict or "review"]
        verdict = f"[{colour}]{inspection.verdict}[/]"
        table.add_row(inspection.path, verdict, f"{inspection.score:.3f}", f"{inspection.latency_ms:.0f}")
    console = Console(width=None if sys.stdout.isatty() else 160)
    console.print(table)
    if len(inspections) > _MOST_ROWS:
        console.print(f"… and {len(inspections) - _MOST_ROWS} more: --json shows all", style="dim")


def _print_summary(inspections: Sequence[Inspection], inspector: Inspector, output: Path | None) -> None:
    counts = {
        verdict: sum(i.verdict == verdict for i in inspections) for verdict in ("ok", "defective", "review")
    }
    errors = sum(i.error is not None for i in inspections)
    parts = [f"{count} {verdict}" for verdict, count in counts.items() if count or verdict != "review"]
    parts += [f"{errors} unreadable"] if errors else []
    where = f"Overlays: {output}." if output else "Next: --output FOLDER shows where the defects are."
    print(
        f"{len(inspections)} images: {', '.join(parts)}; {inspector.name}, threshold {inspector.card.threshold:.3f}. {where}"
    )
