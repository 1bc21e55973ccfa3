"""Sound files that tests make: music, and writers of coded formats."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf


def music(rate_hz: int, seconds: float, n_channels: int, seed: int = 0) -> np.ndarray:
    """Bursts of noise over a gliding tone: ``(n_samples, n_channels)`` float32."""
    rng = np.random.default_rng(seed)
    time_s = np.arange(int(rate_hz * seconds)) / rate_hz
    tone = 0.3 * np.sin(2 * np.pi * (220 + 80 * np.sin(4 * time_s)) * time_s)
    bursts = 0.3 * (np.sin(9 * time_s) > 0.2)[:, None]
    samples = tone[:, None] + bursts * rng.standard_normal((len(time_s), n_channels))
    return np.clip(samples, -0.99, 0.99).astype(np.float32)


def write_av(path: Path, samples: np.ndarray, rate_hz: int, codec: str, **options: Any) -> Path:
    """Encode ``(n_samples, n_channels)`` with PyAV; options: container format, bit rate, tags."""
    import av

    layout = "mono" if samples.shape[1] == 1 else "stereo"
    muxer_options = options.get("muxer", {})
    with av.open(str(path), "w", format=options.get("format"), options=muxer_options) as container:
        container.metadata.update(options.get("tags", {}))
        stream = container.add_stream(codec, rate=rate_hz, layout=layout)
        stream.codec_context.bit_rate = options.get("bit_rate", 128_000)
        sample_format = options.get("sample_format", "fltp")
        data = np.ascontiguousarray(samples.T)
        if sample_format.startswith("s16"):
            data = (data * 32767).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(data, format=sample_format, layout=layout)
        frame.sample_rate = rate_hz
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
    return path


def write_ogg(path: Path, samples: np.ndarray, rate_hz: int, subtype: str) -> None:
    with sf.SoundFile(path, "w", rate_hz, samples.shape[1], subtype=subtype, format="OGG") as file:
        for at in range(0, len(samples), 20_000):
            file.write(samples[at : at + 20_000])
