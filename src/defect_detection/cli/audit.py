"""The verb that looks for what is wrong with the data."""

import typer

from defect_detection.cli.app import DEFAULT_CONFIG, ConfigFile, Overrides, app, short

data_app = typer.Typer(help="Look at the data before training does.", no_args_is_help=True)
app.add_typer(data_app, name="data")
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
