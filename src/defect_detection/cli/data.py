"""Verbs about the images of a project: what is wrong with them, and what is cached of them."""

from typing import Annotated

import typer

from defect_detection.cli.app import DEFAULT_CONFIG, ConfigFile, Overrides, app, short

data_app = typer.Typer(help="Look at the data before training does.", no_args_is_help=True)
app.add_typer(data_app, name="data", rich_help_panel="Data")
_MARKS = {"blocks": "!!", "allowed": "!!", "warning": " !", "note": "  "}


@data_app.callback()
def data() -> None:
    """Look at the data before training does."""


@data_app.command()
def check(config: ConfigFile = DEFAULT_CONFIG, overrides: Overrides = None) -> None:
    """Find leakage, shortcuts, duplicates, doubtful labels and poor images. Exits with 1 when training would refuse the data."""
    from defect_detection.config import load_config
    from defect_detection.use_cases.audit import audit
    from defect_detection.use_cases.progress import bars

    settings = load_config(config, overrides or ())
    with bars() as watch:
        audited = audit(settings, watch)
    for line in audited.said:
        typer.echo(line)
    for finding in audited.findings:
        typer.echo(f"{_MARKS[finding.severity]} {finding.kind.title}: {finding.summary}")
    if not audited.has_scores:
        typer.echo("   Labels weren't compared with scores: that comes after the first training")
    typer.echo(f"{audited}. Report: {short(audited.files['html'])}")
    if audited.is_blocked:
        typer.echo(
            "Training refuses this data until what is marked with !! is mended (data.allow_leakage: true lets leakage through, "
            "data.allow_shortcuts: true what tells the label)"
        )
        raise typer.Exit(1)
    typer.echo("Next: defect train")


cache_app = typer.Typer(help="Show or clear the cache of decoded images and features.")
app.add_typer(cache_app, name="cache", rich_help_panel="Data")


@cache_app.callback(invoke_without_command=True)
def cache(context: typer.Context, config: ConfigFile = DEFAULT_CONFIG, overrides: Overrides = None) -> None:
    """Show what the cache holds, how large it is and when it was last used."""
    from defect_detection.config import load_config
    from defect_detection.data.cache_folder import table

    if context.invoked_subcommand is None:
        settings = load_config(config, overrides or ())
        typer.echo("\n".join([str(settings.cache_dir), *table(settings.cache_dir, settings.cache_max_gb)]))


@cache_app.command()
def clear(
    kinds: Annotated[
        list[str] | None,
        typer.Argument(help="What to clear, as `defect cache` names it; else pixels and activations."),
    ] = None,
    config: ConfigFile = DEFAULT_CONFIG,
    overrides: Overrides = None,
) -> None:
    """Remove from the cache what no process has open. It is made again where it is needed."""
    from defect_detection.config import load_config
    from defect_detection.data.cache_folder import LIMITED, in_words
    from defect_detection.data.cache_folder import clear as run

    folder = load_config(config, overrides or ()).cache_dir
    freed, in_use = run(folder, kinds or LIMITED)
    typer.echo(f"Freed {in_words(freed)} in {short(folder)}")
    for path in in_use:
        typer.echo(f"  in use, so it stayed: {short(path)}")
