"""Read TIFF through Pillow according to its tags. Values that Pillow misreads are corrected or refused."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

from PIL import Image
from PIL.ImageFile import _Tile
from PIL.TiffImagePlugin import TiffImageFile

SUBFILE, OLD_SUBFILE, WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC = 254, 255, 256, 257, 258, 259, 262
DESCRIPTION, SAMPLES, PLANAR, COLOUR_MAP, INKS, FORMAT = 270, 277, 284, 320, 332, 339
SUBSAMPLING, RANGE, DEPTH = 530, 532, 32997

_AUXILIARY = 1 | 4  # of SUBFILE: a smaller copy, a mask
_FULL_RANGE = (0, 255, 128, 255, 128, 255)  # of YCbCr
_PHOTOMETRICS = {0: "MinIsWhite", 1: "MinIsBlack", 2: "RGB", 3: "palette", 5: "CMYK", 6: "YCbCr", 8: "Lab"}
_FORMATS = {1: "unsigned integers", 2: "signed integers", 3: "floating point"}
_AS_ON_THIS_MACHINE = {"I;16BS": "I;16NS", "I;32BS": "I;32NS", "F;32BF": "F;32NF"}  # the output of libtiff


class TiffImage(TiffImageFile):
    """A TIFF file, at one of its frames.

    Attributes:
        bits: of one value.
        inverted: whether 0 is white in what `load` gives; with 8 bits or fewer Pillow has inverted it.
        has_lost_colours: whether Pillow divides the colours by alpha, which leaves none where alpha is 0.
        problem: why this frame can't be read; None where it can.
    """

    bits: int
    inverted: bool
    has_lost_colours: bool
    problem: str | None

    def pages(self, most: int) -> Sequence[int]:
        """Return about `most` frames that are neither reduced-size copies nor masks, and seek to the first."""
        if not self.is_animated:
            return range(self._stacked()) if self._is_page or not self.tag_v2.get(330) else ()
        found = []
        for frame in range(most + 1):
            try:
                self.seek(frame)
            except EOFError:
                break
            if self._is_page:
                found.append(frame)
        else:
            return range(most + 1)
        self.seek(found[0] if found else 0)
        return found

    @property
    def _is_page(self) -> bool:
        is_smaller = _first(self.tag_v2.get(OLD_SUBFILE), 1) == 2
        return not (is_smaller or _first(self.tag_v2.get(SUBFILE), 0) & _AUXILIARY)

    def _stacked(self) -> int:
        """Return the number of images behind one directory entry, according to ImageJ or a tag."""
        said = re.match(r"ImageJ=.*?\bimages=(\d+)", str(self.tag_v2.get(DESCRIPTION, "")), re.DOTALL)
        return max(1, int(said[1]) if said else 1, _first(self.tag_v2.get(DEPTH), 1))

    def load_prepare(self) -> None:
        """Allocate the pixels without Pillow's global limit."""
        if self._im is None:
            self.im = Image.core.new(self.mode, self._tile_size)  # type: ignore[attr-defined]
        super().load_prepare()

    def _setup(self) -> None:
        tags = self.tag_v2
        self.bits = max(tags.get(BITS, (1,)))
        self.inverted = tags.get(PHOTOMETRIC) == 0 and self.bits > 8
        self.problem = self._why_not()
        if self.inverted:
            tags[PHOTOMETRIC] = 1  # Pillow reads some of these as they are, and refuses others
        if max(tags.get(COLOUR_MAP, (256,))) < 256:
            tags[COLOUR_MAP] = tuple(value * 257 for value in tags[COLOUR_MAP])
        try:
            super()._setup()
        except (SyntaxError, KeyError, OSError):  # a layout that Pillow doesn't know
            self._size = self._tile_size = tags[WIDTH], tags[HEIGHT]
            self._mode, self.tile = "L", []
            self.problem = self.problem or self._refusal("of this kind")
        else:
            self._set_associated_alpha()
            self.tile = [_in_native_order(tile) for tile in self.tile]

    def _set_associated_alpha(self) -> None:
        """Keep colours multiplied by alpha as they are stored, where Pillow can."""
        if self.mode == "RGBA" and all(_raw_mode(tile) == "RGBa" for tile in self.tile):
            self._mode = "RGBa"
        self.has_lost_colours = self.mode == "RGBA" and any(
            _raw_mode(tile).startswith("RGBa") for tile in self.tile
        )

    def _why_not(self) -> str | None:
        """Return why Pillow would misread the stored values, or None."""
        tags = self.tag_v2
        photometric, samples = _first(tags.get(PHOTOMETRIC), 0), _first(tags.get(SAMPLES), 1)
        raw, separate = (
            _first(tags.get(COMPRESSION), 1) == 1,
            _first(tags.get(PLANAR), 1) == 2 and samples > 1,
        )
        signed = _first(tags.get(FORMAT), 1) == 2
        wrong = {
            "with signed 8-bit values": signed and self.bits == 8,
            "with signed values where 0 is white": signed and self.inverted,
            "with planes of 16 bits": separate and raw and self.bits > 8,
            "with separate planes other than RGB or CMYK": separate and photometric not in (2, 5),
            "with inks other than CMYK": photometric == 5 and _first(tags.get(INKS), 1) != 1,
        }
        if photometric == 6 and samples == 3:
            wrong |= {
                "with uncompressed subsampled YCbCr": raw and tuple(tags.get(SUBSAMPLING, (2, 2))) != (1, 1),
                "with limited-range YCbCr": tuple(tags.get(RANGE, _FULL_RANGE)) != _FULL_RANGE,
            }
        return next((self._refusal(text) for text, is_so in wrong.items() if is_so), None)

    def _refusal(self, what: str) -> str:
        tags = self.tag_v2
        photometric, form = _first(tags.get(PHOTOMETRIC), 0), _first(tags.get(FORMAT), 1)
        received = ", ".join(
            (
                _PHOTOMETRICS.get(photometric, f"photometric interpretation {photometric}"),
                f"{_first(tags.get(SAMPLES), 1)} x {self.bits} bits",
                _FORMATS.get(form, f"sample format {form}"),
                f"compression {_first(tags.get(COMPRESSION), 1)}",
            )
        )
        return f"a TIFF {what} is not supported ({received}); save it as 8 or 16-bit gray or RGB"


def _first(value: Any, default: int) -> int:
    """Return a tag's value, or the first of several."""
    if isinstance(value, Iterable):
        value = next(iter(value), default)
    return default if value is None else int(value)


def _raw_mode(tile: _Tile) -> str:
    args = tile.args or ("",)
    return str(args if isinstance(args, str) else args[0])


def _in_native_order(tile: _Tile) -> _Tile:
    """Correct the byte order after libtiff, which returns the machine's order; Pillow ignores this for some modes."""
    raw_mode = _AS_ON_THIS_MACHINE.get(_raw_mode(tile))
    if tile.codec_name != "libtiff" or raw_mode is None or not isinstance(tile.args, tuple):
        return tile
    return tile._replace(args=(raw_mode, *tile.args[1:]))
