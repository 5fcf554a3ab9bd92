"""Name the folders of a product's images, with those that training does not read, and say which of them may be changed."""

from collections.abc import Iterator
from itertools import permutations
from pathlib import Path
from typing import Literal, get_args

from defect_detection.config import Config
from defect_detection.data.walk import walk
from defect_detection.text import encodable, from_root, has_control

ImagePlace = Literal["unlabelled", "train", "test", "challenge", "bin"]
PLACES: tuple[ImagePlace, ...] = get_args(ImagePlace)
MOST_NAME_CHARACTERS = 1000  # of an image, with its folders
FOLDER = "data"  # in the folder of a product: holds what the page writes beside the folders of the settings


def folders_of(config: Config) -> dict[ImagePlace, Path]:
    """Return the folder of each place."""
    own = config.root / FOLDER
    return {
        "unlabelled": own / "unlabelled",
        "train": config.data.train_dir,
        "test": config.data.test_dir,
        "challenge": config.data.challenge_dir,
        "bin": own / "bin",
    }


def why_unchangeable(config: Config) -> str | None:
    """Return why the page must not change the images of a product, or None."""
    folders, root = folders_of(config), config.root
    for place, folder in folders.items():
        if not folder.resolve().is_relative_to(root.resolve()):
            named = (
                f"data.{place}_dir"
                if place in ("train", "test", "challenge")
                else f"the folder of {place} images"
            )
            return (
                f"{named} is {folder.resolve()}, outside the folder of the product: add and label images there with other "
                "programs, or set a folder inside the product's folder"
            )
    for (_, outer), (place, inner) in permutations(folders.items(), 2):
        if inner.is_relative_to(outer):
            return f"the folder of {place}, {from_root(inner, root)}, lies in {from_root(outer, root)}: set separate folders"
    return None


def why_not_shown(file: str) -> str | None:
    """Return why a request could not name an image."""
    if not file.isascii() and encodable(file) != file:
        return "is not UTF-8"
    if has_control(file):
        return "has a control character"
    return (
        f"has over {MOST_NAME_CHARACTERS} characters with its folders"
        if len(file) > MOST_NAME_CHARACTERS
        else None
    )


def said_of_unlabelled(config: Config) -> Iterator[str]:
    """Yield a line that says how many images wait for a label; nothing where none does."""
    folder = folders_of(config)["unlabelled"]
    count = len(walk(folder).images) if folder.is_dir() else 0
    if count:
        yield f"not labelled: {count} image{'' if count == 1 else 's'} in {from_root(folder, config.root)}"
