"""Commands for records: keys, feedback and retention."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from defect_detection.cli.app import DEFAULT_CONFIG, ConfigFile, Overrides, Product, app, short

keys_app = typer.Typer(help="API keys: create, list, revoke.", no_args_is_help=True)
app.add_typer(keys_app, name="keys", rich_help_panel="Records")

records_app = typer.Typer(no_args_is_help=True)
app.add_typer(records_app, name="records", rich_help_panel="Records")

feedback_app = typer.Typer(no_args_is_help=True)
app.add_typer(feedback_app, name="feedback", rich_help_panel="Records")

KeyName = Annotated[
    str,
    typer.Argument(help="Name of the person or device that uses the key. Feedback shows it.", metavar="NAME"),
]


@app.command(rich_help_panel="Records")
def prune(
    at_once: Annotated[
        bool,
        typer.Option(
            "--at-once",
            help="Delete everything beyond the retention limit immediately, even if the clock may be wrong or a large part "
            "is affected.",
        ),
    ] = False,
    config: ConfigFile = DEFAULT_CONFIG,
    overrides: Overrides = None,
) -> None:
    """Delete inspections and images beyond records.keep_days and records.keep_gb. Labelled images are kept."""
    from defect_detection.config import load_config
    from defect_detection.records.record_store import Records
    from defect_detection.records.retention import prune_records

    settings = load_config(config, overrides or ())
    pruned = prune_records(settings, Records.of(settings), at_once=at_once)
    typer.echo(f"Removed {pruned}")
    if pruned.warning:
        typer.echo(pruned.warning)


@keys_app.command()
def create(
    name: KeyName,
    role: Annotated[
        Literal["operator", "admin"],
        typer.Option(
            help="operator: reads inspections and labels images; admin: also retrains and promotes."
        ),
    ] = "operator",
    products: Annotated[
        list[str] | None,
        typer.Option(
            "--product",
            metavar="NAME",
            help="Restrict the key to a product (repeatable). Without this option, the key works for all products.",
        ),
    ] = None,
    config: ConfigFile = DEFAULT_CONFIG,
    overrides: Overrides = None,
) -> None:
    """Create a key and print it once. Only its hash is stored."""
    from defect_detection.config import load_config
    from defect_detection.config.products import DEFAULT, settings_of
    from defect_detection.errors import ConfigError
    from defect_detection.files.trail import leave
    from defect_detection.records.keys import create_key
    from defect_detection.records.record_store import Records
    from defect_detection.serving.local_key import FILE, make_local_key
    from defect_detection.tracking.lease import who

    settings = load_config(config, overrides or ())
    for product in products or ():
        if product != DEFAULT:
            settings_of(settings.root, product)
    key = create_key(Records.of(settings).database, name, role, products or ())
    bound = f", for {', '.join(products)}" if products else ""
    leave(settings.root, who(), "key made", name, f"{role}{bound}")
    typer.echo(key)
    typer.echo(f"Key '{name}' ({role}{bound}). Store it now: it cannot be shown again.", err=True)
    try:
        make_local_key(settings.root)
    except (ConfigError, OSError) as error:  # the key is made: a server's folder may be read-only
        typer.echo(f"Local callers now need this key too, since there is no local key: {error}", err=True)
        return
    typer.echo(
        f"Local callers now need a key too: `defect page` opens the page, `curl -H @{FILE}` sends the local key",
        err=True,
    )


@keys_app.command("list")
def list_(config: ConfigFile = DEFAULT_CONFIG, overrides: Overrides = None) -> None:
    """List the names and roles of all keys."""
    from defect_detection.config import load_config
    from defect_detection.records.keys import list_keys
    from defect_detection.records.record_store import Records

    keys = list_keys(Records.of(load_config(config, overrides or ())).database)
    for key in keys:
        state = f"revoked {key.revoked_at:%Y-%m-%d %H:%M}" if key.revoked_at else "in force"
        bound = f"  for {', '.join(key.products)}" if key.products else ""
        typer.echo(f"{key.name:<24} {key.role:<9} created {key.created_at:%Y-%m-%d %H:%M}  {state}{bound}")
    if not keys:
        typer.echo("No keys. Create one with: defect keys create NAME")


@keys_app.command()
def revoke(name: KeyName, config: ConfigFile = DEFAULT_CONFIG, overrides: Overrides = None) -> None:
    """Revoke a key. Feedback that was given with it stays."""
    from defect_detection.config import load_config
    from defect_detection.files.trail import leave
    from defect_detection.records.keys import revoke_key
    from defect_detection.records.record_store import Records
    from defect_detection.tracking.lease import who

    settings = load_config(config, overrides or ())
    key = revoke_key(Records.of(settings).database, name)
    leave(settings.root, who(), "key revoked", key.name, key.role)
    typer.echo(f"Key '{key.name}' is revoked")


@records_app.callback()
def records() -> None:
    """Copy or recompute the records."""


@records_app.command()
def copy(
    to: Annotated[
        str,
        typer.Option(
            metavar="URL",
            help="Address of an empty database: postgresql://user@host/name (password in PGPASSWORD) or sqlite:///FILE.",
        ),
    ],
    config: ConfigFile = DEFAULT_CONFIG,
    overrides: Overrides = None,
) -> None:
    """Copy all records to another database, and compare every row and image. Stop the servers first."""
    from contextlib import closing

    from defect_detection.cli.progress import bars
    from defect_detection.config import load_config
    from defect_detection.records.database import Database
    from defect_detection.records.record_store import Records
    from defect_detection.records.transfer import copy_records

    with (
        closing(Records.of(load_config(config, overrides or ()))) as records,
        closing(Database(to, "--to")) as target,
        bars() as watch,
    ):
        copied = copy_records(records.database, target, records.images, watch)
    for table, count in copied.rows.items():
        typer.echo(f"{table:<12} {count:>9}")
    typer.echo(f"Copied to {target}: all rows match, by count and SHA-256")
    if copied.images_missing:
        typer.echo(
            f"{len(copied.images_missing)} images were already missing or damaged before the copy, such as {copied.images_missing[0]}"
        )
    else:
        typer.echo(f"All {copied.rows['images']} images match their SHA-256; they stay where they are")
    typer.echo(
        "To use it: set DATABASE_URL to this address, in the environment or in .env, and start the servers"
    )


@records_app.command()
def rebuild(config: ConfigFile = DEFAULT_CONFIG, overrides: Overrides = None) -> None:
    """Recompute the sums that Monitor shows. Servers may keep running."""
    from defect_detection.config import load_config
    from defect_detection.records.record_store import Records
    from defect_detection.records.tallies import count_again

    days = count_again(Records.of(load_config(config, overrides or ())).database)
    typer.echo(f"Recomputed the sums of {days} days")


@feedback_app.callback()
def feedback() -> None:
    """Export the labels."""


@feedback_app.command("export")
def export_(
    output: Annotated[Path | None, typer.Option(help="Output folder (default: data.feedback_dir).")] = None,
    config: ConfigFile = DEFAULT_CONFIG,
    overrides: Overrides = None,
    product: Product = None,
) -> None:
    """Write the labelled images into one folder per class, with their groups in index.csv."""
    from defect_detection.config import load_config
    from defect_detection.errors import ConfigError
    from defect_detection.retraining.new_labels import export as run

    settings = load_config(config, overrides or (), product)
    folder = output.absolute() if output else settings.data.feedback_dir
    if folder is None:
        raise ConfigError(
            "config.yaml: data.feedback_dir: expected a folder, received null; set it, or use --output"
        )
    exported = run(settings, folder)
    typer.echo(
        f"{len(exported.usable)} labelled images in {short(folder)}: {exported.written} new, {exported.relabelled} moved to "
        f"another class, {exported.conflicting} with conflicting labels (the latest label counts)"
    )
    for reason in exported.skipped:
        typer.echo(f"  left out: {reason}")
    for what in exported.repaired:
        typer.echo(f"  corrected: {what}")
    if folder != settings.data.feedback_dir:
        typer.echo(f"To train on them: data.feedback_dir: {short(folder)} in config.yaml")
