"""Image files: written with their rendering parameters, read without trusting them.

Conventions: pixels are ``(height, width, 3)`` uint8, whatever the file contains. A file with too
many pixels is refused before they are decoded.
"""

from __future__ import annotations

import io
import json
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo
from pydantic import ValidationError

from earwitness.audio.files import looks_like_text, opened
from earwitness.audio.spectrogram import colour_table
from earwitness.core.errors import AudioError, ImageError, RunError, first_line
from earwitness.core.io import atomic_write, read_model
from earwitness.core.spectrogram import (
    PNG_CONTRACT,
    PNG_SOURCE,
    SPECTROGRAM_JSON,
    SpectrogramContract,
)

MOST_PIXELS = 25_000_000
FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP")
IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"})
"""Suffixes taken for images, compared in lower case."""

CONSTANT = "a single colour throughout"
_MAX_8, _MAX_16 = 255, 65_535
_DAMAGED = (
    *(OSError, ValueError, SyntaxError, EOFError, struct.error, zlib.error),
    *(OverflowError, TypeError, LookupError, AttributeError),
)
"""What Pillow raises on damaged files."""


@dataclass(frozen=True)
class Shown:
    """Source of an image: audio file as in its manifest, and clip, numbered from 0."""

    file: str
    window: int
    n_windows: int
    start_s: float


@dataclass(frozen=True, eq=False)
class Picture:
    """Content of an image file: RGB pixels, Pillow's mode, and phrases on anomalies."""

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


class ImageInfo(NamedTuple):
    """Height and width, Pillow's mode, and rendering parameters, read without the pixels."""

    size: tuple[int, int]
    mode: str
    contract: SpectrogramContract | None


def write_spectrogram(
    path: Path, levels: NDArray[np.uint8], contract: SpectrogramContract, shown: Shown
) -> None:
    """Write a PNG of grey levels ``(height, width)`` in the contract's colours."""
    about = PngInfo()
    about.add_text(PNG_CONTRACT, contract.model_dump_json())
    about.add_itxt(PNG_SOURCE, json.dumps(shown.__dict__, ensure_ascii=False))
    pixels = levels if contract.mode == "L" else colour_table(contract.colours)[levels]
    with atomic_write(path) as temporary:
        Image.fromarray(pixels).save(temporary, "PNG", pnginfo=about)


def read_image(path: Path) -> Picture:
    """Read an image file of ``FORMATS``; ``ImageError`` if damaged, too large or no image."""
    with _open(path) as image:
        try:
            pixels, notes = _decode(image)
        except _PixelRangeError as error:
            raise ImageError(str(path), str(error)) from error
        except _DAMAGED as error:
            raise ImageError(str(path), f"damaged: {first_line(error)}") from error
        return Picture(pixels, image.mode, _contract_in(image), notes)


def read_info(path: Path) -> ImageInfo:
    """Return the size and metadata of an image file; its pixels may still be damaged."""
    with _open(path) as image:
        return ImageInfo((image.height, image.width), image.mode, _contract_in(image))


def read_shown(path: Path) -> tuple[Shown, SpectrogramContract | None] | None:
    """Return source and rendering parameters of an image; ``None`` if not recorded."""
    try:
        with _open(path) as image:
            return Shown(**json.loads(image.info[PNG_SOURCE])), _contract_in(image)
    except (ImageError, KeyError, ValueError, TypeError):
        return None


def _open(path: Path) -> Image.Image:
    """Open an image and check its size before its pixels are decoded."""
    expected = f"expected at most {MOST_PIXELS // 10**6} million"
    try:
        with opened(str(path)) as fd, open(fd, "rb", closefd=False) as file:
            data = io.BytesIO(file.read())
            is_text = looks_like_text(fd)
        image = Image.open(data, formats=FORMATS)
    except AudioError as error:
        raise ImageError(str(path), error.reason) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(str(path), f"too many pixels, {expected}") from error
    except UnidentifiedImageError as error:
        found = "a text/HTML file, not an image" if is_text else "not an image"
        raise ImageError(str(path), f"{found}, expected {', '.join(FORMATS)}") from error
    except _DAMAGED as error:
        raise ImageError(str(path), f"damaged: {first_line(error)}") from error
    if image.width * image.height > MOST_PIXELS:
        found = f"{image.width} × {image.height} pixels"
        raise ImageError(str(path), f"{found}, {expected}")
    return image


def _contract_in(image: Image.Image) -> SpectrogramContract | None:
    text = image.info.get(PNG_CONTRACT)
    try:
        return SpectrogramContract.model_validate_json(text) if text else None
    except ValidationError:
        return None


class _PixelRangeError(ValueError):
    """Pixels that have no 8-bit equivalent."""


def _decode(image: Image.Image) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """Return the pixels of an image that Pillow has opened but not loaded, and its anomalies."""
    modes = {"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "RGBa"}
    modes |= {"CMYK", "YCbCr", "LAB", "HSV"}
    wide_colours = _has_wide_colours(image)
    notes = list(_list_anomalies(image))
    image.load()
    if image.mode.startswith("I") or image.mode == "F":
        grey, note = _narrow(np.asarray(image), image.mode)
        values = np.repeat(grey[..., None], 3, axis=2)
        notes += [note] if note else []
    elif image.mode in modes:
        values = np.asarray(image.convert("RGB"))
    else:
        raise _PixelRangeError(f"pixels of kind {image.mode}, expected grey or colours")
    if wide_colours:
        if not values.any():
            raise _PixelRangeError(
                "channels of 16 bits with no value above 255, of which the upper 8 bits are read; "
                "expected 8 bits a channel"
            )
        notes.append("16 bits a channel, of which the upper 8 are read")
    if values.size and values.max() == values.min():
        notes.append(CONSTANT)
    return values, tuple(notes)


def _has_wide_colours(image: Image.Image) -> bool:
    """Return whether Pillow is about to drop the lower 8 bits of each channel."""
    if image.mode.startswith("I"):
        return False
    raw = (tile[3] for tile in getattr(image, "tile", ()))
    names = (args[0] if isinstance(args, tuple) and args else args for args in raw)
    return any(isinstance(name, str) and name.endswith((";16B", ";16L", ";16N")) for name in names)


def _list_anomalies(image: Image.Image) -> Iterator[str]:
    if (n_frames := getattr(image, "n_frames", 1)) > 1:
        yield f"the first of {n_frames} frames"
    if (orientation := image.getexif().get(ExifTags.Base.Orientation, 1)) != 1:
        yield f"as stored, although EXIF asks for a turn (orientation {orientation})"


def _narrow(wide: NDArray[np.generic], mode: str) -> tuple[NDArray[np.uint8], str | None]:
    """Return grey pixels in 8 bits, and a note if the range decides how they are read."""
    values = wide.astype(np.float64)
    kind = "floating-point pixels" if mode == "F" else "whole-number pixels"
    if not np.isfinite(values).all():
        raise _PixelRangeError(f"{kind} that are not finite, expected 0 to {_MAX_8}")
    low, high = float(values.min()), float(values.max())
    if low < 0 or high > (_MAX_8 if mode == "F" else _MAX_16):
        most = f"0 to 1 or 0 to {_MAX_8}" if mode == "F" else f"0 to {_MAX_8} or 0 to {_MAX_16}"
        raise _PixelRangeError(f"{kind} from {low:g} to {high:g}, expected {most}")
    if mode == "F" and 0 < high <= 1:
        return (values * _MAX_8).round().astype(np.uint8), f"{kind} up to 1, multiplied by {_MAX_8}"
    if high <= _MAX_8:
        return values.astype(np.uint8), f"{kind} up to {_MAX_8}, read as 8-bit values"
    upper = (wide.astype(np.int64) >> 8).astype(np.uint8)
    dark = f" (none above {high:g} of {_MAX_16})" if high < _MAX_16 / 4 else ""
    return upper, f"{kind} of 16 bits, of which the upper 8 are read{dark}"


def read_contract(path: Path) -> SpectrogramContract:
    """Read a ``spectrogram.json``; ``RunError`` if it cannot be read, or is no contract."""
    expected = f"{SPECTROGRAM_JSON} of a folder of images"
    return read_model(path, SpectrogramContract, error=RunError, expected=expected)
