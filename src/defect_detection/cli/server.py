"""Commands that run the server and its worker."""

import typer

from defect_detection.cli.app import DEFAULT_CONFIG, ConfigFile, Overrides, Product, app


@app.command(rich_help_panel="Server")
def serve(config: ConfigFile = DEFAULT_CONFIG, overrides: Overrides = None) -> None:
    """Serve the web page and the HTTP API."""
    from defect_detection.config import load_config
    from defect_detection.serving.app import serve as run

    run(load_config(config, overrides or ()))


@app.command(rich_help_panel="Server")
def worker(config: ConfigFile = DEFAULT_CONFIG, overrides: Overrides = None) -> None:
    """Run queued retrainings in a separate process (jobs.run_in_server: false). Ctrl-C ends it."""
    import logging
    import signal
    import threading

    from defect_detection.config import load_config
    from defect_detection.serving.worker import run_worker

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _signal, _frame: ended.set())
    run_worker(load_config(config, overrides or ()), ended.wait)


@app.command(rich_help_panel="Server")
def page(config: ConfigFile = DEFAULT_CONFIG, overrides: Overrides = None, product: Product = None) -> None:
    """Print a link that opens the page on this machine with all rights. It works once, within five minutes."""
    from defect_detection.config import load_config
    from defect_detection.config.products import DEFAULT
    from defect_detection.serving.local_key import make_link_code

    settings = load_config(config, overrides or (), product)
    below = f"/product/{settings.product}" if settings.product != DEFAULT else ""
    serving = settings.serving
    typer.echo(
        f"http://localhost:{serving.port}{serving.root_path}{below}/#link={make_link_code(settings.plant)}"
    )
