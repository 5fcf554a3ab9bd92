"""Make small pictures of images once, and keep them in the cache within a bound."""

from io import BytesIO
from pathlib import Path

from PIL import Image

from defect_detection.config import Config
from defect_detection.data.bounds import Limits
from defect_detection.data.images import read_header, read_pages
from defect_detection.files.unfinished import whole_file

SIDE = 128  # px
QUALITY = 45  # about 2 KB, so that a screen of 30 takes 60 KB
FOLDER = "thumbnails"  # in cache_dir, with 256 folders in it
MOST_IN_A_FOLDER = 240  # so at most about 60,000 pictures, or 120 MB
MEDIA_TYPE = "image/webp"


def thumbnail(path: Path, sha256: str, config: Config) -> bytes:
    """Return a small picture of an image, as WebP.

    Args:
        sha256: of its content; names the picture.

    Raises:
        ImageError: the image cannot be read. OSError: the cache cannot be written.
    """
    kept = config.cache_dir / FOLDER / sha256[:2] / f"{sha256[2:40]}.webp"
    try:
        return kept.read_bytes()
    except OSError:
        made = _made(path, config)
    kept.parent.mkdir(parents=True, exist_ok=True)
    _make_room(kept.parent)
    with whole_file(kept) as partial:
        partial.write_bytes(made)
    return made


def _made(path: Path, config: Config) -> bytes:
    header = read_header(path)
    scale = SIDE / max(header.width, header.height)
    size = (max(1, round(header.height * scale)), max(1, round(header.width * scale)))
    pages = "first" if config.data.pages == "all" else config.data.pages
    page = read_pages(path, size, Limits.of(config.data), pages=pages, bit_depth=config.data.bit_depth)[0]
    file = BytesIO()
    Image.fromarray(page.pixels).save(file, "WEBP", quality=QUALITY, method=2)
    return file.getvalue()


def _make_room(folder: Path) -> None:
    """Delete the older half of the pictures in a folder that is full."""
    pictures = [path for path in folder.iterdir() if path.suffix == ".webp" and not path.name.startswith(".")]
    if len(pictures) >= MOST_IN_A_FOLDER:
        for path in sorted(pictures, key=lambda one: one.stat().st_mtime)[: MOST_IN_A_FOLDER // 2]:
            path.unlink(missing_ok=True)
