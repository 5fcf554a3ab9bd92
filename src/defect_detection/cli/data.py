"""Commands for the images of a project: audit, differences, data of other tools, and the cache."""

from pathlib import Path
from typing import Annotated

import typer

from defect_detection.cli.app import DEFAULT_CONFIG, ConfigFile, Overrides, Product, app, short
from defect_detection.text import printable

data_app = typer.Typer(help="Check, compare, import and export the data.", no_args_is_help=True)
app.add_typer(data_app, name="data", rich_help_panel="Data")
_FORMATS = "coco, yolo, voc, datumaro, cvat, labelstudio or mvtec."
_SIDE = "A model version (3, NAME/3 or NAME@prod), a manifest.jsonl, or a folder of images."
_MARKS = {"blocks": "!!", "allowed": "!!", "warning": " !", "note": "  "}


@data_app.callback()
def data() -> None:
    """Check, compare, import and export the data."""


@data_app.command()
def check(config: ConfigFile = DEFAULT_CONFIG, overrides: Overrides = None, product: Product = None) -> None:
    """Find leakage, shortcuts, duplicates, doubtful labels and poor images. Exit code 1 means that training would refuse the data."""
    from defect_detection.cli.progress import bars
    from defect_detection.config import load_config
    from defect_detection.use_cases.audit import audit

    settings = load_config(config, overrides or (), product)
    with bars() as watch:
        audited = audit(settings, watch)
    for line in audited.said:
        typer.echo(line)
    for finding in audited.findings:
        typer.echo(f"{_MARKS[finding.severity]} {finding.kind.title}: {finding.summary}")
    if not audited.has_scores:
        typer.echo("   The check for doubtful labels needs the scores of a first training")
    typer.echo(f"{audited}. Report: {short(audited.files['html'])}")
    if audited.is_blocked:
        typer.echo(
            "Training refuses this data until the findings marked with !! are fixed (data.allow_leakage: true allows "
            "leakage, data.allow_shortcuts: true allows shortcuts)"
        )
        raise typer.Exit(1)
    typer.echo(f"Next: defect train{settings.option}")


@data_app.command("import")
def import_data(
    source: Annotated[
        Path, typer.Argument(help="Unpacked data set of the other tool (a folder), or its annotation file.")
    ],
    form: Annotated[str, typer.Option("--format", help=_FORMATS)],
    output: Annotated[
        Path | None,
        typer.Option(help="Output folder, new or empty (default: the folder that contains data.train_dir)."),
    ] = None,
    renames: Annotated[
        list[str] | None,
        typer.Option(
            "--rename",
            metavar="OLD=NEW",
            help="Rename a label; NEW may be an OK class, such as ok (repeatable).",
        ),
    ] = None,
    unlabelled: Annotated[
        str, typer.Option(help="What an image without any annotation is: ok, or skip (left out).")
    ] = "ok",
    config: ConfigFile = DEFAULT_CONFIG,
    overrides: Overrides = None,
    product: Product = None,
) -> None:
    """Turn a data set of another tool into our folders, masks and index.csv. All files are checked first."""
    from defect_detection.cli.progress import bars
    from defect_detection.config import load_config
    from defect_detection.formats.importing import import_data as run
    from defect_detection.formats.importing import refuse_among_images, rules_of

    settings = load_config(config, overrides or (), product)
    rules = rules_of(settings, renames or (), unlabelled)
    folder = output or settings.data.train_dir.parent
    refuse_among_images(folder, settings)
    with bars() as watch:
        done = run(form, source, folder, rules, lambda count, total: watch("import", "writing", count, total))
    for (split, name), count in sorted(done.counts.items()):
        typer.echo(f"{split}/{printable(name)}: {count} images")
    for line in done.said:
        typer.echo(f"! {printable(line)}")
    total = sum(done.counts.values())
    is_read = settings.data.train_dir == folder.absolute() / "train"
    following = (
        f"defect data check{settings.option}"
        if is_read
        else "set data.train_dir and data.test_dir to its folders train and test"
    )
    typer.echo(
        f"Wrote {total} images and {done.masks} masks to {short(folder.absolute())}. Next: {following}"
    )


@data_app.command("export")
def export_data(
    folder: Annotated[Path, typer.Argument(help="Output folder, new or empty.")],
    form: Annotated[str, typer.Option("--format", help=_FORMATS)],
    config: ConfigFile = DEFAULT_CONFIG,
    overrides: Overrides = None,
    product: Product = None,
) -> None:
    """Write the images of data.train_dir and data.test_dir for another tool."""
    from defect_detection.cli.progress import bars
    from defect_detection.config import load_config
    from defect_detection.formats.exporting import export_data as run

    settings = load_config(config, overrides or (), product)
    with bars() as watch:
        done = run(form, folder, settings, lambda count, total: watch("export", "reading", count, total))
    for line in done.said:
        typer.echo(f"! {printable(line)}")
    typer.echo(f"Wrote {done.images} images and {done.masks} masks to {short(folder.absolute())}")


@data_app.command()
def diff(
    old: Annotated[str, typer.Argument(help=_SIDE)],
    new: Annotated[str, typer.Argument(help=_SIDE)],
    config: ConfigFile = DEFAULT_CONFIG,
    overrides: Overrides = None,
    product: Product = None,
) -> None:
    """List images that were added, removed, relabelled, retyped or moved to another split. Exit code 1: there are differences."""
    from defect_detection.config import load_config
    from defect_detection.use_cases.manifest import diff as run

    found = run(old, new, load_config(config, overrides or (), product))
    typer.echo("\n".join(found.lines()))
    if not found.is_empty:
        raise typer.Exit(1)


cache_app = typer.Typer(help="Show or clear the cache of decoded images and features.")
app.add_typer(cache_app, name="cache", rich_help_panel="Data")


@cache_app.callback(invoke_without_command=True)
def cache(
    context: typer.Context,
    config: ConfigFile = DEFAULT_CONFIG,
    overrides: Overrides = None,
    product: Product = None,
) -> None:
    """Show the contents of the cache, their size and their last use."""
    from defect_detection.config import load_config
    from defect_detection.data.cache_folder import table

    if context.invoked_subcommand is None:
        settings = load_config(config, overrides or (), product)
        typer.echo("\n".join([str(settings.cache_dir), *table(settings.cache_dir, settings.cache_max_gb)]))


@cache_app.command()
def clear(
    kinds: Annotated[
        list[str] | None,
        typer.Argument(help="Kinds to clear, as listed by `defect cache` (default: pixels and activations)."),
    ] = None,
    config: ConfigFile = DEFAULT_CONFIG,
    overrides: Overrides = None,
    product: Product = None,
) -> None:
    """Delete cached files that no process is using. They are computed again when needed."""
    from defect_detection.config import load_config
    from defect_detection.data.cache_folder import LIMITED, in_words
    from defect_detection.data.cache_folder import clear as run

    folder = load_config(config, overrides or (), product).cache_dir
    freed, in_use = run(folder, kinds or LIMITED)
    typer.echo(f"Freed {in_words(freed)} in {short(folder)}")
    for path in in_use:
        typer.echo(f"  kept, because it is in use: {short(path)}")
