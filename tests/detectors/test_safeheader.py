"""Safetensors files with absurd headers are refused in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benches import write_weights
from earwitness.core.errors import WeightsError
from earwitness.detectors.base import OpenOptions
from earwitness.detectors.fakeprint import open_fakeprint
from earwitness.detectors.resnet import find_card
from earwitness.detectors.torch_file import read_state

EMPTY = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
HEADERS = {
    "length": ((1 << 63).to_bytes(8, "little"), "header of 9223372036854775808 bytes"),
    "shape": ({"a": EMPTY | {"shape": [1 << 40], "data_offsets": [0, 1 << 42]}}, "cannot be read"),
    "wrapped": ({"a": EMPTY | {"shape": [1 << 32, 1 << 32, 1 << 32]}}, "cannot be read"),
    "backward": ({"a": EMPTY | {"data_offsets": [8, 0]}}, "cannot be read"),
    "negative": ({"a": EMPTY | {"shape": [-1]}}, "cannot be read"),
    "many": ({f"{n:060}": EMPTY for n in range(40_000)}, "header of"),
    "deep": (b"\x10'\0\0\0\0\0\0" + b'{"a":' * 2_000, "cannot be read"),
    "empty": (b"", "cannot be read"),
}


@pytest.mark.parametrize("name", HEADERS)
def test_absurd_headers_are_refused_by_every_reader(tmp_path: Path, name: str) -> None:
    header, told = HEADERS[name]
    if isinstance(header, dict):
        text = json.dumps(header).encode()
        header = len(text).to_bytes(8, "little") + text
    folder = write_weights(tmp_path / "one", 0)
    path = folder / "weights.safetensors"
    path.write_bytes(header)
    for read in (
        lambda: read_state(path),
        lambda: find_card(path),
        lambda: open_fakeprint(folder, OpenOptions("one")),
    ):
        with pytest.raises(WeightsError, match=told) as caught:
            read()
        assert "\n" not in str(caught.value)
