"""A small project, and what there is in folders of ours, for the tests of other tools' formats."""

from pathlib import Path

import numpy as np
from PIL import Image

from defect_detection.config import Config, load_config
from defect_detection.data.bounds import Limits
from defect_detection.data.masks import find_mask
from defect_detection.data.split import scan_split
from defect_detection.formats.importing import Imported, LabelRules, import_data

SIZE = (24, 16)  # px, width and height
RULES = LabelRules(("ok", "good"), ("bad ok",), {}, "ok", Limits())


def picture(path: Path, seed: int, size: tuple[int, int] = SIZE) -> Path:
    """Write an image of noise; another seed is another image."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 256, size[::-1], dtype=np.uint8)
    Image.fromarray(noise).save(path)
    return path


def ring_mask() -> np.ndarray:
    """Return two areas: a ring with a hole, and two pixels that touch at a corner."""
    marked = np.zeros(SIZE[::-1], bool)
    marked[3:9, 4:11], marked[5:7, 6:9] = True, False
    marked[12, 20] = marked[13, 21] = True
    return marked


def small_project(root: Path) -> Config:
    """Write train and test with OK parts, two types, masks, a part with two types, and a defect without a mask."""
    rows = ["file,label,defect_type,group,mask"]
    for seed, (file, types, has_mask) in enumerate(
        (
            ("train/ok/1.png", "", False),
            ("train/ok/2 ü.png", "", False),
            ("train/scratch/1.png", "scratch", True),
            ("train/dent/1.png", "dent; scratch", True),
            ("test/ok/1.png", "", False),
            ("test/scratch/1.png", "scratch", True),
            ("test/dent/9.png", "dent", False),
        )
    ):
        picture(root / "data" / file, seed)
        mask = f"masks/{file}" if has_mask else ""
        if mask:
            (root / "data" / mask).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.roll(ring_mask(), seed, 1)).save(root / "data" / mask)
        rows.append(f"{file},{'defective' if types else 'ok'},{types},,{mask}")
    (root / "data/index.csv").write_text("\n".join(rows) + "\n")
    return _settings(root)


def content_of(config: Config) -> dict[tuple[str, str], tuple[tuple[str, ...], bytes]]:
    """Return types and mask of each image of a project, by split and content."""
    found = {}
    for key in ("train_dir", "test_dir"):
        folder = getattr(config.data, key)
        for sample in scan_split(config, key).samples:
            mask = find_mask(sample, folder)
            pixels = b"" if mask is None else (np.asarray(Image.open(mask)) > 0).tobytes()
            found[folder.name, sample.sha256] = sample.defect_types, pixels
    return found


def imported(form: str, source: Path, folder: Path, rules: LabelRules = RULES) -> tuple[Config, Imported]:
    """Import a data set into a new project, and return its settings and the account."""
    done = import_data(form, source, folder / "data", rules)
    return _settings(folder), done


def _settings(root: Path) -> Config:
    text = "data: {image_size: 32}\ntraining: {hyperparameter_sets: [{name: only}]}\n"
    (root / "config.yaml").write_text(text)
    return load_config(root / "config.yaml")
