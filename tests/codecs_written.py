"""Writing sound as codecs leave it, with PyAV."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np
import soxr
from numpy.typing import NDArray


def write_coded(
    path: Path, samples: NDArray[np.float32], rate: int, *, codec: str, kbps: int
) -> Path:
    """Write ``(n_channels, n)`` in the container that the suffix stands for.

    Args:
        path: ``.mp3``, ``.m4a`` or ``.opus``.
        samples: What to write.
        rate: Its rate; Opus is written at 48 kHz.
        codec: As FFmpeg names encoders.
        kbps: Bit rate.
    """
    if codec == "libopus":
        samples, rate = soxr.resample(samples.T, rate, 48_000).T, 48_000
    layout = "stereo" if len(samples) == 2 else "mono"
    kind = {".opus": "ogg", ".m4a": "mp4"}.get(path.suffix, path.suffix[1:])
    with av.open(path, "w", format=kind) as container:
        stream: Any = container.add_stream(codec, rate=rate, layout=layout)
        stream.bit_rate = 1000 * kbps
        context = stream.codec_context
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(samples, dtype=np.float32), format="fltp", layout=layout
        )
        frame.sample_rate = rate
        context.open()
        resampler = av.AudioResampler(
            format=context.format,
            layout=context.layout,
            rate=context.sample_rate,
            frame_size=context.frame_size or 1024,
        )
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(stream.encode(part))
        container.mux(stream.encode(None))
    return path
