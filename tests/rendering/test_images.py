from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from earwitness.core.errors import ImageError
from earwitness.core.images import SpectrogramContract
from earwitness.rendering.images import (
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
    Image.fromarray(levels().astype(np.float32)).save(tmp_path / "float.tif")
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
        "float.tif": "pixels of kind F, expected grey or colours",
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
