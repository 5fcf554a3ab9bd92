"""The whole way on sample data, in a folder of its own, ending with one screen."""

import shutil
import time
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.panel import Panel

from defect_detection.config import Config, load_config
from defect_detection.data.bounds import Limits
from defect_detection.data.walk import find_images
from defect_detection.evaluation.gate import Outcome
from defect_detection.inference.inspect import Inspector
from defect_detection.synthetic.sample_data import write_sample_data
from defect_detection.text import printable, write_text
from defect_detection.use_cases.evaluate import evaluate
from defect_detection.use_cases.inspection import load_inspector, write_overlay
from defect_detection.use_cases.overlays import open_overlay_folder, overlay_names
from defect_detection.use_cases.progress import bars
from defect_detection.use_cases.project import shipped
from defect_detection.use_cases.train import train

CONFIG = Path("config.yaml")
# The demo shares nothing with the project whose settings it takes: neither its store nor its data.
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


def run_demo(folder: Path) -> None:
    """Draw data, train, evaluate, promote and inspect in `folder`, with the settings of ./config.yaml, or the defaults without one.

    All that it writes goes to `folder`: the environment and ``.env``, which may name the real registry, do not count.

    """
    started = time.perf_counter()
    config = demo_config(folder)
    with bars() as watch:
        write_sample_data(
            folder / "data", on_progress=lambda done, total: watch("sample data", "drawing", done, total)
        )
        trained = train(config, watch)
        evaluated = evaluate(config, watch)
        promoted = evaluated.decision.outcome is Outcome.PROMOTE or evaluated.champion is not None
        inspector = load_inspector(config) if promoted else Inspector.load(config.bundle_dir)
        overlays = folder / "overlays"
        shutil.rmtree(overlays, ignore_errors=True)
        open_overlay_folder(overlays, ())
        found = find_images([str(config.data.test_dir)])
        images, names, limits = found.images, overlay_names(found), Limits.of(config.data)
        verdicts = {"ok": 0, "defective": 0, "review": 0}
        for number, inspection in enumerate(inspector.inspect(images, limits=limits), start=1):
            verdicts[inspection.verdict or "review"] += 1
            write_overlay(
                inspection,
                overlays / names[Path(inspection.path)],
                bit_depth=inspector.card.bit_depth,
                limits=limits,
                pages=config.data.pages,
            )
            watch("inspecting", "", number, len(images))
    metrics = evaluated.report.metrics
    where = escape(printable(folder))
    text = (
        f"[bold]{len(images)} test images inspected[/] with {escape(inspector.name)} "
        f"({trained.best}): {verdicts['ok']} ok, {verdicts['defective']} defective\n\n"
        f"accuracy  {metrics.accuracy}\nescapes   {metrics.escape}\noverkill  {metrics.overkill}\n"
        f"AUROC     {metrics.auroc}\n\n"
        f"[bold]Look at[/]\n  the report     {where}/reports/report.html\n  the overlays   {where}/overlays/\n"
        f"  the runs       mlflow ui --backend-store-uri sqlite:///{where}/mlflow.db --port 5000\n\n"
        f"[bold]Next[/]: put your images into data/train/ok, data/train/<defect>, data/test/…\n"
        "  defect train; defect evaluate; defect inspect"
    )
    Console().print(
        Panel(
            text,
            title=f"{evaluated.decision.outcome.upper()} in {time.perf_counter() - started:.0f} s",
            expand=False,
        )
    )


def demo_config(folder: Path) -> Config:
    """Return the settings of ./config.yaml with everything that is written in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    text = CONFIG.read_text(encoding="utf-8") if CONFIG.is_file() else shipped("config.yaml")
    write_text(folder / "config.yaml", text)
    return load_config(folder / "config.yaml", _OWN, environment={})
