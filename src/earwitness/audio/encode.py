"""Writing audio with lossy codecs, through PyAV."""

from __future__ import annotations

from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np
import soxr
from numpy.typing import NDArray

_CONTAINERS = {".opus": "ogg", ".m4a": "mp4"}
_File = TypeVar("_File", Path, BinaryIO)


def write_coded(
    path: _File,
    samples: NDArray[np.float32],
    rate: int,
    *,
    codec: str,
    kbps: int,
    suffix: str | None = None,
) -> _File:
    """Write ``(n_channels, n_samples)`` samples in the container of the suffix.

    Args:
        path: ``.mp3``, ``.m4a``, ``.ogg`` or ``.opus``, or an open file.
        samples: One or two channels.
        rate: Their rate in Hz; Opus is written at 48 kHz.
        codec: FFmpeg's name of the encoder.
        kbps: Bit rate.
        suffix: Of an open file.
    """
    import av

    if codec == "libopus":
        samples, rate = soxr.resample(samples.T, rate, 48_000).T, 48_000
    layout = "stereo" if len(samples) == 2 else "mono"
    ending = path.suffix if isinstance(path, Path) else suffix or ""
    kind = _CONTAINERS.get(ending, ending[1:])
    with av.open(path, "w", format=kind) as container:
        stream: Any = container.add_stream(codec, rate=rate, layout=layout)
        stream.bit_rate = 1000 * kbps
        context = stream.codec_context
        context.open()
        resampler: Any = av.AudioResampler(
            format=context.format,
            layout=context.layout,
            rate=context.sample_rate,
            frame_size=context.frame_size or 1024,
        )
        for start in range(0, samples.shape[1], rate):  # of one long frame it moves the rest often
            block = np.ascontiguousarray(samples[:, start : start + rate], dtype=np.float32)
            frame: Any = av.AudioFrame.from_ndarray(block, format="fltp", layout=layout)
            frame.sample_rate = rate
            for part in resampler.resample(frame):
                container.mux(stream.encode(part))
        for part in resampler.resample(None):
            container.mux(stream.encode(part))
        container.mux(stream.encode(None))
    return path
