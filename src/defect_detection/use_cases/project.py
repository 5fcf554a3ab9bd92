"""Create a project: commented settings and the folders that they name."""

from pathlib import Path

from defect_detection.errors import ConfigError
from defect_detection.files.unfinished import write_text
from defect_detection.text import printable

FILES = ("config.yaml", "re_train/re_train.yaml", "re_train/re_train.py")
FOLDERS = ("data/train", "data/test", "data/challenge")
_PACKAGED = Path(__file__).parents[1] / "project"  # in a wheel: see pyproject.toml
_CHECKOUT = Path(__file__).parents[3]


def shipped(name: str) -> str:
    """Return the text of one of `FILES`, as the repository has it."""
    folder = _PACKAGED if _PACKAGED.is_dir() else _CHECKOUT
    return (folder / name).read_text(encoding="utf-8")


def start_project(folder: Path) -> list[Path]:
    """Write `FILES` and make `FOLDERS`. Files that are there stay as they are. Returns what is new.

    Raises:
        ConfigError: the folder has all of them already.
    """
    missing = [folder / name for name in FILES if not (folder / name).exists()]
    if not missing:
        raise ConfigError(f"{printable(folder)}: already a project; nothing was written")
    for name in FOLDERS:
        (folder / name).mkdir(parents=True, exist_ok=True)
    for path in missing:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, shipped(path.relative_to(folder).as_posix()))
    return missing
