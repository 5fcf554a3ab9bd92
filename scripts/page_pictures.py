"""Take docs/images/page-inspect.png and page-review.png, from a finished `make demo`; needs Chromium and requirements-dev.txt."""

import shutil
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from playwright.sync_api import sync_playwright
from waitress.wasyncore import close_all

from defect_detection.config import load_config
from defect_detection.inference.inspect import Inspector
from defect_detection.serving.app import create_app
from defect_detection.serving.server import make_server
from defect_detection.serving.services import services_of
from defect_detection.tracking.reading import ModelRef

DEMO = Path(sys.argv[1] if len(sys.argv) > 1 else "demo").resolve()
PICTURES = Path("docs/images").resolve()
PARTS = [f"crack/{number}" for number in range(2)] + [f"ok/{number}" for number in range(6)]


def main() -> None:
    with TemporaryDirectory() as folder, serve(Path(folder)) as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 760}, color_scheme="light")
        page.goto(url)
        page.set_input_files("#files", [part(name) for name in PARTS])
        page.wait_for_selector(f"#count:has-text('{len(PARTS)} of {len(PARTS)} inspected')")
        page.screenshot(path=PICTURES / "page-inspect.png")
        page.goto(f"{url}/page/review", wait_until="networkidle")
        page.screenshot(path=PICTURES / "page-review.png")


def part(name: str) -> Path:
    kind, _, number = name.partition("/")
    return sorted((DEMO / "data" / "test" / kind).iterdir())[int(number)]


@contextmanager
def serve(folder: Path) -> Iterator[str]:
    """Serve the demo's best model, with what is inspected kept in a folder of its own."""
    (folder / "config.yaml").write_text("training: {hyperparameter_sets: [{name: only}]}\n")
    config = load_config(folder / "config.yaml")
    model = ModelRef("Production_Reg", 1, "run", {})
    app = create_app(config, lambda: model, lambda _: Inspector.load(DEMO / "temp_best_model"))
    server = make_server(app, config, "127.0.0.1", 0)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.effective_port}"
    finally:
        services_of(app).served.stop()
        server.trigger.pull_trigger(lambda: close_all(server._map))
        thread.join()
        server.task_dispatcher.shutdown()
        services_of(app).records.close()


if __name__ == "__main__":
    main()
