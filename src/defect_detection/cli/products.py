"""Commands for the products of a plant."""

from typing import Annotated

import typer

from defect_detection.cli.app import DEFAULT_CONFIG, ConfigFile, Overrides, app, short

products_app = typer.Typer(help="Products: list, create, copy, archive.", no_args_is_help=True)
app.add_typer(products_app, name="products", rich_help_panel="Start")

Name = Annotated[
    str,
    typer.Argument(
        help="Name of the product: letters, digits, '-' and '_'. 'default' is the product of the plant's config.yaml.",
        metavar="NAME",
    ),
]


@products_app.callback()
def products() -> None:
    """Manage the products of this plant: each has its own settings, images and models."""


@products_app.command("list")
def list_(config: ConfigFile = DEFAULT_CONFIG, overrides: Overrides = None) -> None:
    """List the products, with the version in production."""
    from defect_detection.config import load_config
    from defect_detection.use_cases.products import list_products

    for one in list_products(load_config(config, overrides or ())):
        version = f"version {one.in_production}" if one.in_production else "no model in production"
        typer.echo(
            f"{one.name:<24} {one.state if one.state == 'archived' else version:<24} {short(one.folder)}"
        )
        if one.problem:
            typer.echo(f"  its settings cannot be used: {one.problem}")


@products_app.command()
def create(name: Name, config: ConfigFile = DEFAULT_CONFIG, overrides: Overrides = None) -> None:
    """Create a product: a folder with settings, and folders for its images."""
    from defect_detection.config import load_config
    from defect_detection.use_cases.products import create_product

    folder = create_product(load_config(config, overrides or ()), name)
    typer.echo(
        f"Created {short(folder)}. Put its images into {short(folder / 'data/train')} and {short(folder / 'data/test')}. "
        f"Next: defect train --product {name}"
    )


@products_app.command()
def copy(
    name: Name,
    new: Annotated[str, typer.Argument(help="Name of the new product.", metavar="NEW")],
    config: ConfigFile = DEFAULT_CONFIG,
    overrides: Overrides = None,
) -> None:
    """Create a product with the settings of another one. Images and models are not copied."""
    from defect_detection.config import load_config
    from defect_detection.use_cases.products import copy_product

    folder = copy_product(load_config(config, overrides or ()), name, new)
    typer.echo(f"Created {short(folder)} with the settings of '{name}'. Next: defect train --product {new}")


@products_app.command()
def archive(
    name: Name,
    undo: Annotated[bool, typer.Option("--undo", help="Bring an archived product back.")] = False,
    config: ConfigFile = DEFAULT_CONFIG,
    overrides: Overrides = None,
) -> None:
    """Take a product out of use. Servers stop serving it within seconds; its inspections and models stay."""
    from defect_detection.config import load_config
    from defect_detection.use_cases.products import archive_product

    archive_product(load_config(config, overrides or ()), name, undo=undo)
    typer.echo(
        f"'{name}' is in use again"
        if undo
        else f"'{name}' is archived. Its files, inspections and models stay; `defect products archive {name} --undo` brings it back"
    )
