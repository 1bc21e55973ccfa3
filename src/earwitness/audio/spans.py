"""Cutting stretches out of decoded sound that passes by, block after block.

Conventions: positions are samples per channel at the file's own rate.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from earwitness.audio.info import AudioInfo, Span
from earwitness.core.errors import AudioError


def fill_spans(
    info: AudioInfo,
    spans: Sequence[Span],
    blocks: Iterable[NDArray[np.float32]],
    n_skipped: int = 0,
) -> list[NDArray[np.float32]]:
    """Return ``(n_channels, n_samples)`` of each span.

    Args:
        info: What is known of the file.
        spans: Stretches, in order, not overlapping.
        blocks: Decoded sound ``(n_channels, n)``, in order; taken no further than needed.
        n_skipped: Samples of it that are before the file's first one.

    Raises:
        AudioError: The blocks end before the last span does.
    """
    parts = [np.empty((info.n_channels, s.stop - s.start), dtype=np.float32) for s in spans]
    position, last = -n_skipped, max((span.stop for span in spans), default=0)
    for block in blocks:
        if position >= last:
            break
        for span, part in zip(spans, parts, strict=True):
            first, stop = max(span.start, position), min(span.stop, position + block.shape[1])
            if first < stop:
                source = block[:, first - position : stop - position]
                part[:, first - span.start : stop - span.start] = source
        position += block.shape[1]
    if position < last:
        ends_s = max(0, position) / info.sample_rate_hz
        raise AudioError(info.path, f"ends at {ends_s:.2f} s, expected {info.duration_s:.2f} s")
    return parts
