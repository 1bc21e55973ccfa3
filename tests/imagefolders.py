"""Folders of small images that a network can learn to tell apart."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np

from earwitness.core.spectrogram import SpectrogramContract
from earwitness.images.png import Shown, write_spectrogram

TINY = SpectrogramContract(height=32, width=32, hop=500)


def write_images(root: Path, n: int = 40, *, contract: SpectrogramContract = TINY) -> Path:
    """Write ``n`` images a class, two windows a track; fakes have bright rows at even distances."""
    for at in range(2 * n):
        target, number = divmod(at, n)
        rng = np.random.default_rng(at)
        levels = rng.integers(20, 160, (contract.height, contract.width))
        if target:
            levels[2::6] += 50
        else:
            levels[rng.integers(0, contract.height, 5)] += 50
        side = ("original", "deepfake")[target]
        name = f"t{number // 2:03d}__{number % 2}.png"
        shown = Shown(f"t{number // 2}.mp3", number % 2, 2, 0.0)
        pixels = levels.clip(0, 255).astype(np.uint8)
        write_spectrogram(root / side / "combined" / name, pixels, contract, shown)
    return root


def bomb(path: Path, width: int, height: int) -> Path:
    """Write a PNG of a few bytes that claims to be large."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    data = zlib.compress(b"\0" * 1000)
    whole = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data)
    path.write_bytes(whole + chunk(b"IEND", b""))
    return path
