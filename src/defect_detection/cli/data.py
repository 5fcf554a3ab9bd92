"""Commands for the images of a project: the data audit, differences and the cache."""

from typing import Annotated

import typer

from defect_detection.cli.app import DEFAULT_CONFIG, ConfigFile, Overrides, Product, app, short

data_app = typer.Typer(help="Check the data before training, and compare it.", no_args_is_help=True)
app.add_typer(data_app, name="data", rich_help_panel="Data")
_SIDE = "A model version (3, NAME/3 or NAME@prod), a manifest.jsonl, or a folder of images."
_MARKS = {"blocks": "!!", "allowed": "!!", "warning": " !", "note": "  "}


@data_app.callback()
def data() -> None:
    """Check the data before training, and compare it."""


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


@data_app.command()
def diff(
    old: Annotated[str, typer.Argument(help=_SIDE)],
    new: Annotated[str, typer.Argument(help=_SIDE)],
    config: ConfigFile = DEFAULT_CONFIG,
    overrides: Overrides = None,
    product: Product = None,
) -> None:
    """Say which images were added, removed, relabelled, retyped or moved to another split. Exit code 1 means that there are any."""
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
