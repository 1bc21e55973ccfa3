"""Image files: written with what they show in their metadata, read without trusting them.

Conventions: pixels are ``(height, width, 3)`` uint8, whatever the file holds; a file is refused
with its reason before its pixels are unpacked where they are too many. Nothing that an image's
metadata says is believed but the contract, which is checked.
"""

from __future__ import annotations

import io
import json
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo
from pydantic import ValidationError

from earwitness.audio.files import looks_like_text, opened
from earwitness.audio.spectrogram import colour_table
from earwitness.core.errors import AudioError, ImageError, RunError
from earwitness.core.io import atomic_write
from earwitness.core.spectrogram import PNG_CONTRACT, PNG_SOURCE, SpectrogramContract

MOST_PIXELS = 25_000_000
FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP")
IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"})
"""Suffixes taken for images, compared in lower case."""

_DAMAGED = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    struct.error,
    zlib.error,
    OverflowError,
    TypeError,
    LookupError,
    AttributeError,
)


@dataclass(frozen=True)
class Shown:
    """Which clip an image shows.

    Attributes:
        file: The audio file, as its manifest names it.
        window: Number of the clip in its file, from 0.
        n_windows: Clips drawn of the file.
        start_s: Where the clip begins.
    """

    file: str
    window: int
    n_windows: int
    start_s: float


@dataclass(frozen=True, eq=False)
class Picture:
    """An image file, read.

    Attributes:
        pixels: ``(height, width, 3)`` uint8.
        mode: Kind of pixels in the file, as Pillow names it.
        contract: How it says it was drawn; ``None`` where it does not say.
        notes: What is unusual about the file, see ``to_pixels``.
    """

    pixels: NDArray[np.uint8]
    mode: str
    contract: SpectrogramContract | None = None
    notes: tuple[str, ...] = ()

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.pixels.shape[0], self.pixels.shape[1]

    def resized(self, size: tuple[int, int]) -> NDArray[np.uint8]:
        """Return the pixels at another height and width, bilinear with smoothing."""
        if size == self.size:
            return self.pixels
        image = Image.fromarray(self.pixels).resize(size[::-1], Image.Resampling.BILINEAR)
        return np.asarray(image)


class ImageFacts(NamedTuple):
    """What an image file says of itself before its pixels are unpacked.

    Attributes:
        size: Height and width.
        mode: Kind of pixels, as Pillow names it.
        contract: How it says it was drawn; ``None`` where it does not say.
    """

    size: tuple[int, int]
    mode: str
    contract: SpectrogramContract | None


def write_spectrogram(
    path: Path, levels: NDArray[np.uint8], contract: SpectrogramContract, shown: Shown
) -> None:
    """Write a PNG of ``(height, width)`` grey levels in the contract's colours, atomically."""
    about = PngInfo()
    about.add_text(PNG_CONTRACT, contract.model_dump_json())
    about.add_itxt(PNG_SOURCE, json.dumps(shown.__dict__, ensure_ascii=False))
    pixels = levels if contract.mode == "L" else colour_table(contract.colours)[levels]
    with atomic_write(path) as temporary:
        Image.fromarray(pixels).save(temporary, "PNG", pnginfo=about)


def read_image(path: Path) -> Picture:
    """Read an image file of any of ``FORMATS``.

    Raises:
        ImageError: It is missing, no image, damaged, or too large.
    """
    with _open(path) as image:
        try:
            pixels = to_pixels(image)
        except PixelRangeError as error:
            raise ImageError(str(path), str(error)) from error
        except _DAMAGED as error:
            raise ImageError(str(path), f"damaged: {_first_line(error)}") from error
        return Picture(pixels.values, image.mode, _contract_in(image), pixels.notes)


def read_facts(path: Path) -> ImageFacts:
    """Return what an image file says of itself; its pixels may still be damaged.

    Raises:
        ImageError: It is missing, no image, damaged, or too large.
    """
    with _open(path) as image:
        return ImageFacts((image.height, image.width), image.mode, _contract_in(image))


def read_shown(path: Path) -> tuple[Shown, SpectrogramContract | None] | None:
    """Return what a rendered image shows and how, or ``None`` where it does not say."""
    try:
        with _open(path) as image:
            told: Any = json.loads(image.info[PNG_SOURCE])
            return Shown(**told), _contract_in(image)
    except (ImageError, KeyError, ValueError, TypeError):
        return None


def _open(path: Path) -> Image.Image:
    """Open an image and look at its size, before its pixels are unpacked."""
    try:
        with opened(str(path)) as fd, open(fd, "rb", closefd=False) as file:
            data = io.BytesIO(file.read())
            is_text = looks_like_text(fd)
        image = Image.open(data, formats=FORMATS)
    except AudioError as error:
        raise ImageError(str(path), error.reason) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(str(path), f"too many pixels, expected {_most()}") from error
    except UnidentifiedImageError as error:
        found = "a text/HTML file, not an image" if is_text else "not an image"
        raise ImageError(str(path), f"{found}, expected {', '.join(FORMATS)}") from error
    except _DAMAGED as error:
        raise ImageError(str(path), f"damaged: {_first_line(error)}") from error
    if image.width * image.height > MOST_PIXELS:
        found = f"{image.width} × {image.height} pixels"
        raise ImageError(str(path), f"{found}, expected {_most()}")
    return image


def _contract_in(image: Image.Image) -> SpectrogramContract | None:
    text = image.info.get(PNG_CONTRACT)
    try:
        return SpectrogramContract.model_validate_json(text) if text else None
    except ValidationError:
        return None


def _most() -> str:
    return f"at most {MOST_PIXELS // 10**6} million"


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


CONSTANT = "a single colour throughout"

_MAX_8, _MAX_16 = 255, 65_535
_WIDE_RAW = (";16B", ";16L", ";16N")
_ORIENTATION = 0x0112
_KNOWN_MODES = frozenset(
    ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "RGBa", "CMYK", "YCbCr", "LAB", "HSV")
)


class PixelRangeError(ValueError):
    """Pixels that have no 8-bit equivalent; the message says what was found and expected."""


class Pixels(NamedTuple):
    """Pixels of an image and what is unusual about its file.

    Attributes:
        values: ``(height, width, 3)`` uint8.
        notes: Phrases without a full stop.
    """

    values: NDArray[np.uint8]
    notes: tuple[str, ...]


def to_pixels(image: Image.Image) -> Pixels:
    """Return the pixels of an image that Pillow has opened but not loaded.

    Raises:
        PixelRangeError: Pixels of a kind, or in a range, that has no 8-bit equivalent.
    """
    wide_colours = _has_wide_colours(image)
    notes = list(_odd_traits(image))
    image.load()
    if image.mode.startswith("I") or image.mode == "F":
        grey, note = _narrow(np.asarray(image), image.mode)
        values = np.repeat(grey[..., None], 3, axis=2)
        notes += [note] if note else []
    elif image.mode in _KNOWN_MODES:
        values = np.asarray(image.convert("RGB"))
    else:
        raise PixelRangeError(f"pixels of kind {image.mode}, expected grey or colours")
    if wide_colours:
        if not values.any():
            raise PixelRangeError(
                "channels of 16 bits with no value above 255, of which the upper 8 bits are read; "
                "expected 8 bits a channel"
            )
        notes.append("16 bits a channel, of which the upper 8 are read")
    if values.size and values.max() == values.min():
        notes.append(CONSTANT)
    return Pixels(values, tuple(notes))


def _has_wide_colours(image: Image.Image) -> bool:
    """Return whether Pillow is about to drop the lower 8 bits of each channel."""
    if image.mode.startswith("I"):
        return False
    raw = (tile[3] for tile in getattr(image, "tile", ()))
    names = (args[0] if isinstance(args, tuple) and args else args for args in raw)
    return any(isinstance(name, str) and name.endswith(_WIDE_RAW) for name in names)


def _odd_traits(image: Image.Image) -> list[str]:
    notes = []
    n_frames = getattr(image, "n_frames", 1)
    if n_frames > 1:
        notes.append(f"the first of {n_frames} frames")
    orientation = image.getexif().get(_ORIENTATION, 1)
    if orientation != 1:
        notes.append(f"as stored, although EXIF asks for a turn (orientation {orientation})")
    return notes


def _narrow(wide: NDArray[np.generic], mode: str) -> tuple[NDArray[np.uint8], str | None]:
    """Return grey pixels in 8 bits, and a note where the range decides how they are read."""
    values = wide.astype(np.float64)
    kind = "floating-point pixels" if mode == "F" else "whole-number pixels"
    if not np.isfinite(values).all():
        raise PixelRangeError(f"{kind} that are not finite, expected 0 to {_MAX_8}")
    low, high = float(values.min()), float(values.max())
    if low < 0 or high > (_MAX_8 if mode == "F" else _MAX_16):
        most = f"0 to 1 or 0 to {_MAX_8}" if mode == "F" else f"0 to {_MAX_8} or 0 to {_MAX_16}"
        raise PixelRangeError(f"{kind} from {low:g} to {high:g}, expected {most}")
    if mode == "F" and 0 < high <= 1:
        return (values * _MAX_8).round().astype(np.uint8), f"{kind} up to 1, multiplied by {_MAX_8}"
    if high <= _MAX_8:
        return values.astype(np.uint8), f"{kind} up to {_MAX_8}, read as 8-bit values"
    upper = (wide.astype(np.int64) >> 8).astype(np.uint8)
    dark = f" (none above {high:g} of {_MAX_16})" if high < _MAX_16 / 4 else ""
    return upper, f"{kind} of 16 bits, of which the upper 8 are read{dark}"


def read_contract(path: Path) -> SpectrogramContract:
    """Read a ``spectrogram.json``.

    Raises:
        RunError: It cannot be read, or is no contract.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return SpectrogramContract.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise RunError(f"{path}: {where}: {first['msg']}") from error
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"{path}: cannot be read as a contract ({error})") from error
