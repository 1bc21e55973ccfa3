"""The header of a safetensors file, before it is parsed: its length is what its reader pays for."""

from __future__ import annotations

from pathlib import Path

from earwitness.core.errors import WeightsError

_MOST_HEADER_BYTES = 4 << 20
"""Some forty thousand tensors; the safetensors library would take a header 25 times as long."""


def check_header(path: Path) -> None:
    """Refuse a safetensors file whose header is absurdly long.

    Raises:
        WeightsError: It is, or the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            n_bytes = int.from_bytes(file.read(8), "little")
    except OSError as error:
        reason = error.strerror or error
        raise WeightsError(f"{path}: cannot be read as weights ({reason})") from error
    if n_bytes > _MOST_HEADER_BYTES:
        raise WeightsError(
            f"{path}: cannot be read (states a header of {n_bytes} bytes, expected at most "
            f"{_MOST_HEADER_BYTES})"
        )
