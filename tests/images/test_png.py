from __future__ import annotations

import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from earwitness.core.errors import ImageError
from earwitness.core.spectrogram import SpectrogramContract
from earwitness.images.png import (
    Shown,
    read_image,
    read_shown,
    write_spectrogram,
)
from imagefolders import bomb

CONTRACT = SpectrogramContract(height=32, width=40)
SHOWN = Shown("musik/Lied №1.mp3", 0, 1, 2.5)


def levels(seed: int = 0) -> np.ndarray:  # type: ignore[type-arg]
    return np.random.default_rng(seed).integers(0, 256, (32, 40), dtype=np.uint8)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.png"
    write_spectrogram(path, levels(), CONTRACT, SHOWN)
    picture = read_image(path)
    assert (picture.mode, picture.size, picture.contract) == ("L", (32, 40), CONTRACT)
    np.testing.assert_array_equal(picture.pixels, np.repeat(levels()[..., None], 3, axis=2))
    assert read_shown(path) == (SHOWN, CONTRACT)


def test_colours_are_written(tmp_path: Path) -> None:
    contract = CONTRACT.model_copy(update={"colours": "magma"})
    write_spectrogram(tmp_path / "a.png", levels(), contract, SHOWN)
    picture = read_image(tmp_path / "a.png")
    assert picture.mode == "RGB"
    assert len(np.unique(picture.pixels.reshape(-1, 3), axis=0)) > 200


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "I"])
def test_every_kind_of_pixels_becomes_colours(mode: str, tmp_path: Path) -> None:
    grey = Image.fromarray(levels())
    if mode == "I;16":
        image = Image.fromarray(levels().astype(np.uint16) * 256)
    elif mode == "I":
        image = Image.fromarray(levels().astype(np.int32) * 256)
    else:
        image = grey.convert("RGB").convert(mode) if mode != "1" else grey.convert("1")
    path = tmp_path / ("a.tif" if mode in ("CMYK", "I") else "a.png")
    image.save(path)
    pixels = read_image(path).pixels
    assert pixels.shape == (32, 40, 3)
    assert pixels.dtype == np.uint8
    if mode not in ("1", "P", "CMYK"):
        np.testing.assert_allclose(pixels[..., 0], levels(), atol=1)


def test_what_cannot_be_read_says_why(tmp_path: Path) -> None:
    whole = io.BytesIO()
    Image.fromarray(levels()).save(whole, "PNG")
    (tmp_path / "text.png").write_text("<html>Not found</html>")
    (tmp_path / "empty.png").touch()
    (tmp_path / "torn.png").write_bytes(whole.getvalue()[:300])
    (tmp_path / "noise.png").write_bytes(b"\x00\xff" * 500)
    (tmp_path / "folder.png").mkdir()
    os.mkfifo(tmp_path / "pipe.png")
    bomb(tmp_path / "bomb.png", 30_000, 30_000)
    bomb(tmp_path / "large.png", 6_000, 5_000)
    Image.fromarray(levels().astype(np.float32) * 1e30).save(tmp_path / "float.tif")
    cases = {
        "none.png": "no such file",
        "text.png": "a text/HTML file, not an image",
        "empty.png": "the file is empty",
        "torn.png": "damaged",
        "noise.png": "not an image, expected PNG, JPEG",
        "folder.png": "a folder, not a file",
        "pipe.png": "a named pipe, not a file",
        "bomb.png": "too many pixels, expected at most 25 million",
        "large.png": "6000 × 5000 pixels, expected at most 25 million",
        "float.tif": "floating-point pixels from 0 to 2.55e",
    }
    for name, reason in cases.items():
        with pytest.raises(ImageError, match=reason) as caught:
            read_image(tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_metadata_is_not_believed(tmp_path: Path) -> None:
    from PIL.PngImagePlugin import PngInfo

    about = PngInfo()
    about.add_text("earwitness:spectrogram", '{"version": 99}')
    about.add_text("earwitness:source", '{"file": "x", "more": 1}')
    Image.fromarray(levels()).save(tmp_path / "a.png", pnginfo=about)
    assert read_image(tmp_path / "a.png").contract is None
    assert read_shown(tmp_path / "a.png") is None
    assert read_shown(tmp_path / "none.png") is None


def test_images_are_resized_where_they_must_be(tmp_path: Path) -> None:
    write_spectrogram(tmp_path / "a.png", levels(), CONTRACT, SHOWN)
    picture = read_image(tmp_path / "a.png")
    assert picture.resized((32, 40)) is picture.pixels
    small = picture.resized((16, 20))
    assert small.shape == (16, 20, 3)
    assert small.mean() == pytest.approx(levels().mean(), abs=2)


def png_16(path: Path, pixels: np.ndarray, colour_type: int) -> Path:  # type: ignore[type-arg]
    """Write a PNG of 16 bits a channel, which Pillow reads but does not write."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    height, width = pixels.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + parts)
    return path


@pytest.mark.parametrize(
    ("name", "dtype"), [("a.png", np.uint16), ("a.tif", np.uint16), ("a.tif", np.int32)]
)
def test_wide_pixels_that_hold_0_to_255_are_read_as_pillow_converts_them(
    name: str, dtype: type, tmp_path: Path
) -> None:
    image = Image.fromarray(levels().astype(dtype))
    image.save(tmp_path / name)
    picture = read_image(tmp_path / name)
    np.testing.assert_array_equal(picture.pixels, np.asarray(image.convert("RGB")))
    np.testing.assert_array_equal(picture.pixels[..., 0], levels())
    assert picture.notes == ("whole-number pixels up to 255, read as 8-bit values",)


@pytest.mark.parametrize(
    ("factor", "note"),
    [(257, "the upper 8 are read"), (16, r"the upper 8 are read (none above 4080 of 65535)")],
)
def test_wide_pixels_above_255_keep_their_upper_bits(
    factor: int, note: str, tmp_path: Path
) -> None:
    for name, dtype in (("a.png", np.uint16), ("a.tif", np.int32)):
        Image.fromarray((levels().astype(dtype) * factor).astype(dtype)).save(tmp_path / name)
        picture = read_image(tmp_path / name)
        expected = levels().astype(int) * factor >> 8
        np.testing.assert_array_equal(picture.pixels[..., 0], expected)
        assert picture.notes[0].endswith(note)


def test_floating_point_pixels_are_read_up_to_1_or_up_to_255(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    image = Image.fromarray(levels().astype(np.float32))
    image.save(path)
    np.testing.assert_array_equal(read_image(path).pixels, np.asarray(image.convert("RGB")))
    Image.fromarray(levels().astype(np.float32) / 255).save(path)
    np.testing.assert_array_equal(read_image(path).pixels[..., 0], levels())


@pytest.mark.parametrize(
    ("pixels", "reason"),
    [
        (levels().astype(np.int32) * 2570, "from 0 to 655350, expected 0 to 255 or 0 to 65535"),
        (levels().astype(np.int32) - 80, "whole-number pixels from -80 to 175, expected 0"),
        (levels().astype(np.float32) - 80, "floating-point pixels from -80 to 175, expected 0"),
        (levels().astype(np.float32) * np.nan, "floating-point pixels that are not finite"),
    ],
)
def test_pixels_without_an_8_bit_equivalent_are_refused(
    pixels: np.ndarray,  # type: ignore[type-arg]
    reason: str,
    tmp_path: Path,
) -> None:
    Image.fromarray(pixels).save(tmp_path / "a.tif")
    with pytest.raises(ImageError, match=reason):
        read_image(tmp_path / "a.tif")


@pytest.mark.parametrize(("colour_type", "n_channels"), [(2, 3), (6, 4), (4, 2)])
def test_16_bits_a_channel_are_never_black_without_a_word(
    colour_type: int, n_channels: int, tmp_path: Path
) -> None:
    wide = np.repeat(levels()[..., None].astype(np.uint16), n_channels, axis=2)
    picture = read_image(png_16(tmp_path / "full.png", wide * 257, colour_type))
    np.testing.assert_array_equal(picture.pixels[..., 0], levels())
    assert picture.notes == ("16 bits a channel, of which the upper 8 are read",)
    with pytest.raises(ImageError, match="16 bits with no value above 255"):
        read_image(png_16(tmp_path / "low.png", wide, colour_type))


def test_odd_files_are_read_as_pillow_does_and_noted(tmp_path: Path) -> None:
    grey = Image.fromarray(levels())
    turned = Image.Exif()
    turned[0x0112] = 6
    grey.save(tmp_path / "turned.png", exif=turned)
    grey.save(tmp_path / "several.tif", save_all=True, append_images=[grey])
    Image.new("L", (8, 8), 7).save(tmp_path / "constant.png")
    notes = {
        "turned.png": "as stored, although EXIF asks for a turn (orientation 6)",
        "several.tif": "the first of 2 frames",
        "constant.png": "a single colour throughout",
    }
    for name, note in notes.items():
        with Image.open(tmp_path / name) as image:
            expected = np.asarray(image.convert("RGB"))
        picture = read_image(tmp_path / name)
        np.testing.assert_array_equal(picture.pixels, expected)
        assert picture.notes == (note,)


def test_the_shared_16_bit_image_is_read_as_its_8_bit_twin(shared: Path) -> None:
    wide, same = (
        shared / "cases/images" / f"{n}.png" for n in ("sixteen_holding_0_255", "same_rgb")
    )
    np.testing.assert_array_equal(read_image(wide).pixels, read_image(same).pixels)


def png_of(*chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG of 8 × 8 grey pixels with other chunks before its pixels."""
    head = (b"IHDR", struct.pack(">IIBBBBB", 8, 8, 8, 0, 0, 0, 0))
    rest = [*chunks, (b"IDAT", zlib.compress(bytes(72))), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in [head, *rest]
    )


@pytest.mark.parametrize("kind", ["zTXt", "iTXt", "iCCP"])
@pytest.mark.parametrize(("n_chunks", "n_bytes"), [(1, 64 << 20), (100, 1_000_000)])
def test_text_that_unpacks_to_much_more_is_refused(
    tmp_path: Path, kind: str, n_chunks: int, n_bytes: int
) -> None:
    packed = zlib.compress(bytes(n_bytes), 9)
    between = b"\0\1\0\0\0" if kind == "iTXt" else b"\0\0"
    chunks = [(kind.encode(), b"k%d" % n + between + packed) for n in range(n_chunks)]
    path = tmp_path / "x.png"
    path.write_bytes(png_of(*chunks))
    assert path.stat().st_size < 1 << 20
    if kind != "iCCP" or n_chunks == 1:  # of several profiles one is kept
        with pytest.raises(ImageError, match="damaged: "):
            read_image(path)
    assert read_shown(path) is None
