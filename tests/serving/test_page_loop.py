"""The whole loop in a real browser with real trainings: the model learns an unknown defect type from labels on the page."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from plant import LEVELS, SETTINGS, SIDE, Plant
from playwright.sync_api import Page, expect
from recorded import wait_for_records
from waiting import LIMIT_S, wait_until
from whole import whole_server

from defect_detection.serving.services import services_of

pytestmark = [
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning"),
    pytest.mark.usefixtures("forked_children"),
]

REPOSITORY = Path(__file__).parents[2]
ONE_SET = (
    f"{{name: pooled_only, levels: {list(LEVELS)}, branches: [pooled], turns: 1, pooled_regularization: 0.1}}"
)
N_TAUGHT, N_TESTED = 12, 20


def rough(seed: int) -> Image.Image:
    """Draw a part as in `plant`, with a spot where its grain is coarse: its shade is that of an OK part."""
    rng = np.random.default_rng(seed)
    grain = rng.normal(0, 5, (SIDE, SIDE))
    y, x = np.mgrid[:SIDE, :SIDE]
    centre = rng.integers(14, SIDE - 14, 2)
    spot = (y - centre[0]) ** 2 + (x - centre[1]) ** 2 < rng.integers(10, 13) ** 2
    pixels = np.linspace(130, 170, SIDE) + np.where(spot, 4 * grain, grain)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def draw_rough(folder: Path, count: int, seed: int) -> list[Path]:
    folder.mkdir(parents=True)
    paths = [folder / f"rough-{seed}-{number:03}.png" for number in range(count)]
    for number, path in enumerate(paths):
        rough(1000 * seed + number).save(path)
    return paths


@pytest.fixture(autouse=True)
def _looks_often() -> None:
    """Look no more often than a server does: a training takes long, and looking takes a tenth of a processor."""


@pytest.fixture
def plant(promoted: Plant) -> Plant:
    """A plant whose model is in production, where test images of a new kind of defect have come since."""
    draw_rough(promoted.root / "data/test/rough", N_TESTED, seed=1)
    settings = SETTINGS.replace("data: {", "data: {feedback_dir: data/feedback, ", 1)
    (promoted.root / "config.yaml").write_text(settings)
    shutil.copytree(REPOSITORY / "re_train", promoted.root / "re_train")
    settings = f"{{hyperparameter_sets: [{ONE_SET}], min_new_labels: {N_TAUGHT}}}"
    (promoted.root / "re_train/re_train.yaml").write_text(settings)
    return promoted


def go_to(page: Page, name: str) -> None:
    page.get_by_role("navigation").get_by_role("link", name=name, exact=True).click()
    page.wait_for_load_state()


def test_a_new_kind_of_defect_is_taught_and_caught_by_the_next_model(plant, open_page, tmp_path):
    assert str(plant.in_production()) == "Production_Reg version 1"
    taught = draw_rough(tmp_path / "line", N_TAUGHT, seed=2)
    (later,) = draw_rough(tmp_path / "later", 1, seed=3)
    with whole_server(plant.config("serving.refresh_s=0.5")) as (app, url):
        page = open_page(url)
        page.set_input_files("#files", taught)
        expect(page.locator("#word")).to_have_text("Review")  # it is unlike anything seen in training
        expect(page.locator("#count")).to_contain_text(f"{N_TAUGHT} of {N_TAUGHT} inspected")
        page.click("#say-defective")
        expect(page.locator("#said")).to_contain_text("Stored: Defective")

        wait_for_records(app)
        go_to(page, "Review")
        for left in range(N_TAUGHT - 1, 0, -1):
            expect(page.locator("#facts")).to_contain_text(f"{left} to review")
            page.fill("#type", "rough")
            page.click("#say-defective")
        expect(page.locator("#nothing-title")).to_have_text("All done for now")

        go_to(page, "Train")
        page.get_by_role("button", name="Start a training").click()
        page.get_by_role("button", name="Start it").click()
        outcome = page.locator("#outcome")
        expect(outcome).to_contain_text("Passed: the gate allows the new model.", timeout=1000 * LIMIT_S)
        page.get_by_role("button", name="Promote version 2").click()
        page.get_by_role("button", name="Promote it").click()
        expect(outcome).to_contain_text("Version 2 is in production.", timeout=1000 * LIMIT_S)
        expect(page.locator("#log")).to_contain_text(f"Feedback: {N_TAUGHT} labels taken ({N_TAUGHT} new)")

        go_to(page, "Models")
        expect(page.locator("#champion .big")).to_have_text("Production_Reg 2")
        wait_until(lambda: services_of(app).served.current().reference.version == 2)

        go_to(page, "Inspect")
        page.set_input_files("#files", [later])
        expect(page.locator("#word")).to_have_text("Defective")
