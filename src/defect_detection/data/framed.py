"""Resolve the settings of region, mask and shape for the images that a model is trained on."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from defect_detection.config import Config
from defect_detection.data.bounds import Limits
from defect_detection.data.extent import Box
from defect_detection.data.framing import Framing, Size, Tiling, fit_into, png_of_hidden
from defect_detection.data.images import read_header, read_image
from defect_detection.data.samples import Sample
from defect_detection.errors import ConfigError, ImageError

_BLACK = 128  # gray levels below it
_TINT = 16  # gray levels between the channels of a gray image, as JPEG leaves them


def framing_of(config: Config, samples: Sequence[Sample]) -> Framing:
    """Return what a model that is trained on these images sees of an image: as most of them are.

    Raises:
        ConfigError: region or mask does not fit the images. Names file and key.
    """
    data, framing = config.data, Framing.plain(config.data.image_size)
    if data.tiles:
        tiling = Tiling(**data.tiles.model_dump())
        framing = Framing(size=(tiling.size, tiling.size), tiles=tiling)
    elif data.region is None and data.ignore_mask is None and data.resize == "stretch":
        return framing
    usual = _usual_size(samples)
    if usual is None:  # no image can be read, which others report
        return framing
    box = _region(config, usual)
    update = {"region": data.region, "made_for": usual}
    if framing.tiles:
        _check_tiles(config, framing.tiles, box)
    elif data.resize == "keep_aspect":
        width, height = fit_into(framing.size, (box.width, box.height))
        update["content"] = (height, width)
    framing = framing.model_copy(update=update)
    if data.ignore_mask is None:
        return framing
    hidden = _hidden(config, box, usual)
    framing = framing.model_copy(update={"hidden": png_of_hidden(_in_input(hidden, framing, box))})
    if framing.shown is not None and not framing.shown.any():
        high, wide = framing.shown.shape
        raise _unfit(
            config,
            "ignore_mask",
            f"white pixels, which count, received {data.ignore_mask}, which hides everything when it is resized to {wide} x {high} px",
        )
    return framing


def _check_tiles(config: Config, tiling: Tiling, box: Box) -> None:
    try:
        tiling.scaled(box.width, box.height)
    except ImageError as error:
        raise ConfigError(f"{config.file}: data.tiles: {error}") from None


def _usual_size(samples: Sequence[Sample]) -> Size | None:
    """Return the most common width and height of the images; None if none can be read."""
    sizes: Counter[Size] = Counter()
    for sample in samples:
        try:
            header = read_header(sample.path)
        except ImageError:
            continue
        sizes[header.width, header.height] += 1
    return max(sizes, key=lambda size: (sizes[size], size)) if sizes else None


def _region(config: Config, usual: Size) -> Box:
    framing = Framing(size=(16, 16), region=config.data.region, made_for=usual)
    box, region = framing.box(*usual), config.data.region or (0, 0, 1, 1)
    is_share = max(region) <= 1
    is_outside = box.right > usual[0] or box.bottom > usual[1]
    if is_outside or (is_share and (region[2] * usual[0] < 1 or region[3] * usual[1] < 1)):
        expected = (
            "a region inside the images" if is_outside else "a region of at least 1 x 1 px of the images"
        )
        received = f"received {list(region)} (left, top, width, height)"
        raise _unfit(config, "region", f"{expected}, which have {usual[0]} x {usual[1]} px, {received}")
    return box


def _hidden(config: Config, box: Box, usual: Size) -> np.ndarray:
    """Return the mask over the region, bool (height, width), True where it hides the image."""
    path = config.data.ignore_mask
    assert path is not None
    pixels = _read(config, path)
    if int((pixels.max(axis=2).astype(int) - pixels.min(axis=2)).max()) > _TINT:
        raise _unfit(config, "ignore_mask", f"a gray image, received {path}, which has colours")
    hidden = pixels[..., 1] < _BLACK
    size = hidden.shape[1], hidden.shape[0]
    if size == usual:
        hidden = hidden[box.top : box.bottom, box.left : box.right]
    elif size != (box.width, box.height):
        expected = f"the size of the region, {box.width} x {box.height} px"
        raise _unfit(config, "ignore_mask", f"{expected}, received {path} with {size[0]} x {size[1]} px")
    if hidden.all():
        raise _unfit(
            config, "ignore_mask", f"white pixels, which count, received {path}, which hides everything"
        )
    return hidden


def _read(config: Config, path: Path) -> np.ndarray:
    try:
        return read_image(path, limits=Limits.of(config.data))
    except ImageError as error:
        raise ConfigError(f"{config.file}: data.ignore_mask: {error}") from None


def _in_input(hidden: np.ndarray, framing: Framing, box: Box) -> np.ndarray:
    """Return the mask in the model's input: hidden is every pixel that gets anything from a hidden one."""
    if framing.tiles:
        width, height = framing.tiles.scaled(box.width, box.height)
        return _touched(_touched(hidden, height).T, width).T
    place = framing.fitted(box.width, box.height)
    return framing.padded(_touched(_touched(hidden, place.height).T, place.width).T, place)


def _touched(hidden: np.ndarray, length: int) -> np.ndarray:
    """Resize the rows of a bool array; a new row is hidden where any is that a bilinear filter with antialiasing reads for it."""
    scale = len(hidden) / length
    centre, reach = (np.arange(length) + 0.5) * scale, max(scale, 1.0)
    first = np.maximum((centre - reach + 0.5).astype(int), 0)
    end = np.minimum((centre + reach + 0.5).astype(int), len(hidden))
    counts = np.pad(hidden.cumsum(0), ((1, 0), (0, 0)))
    return np.asarray(counts[end] > counts[first])


def _unfit(config: Config, key: str, text: str) -> ConfigError:
    return ConfigError(f"{config.file}: data.{key}: expected {text}")
