"""Walk on the page from an empty server to a retrained model; needs Chromium and requirements-dev.txt.

As a command it draws 60 images of washers, walks, and takes the pictures of docs/first-model.md. A test walks the same way.
"""

import re
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, expect, sync_playwright

from defect_detection.config import load_config
from defect_detection.serving.app import create_app
from defect_detection.serving.server import make_server
from defect_detection.serving.services import services_of
from defect_detection.synthetic.lines import LINES
from defect_detection.synthetic.sample_data import Shot
from defect_detection.synthetic.sample_data import take as photograph
from defect_detection.use_cases.project import start_project

PICTURES = Path(__file__).parents[1] / "docs/images"
N_OK, N_DEFECTIVE, FLAW, NEW_FLAW, SIDE = 40, 20, "chip", "scratch", 224
TRAINED_MS = 600_000
QUICK = {  # a training of seconds instead of a minute
    "data.image_size": "128",
    "training.hyperparameter_sets": "[{name: quick, branches: [pooled], turns: 1, pooled_regularization: 0.1}]",
}
Take = Callable[[str, str], None]  # name of the picture, and what it shows


@dataclass(frozen=True)
class Parts:
    """What a person brings: the images of a product, with "ok" or "chip" in their names, and a part from the line
    with another defect."""

    images: list[Path]
    later: Path


def walk(page: Page, url: str, parts: Parts, take: Take, settings: Mapping[str, str] = QUICK) -> None:
    """Create the product "washer", train, promote, inspect, disagree and train again. `take` takes the pictures."""
    create(page, url, take)
    add_and_label(page, parts, take)
    hold_back(page, take)
    if settings:
        set_up(page, settings, take)
    train(page)
    take("trained", "#job")
    promote(page)
    inspect_and_disagree(page, parts.later, take)
    train(page)
    take("retrained", "#job")


def create(page: Page, url: str, take: Take) -> None:
    page.goto(f"{url}/page/products")
    page.get_by_label("Name").fill("washer")
    take("product", "#new-title")
    page.get_by_role("button", name="Create product").click()
    expect(page).to_have_url(re.compile("/product/washer/page/data$"))
    expect(page.locator("#nothing")).to_contain_text("No images yet")


def add_and_label(page: Page, parts: Parts, take: Take) -> None:
    page.set_input_files("#files", parts.images)
    expect(page.locator("#upload-state")).to_contain_text(f"{len(parts.images)} of {len(parts.images)} sent")
    for word, button in (("chip-", "#say-defective"), ("ok-", "#say-ok")):
        page.get_by_label("Name or part").fill(word)
        page.locator("#all").click()
        page.locator("#type").fill(FLAW if word == "chip-" else "")
        if word == "chip-":
            take("labels", "#filters")
        page.locator(button).click()
        expect(page.locator("#live")).to_contain_text("images.")
    page.get_by_label("Name or part").fill("")
    expect(page.locator("#counts")).to_contain_text("no image waits")


def hold_back(page: Page, take: Take) -> None:
    """Choose the test split."""
    page.get_by_label("Share of the images for the test").select_option("0.3")
    page.get_by_role("button", name="Propose a test split").click()
    expect(page.locator("#proposal-kinds")).to_contain_text(FLAW)
    take("split", "#split")
    page.click("#freeze")
    page.get_by_role("dialog").get_by_role("button", name="Use this test split").click()
    expect(page.locator("#split-why")).to_contain_text("The test split is frozen")


def set_up(page: Page, settings: Mapping[str, str], take: Take) -> None:
    go_to(page, "Settings")
    for key, value in settings.items():
        page.get_by_label("Find a setting").fill(key)
        page.locator(f"[id='key-{key}']").fill(value)
    take("settings", "main")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#notices")).to_contain_text("Saved")


def train(page: Page) -> None:
    go_to(page, "Train")
    page.get_by_role("button", name="Start a training").click()
    page.get_by_role("button", name="Start it").click()
    expect(page.locator("#job-title")).to_contain_text("This training")
    expect(page.locator("#job-title")).to_contain_text("Latest training", timeout=TRAINED_MS)
    expect(page.locator("#outcome")).to_contain_text("Models and history")


def promote(page: Page) -> None:
    expect(page.locator("#outcome")).to_contain_text("Passed: the gate allows the new model.")
    expect(page.locator("#advice")).to_contain_text("Next: promote the new model.")
    page.get_by_role("button", name="Promote version 1").click()
    page.get_by_role("button", name="Promote it").click()
    expect(page.locator("#outcome")).to_contain_text("Version 1 is in production.", timeout=TRAINED_MS)
    expect(page.locator("#advice")).to_contain_text("Next: review inspections.")


def inspect_and_disagree(page: Page, image: Path, take: Take) -> None:
    """Inspect a part that the model should have rejected, and say so."""
    go_to(page, "Inspect")
    page.set_input_files("#files", image)
    expect(page.locator("#word")).to_have_text(re.compile("OK|Defective|Review"))
    page.locator("#type").fill(NEW_FLAW)
    page.click("#say-defective")
    expect(page.locator("#said")).to_contain_text("Stored")
    take("inspected", "main")


def go_to(page: Page, name: str) -> None:
    page.get_by_role("navigation").get_by_role("link", name=name, exact=True).click()
    page.wait_for_load_state()


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        root = Path(folder)
        parts = draw(root / "images")
        start_project(root / "plant")
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 900}, color_scheme="light")
        expect.set_options(timeout=60_000)
        with serve(root / "plant") as url:
            walk(page, url, parts, partial(picture, page))


def draw(folder: Path) -> Parts:
    """Draw the images of one line."""
    folder.mkdir(parents=True)
    names = [(f"ok-{n:02}.png", "") for n in range(N_OK)]
    names += [(f"chip-{n:02}.png", FLAW) for n in range(N_DEFECTIVE)]
    names += [("line-00.png", NEW_FLAW)]
    for number, (name, flaw) in enumerate(names):
        pixels = photograph(Shot("train", LINES[3], number, flaw, 1, 7), SIDE).image
        Image.fromarray(pixels).save(folder / name)
    *images, later = (folder / name for name, _ in names)
    return Parts(images, later)


def picture(page: Page, name: str, place: str) -> None:
    page.locator(place).evaluate("place => place.scrollIntoView({ block: 'start' })")
    shown = Image.open(BytesIO(page.screenshot()))
    shown.quantize(128).save(PICTURES / f"first-model-{name}.png", optimize=True)


@contextmanager
def serve(root: Path) -> Iterator[str]:
    """Serve a project as `defect serve` does, on a free port."""
    config = load_config(root / "config.yaml")
    app = create_app(config)
    parts = services_of(app)
    parts.products.start()
    parts.worker.start()
    server = make_server(app, config, "127.0.0.1", 0)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.effective_port}"
    finally:
        parts.worker.stop()
        server.stop()
        thread.join()
        parts.products.stop()
        parts.products.stop_watching()
        parts.records.close()


if __name__ == "__main__":
    sys.exit(main())
