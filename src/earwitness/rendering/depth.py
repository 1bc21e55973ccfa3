"""Pixels of any kind to 8 bits a channel.

Conventions: what Pillow's ``convert("RGB")`` gives, except where that would clip. Pixels of 16 bits
and more are taken for 8-bit values where none is above 255, and otherwise for values up to 65535,
of which the upper 8 bits are kept. Floating-point pixels up to 1 are multiplied by 255.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

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
