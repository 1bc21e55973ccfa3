"""The clips of one file: what several detectors ask of it, cut in one pass over it.

Conventions: what is asked for is read once, however many ask; the samples of a clip do not depend
on who else asks. A file of which much is asked is cut in parts that follow one another in time,
so that no process ever holds more than a part of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from earwitness.audio.clips import (
    Clip,
    Window,
    place_windows,
    plan_blocks,
    resample_slice,
    resampled_length,
)
from earwitness.audio.decode import AudioInfo, Span, mix_down, probe_audio, read_spans
from earwitness.core.cards import ClipContract, Windows
from earwitness.core.errors import AudioError

PART_BYTES = 32 * 2**20
"""About as much as a part holds, sound as decoded and clips together; at least one clip."""

_BRIDGED_S = 0.5
"""Gaps shorter than this are read through: finding another place costs as much."""


@dataclass(frozen=True)
class ClipRequest:
    """Clips that a detector asks of every file.

    Attributes:
        contract: The audio it wants.
        windows: Which clips.
        skips: Whether the job's ``skip_s`` is left out before clips are placed.
    """

    contract: ClipContract
    windows: Windows = "published"
    skips: bool = False


class Job(NamedTuple):
    """One file to decode.

    Attributes:
        path: The file.
        skip_s: What requests that skip leave out at its start.
    """

    path: str
    skip_s: float = 0.0


class Cut(NamedTuple):
    """Clips of one request.

    Attributes:
        clips: Those of this part of the file, in time order, not padded.
        n_clips: Clips of the whole file.
    """

    clips: list[Clip]
    n_clips: int


@dataclass(frozen=True)
class DecodedFile:
    """What came of a file, or of a part of it.

    Attributes:
        job: What was decoded.
        cuts: For each request its clips, or why there are none.
        info: Format and length; ``None`` where the file cannot be read at all.
        part: Which part of the file this is, from 0.
        n_parts: Parts that the file has for these requests.
    """

    job: Job
    cuts: dict[ClipRequest, Cut | str]
    info: AudioInfo | None = None
    part: int = 0
    n_parts: int = 1


class _Piece(NamedTuple):
    """One window of one request, and the stretch of the file that it is made of."""

    span: Span
    request: ClipRequest
    window: Window
    n_bytes: int


def cut_file(
    job: Job, requests: Sequence[ClipRequest], part: int = 0, info: AudioInfo | None = None
) -> DecodedFile:
    """Cut what is asked for out of one file, or out of a part of it; errors become words.

    Args:
        job: The file.
        requests: Clips that are wanted, no two the same.
        part: Which part; the others are known once the first came back.
        info: What is known of the file, so that it need not be probed again.
    """
    try:
        info = info or probe_audio(job.path)
    except AudioError as error:
        return DecodedFile(job, dict.fromkeys(requests, error.reason))
    placed = {request: _place(info, job, request) for request in requests}
    parts = _share_out(info, placed)
    cuts: dict[ClipRequest, Cut | str] = {}
    for request, windows in placed.items():
        cuts[request] = windows if isinstance(windows, str) else Cut([], len(windows))
    if parts:
        cuts |= _cut_pieces(info, parts[part], placed)
    return DecodedFile(job, cuts, info, part, max(len(parts), 1))


def _place(info: AudioInfo, job: Job, request: ClipRequest) -> list[Window] | str:
    """Return where the clips of a request lie, or why there are none."""
    contract = request.contract
    rate = contract.rate_for(info.sample_rate_hz)
    skipped = int(job.skip_s * rate) if request.skips else 0
    n_samples = resampled_length(info.n_samples, info.sample_rate_hz, rate) - skipped
    if skipped and n_samples <= 0:
        return f"{info.duration_s:.2f} s long, a skip_time of {job.skip_s:g} s leaves nothing of it"
    shortest = max(contract.min_samples, 1)
    if n_samples < shortest:
        needed = f"{shortest / rate:.2g} s"
        return f"{n_samples / rate:.3g} s long, the detector needs at least {needed}"
    placed = place_windows(n_samples, contract, request.windows)
    return [Window(skipped + start, length) for start, length in placed]


def _share_out(
    info: AudioInfo, placed: Mapping[ClipRequest, list[Window] | str]
) -> list[list[_Piece]]:
    """Return the windows of all requests in time order, in parts of bounded size."""
    pieces = [
        _piece(info, request, window)
        for request, windows in placed.items()
        if not isinstance(windows, str)
        for window in windows
    ]
    parts: list[list[_Piece]] = []
    clip_bytes, read_from, read_to = 0, 0, 0
    for piece in sorted(pieces, key=lambda piece: piece.span):
        clip_bytes += piece.n_bytes
        read_to = max(read_to, piece.span.stop)
        if not parts or clip_bytes + 4 * info.n_channels * (read_to - read_from) > PART_BYTES:
            parts.append([])
            clip_bytes, (read_from, read_to) = piece.n_bytes, piece.span
        parts[-1].append(piece)
    return parts


def _piece(info: AudioInfo, request: ClipRequest, window: Window) -> _Piece:
    contract = request.contract
    rate = contract.rate_for(info.sample_rate_hz)
    n_channels = 1 if contract.mono else info.n_channels
    return _Piece(_span_of(info, window, rate), request, window, 4 * n_channels * window.n_samples)


def _span_of(info: AudioInfo, window: Window, rate: int) -> Span:
    """Return what has to be read of a file for a stretch at another rate."""
    start, stop = window.start, window.start + window.n_samples
    if rate == info.sample_rate_hz:
        return Span(start, stop)
    blocks = plan_blocks(
        start, stop, n_samples=info.n_samples, from_hz=info.sample_rate_hz, to_hz=rate
    )
    return Span(blocks[0].in_start, blocks[-1].in_stop)


def _cut_pieces(
    info: AudioInfo,
    pieces: Sequence[_Piece],
    placed: Mapping[ClipRequest, list[Window] | str],
) -> dict[ClipRequest, Cut | str]:
    """Cut for all requests at once; where that fails, for each alone.

    What one detector needs of a damaged file may be whole where what another needs is not, and a
    score must not depend on who else is asked.
    """
    asked = list(dict.fromkeys(piece.request for piece in pieces))
    try:
        cuts = _cut_together(info, pieces)
    except AudioError as error:
        if len(asked) == 1:
            return {asked[0]: error.reason}
        alone: dict[ClipRequest, Cut | str] = {}
        for request in asked:
            own = [piece for piece in pieces if piece.request == request]
            alone |= _cut_pieces(info, own, placed)
        return alone
    return {request: Cut(cuts[request], len(placed[request])) for request in asked}


def _cut_together(info: AudioInfo, pieces: Sequence[_Piece]) -> dict[ClipRequest, list[Clip]]:
    spans = _merged((piece.span for piece in pieces), gap=int(_BRIDGED_S * info.sample_rate_hz))
    native = dict(zip(spans, read_spans(info, spans), strict=True))
    cuts: dict[ClipRequest, list[Clip]] = {piece.request: [] for piece in pieces}
    kinds = {(_rate(info, piece.request), piece.request.contract.mono) for piece in pieces}
    for rate, mono in sorted(kinds):
        alike = [
            piece
            for piece in pieces
            if (_rate(info, piece.request), piece.request.contract.mono) == (rate, mono)
        ]
        heard = {s: mix_down(samples) for s, samples in native.items()} if mono else native
        stretches = _merged(Span(w.start, w.start + w.n_samples) for _, _, w, _ in alike)
        ready = {s: _resampled(info, s, rate, heard) for s in stretches}
        clips = {window: _clip_of(window, rate, ready) for _, _, window, _ in alike}
        for piece in alike:
            cuts[piece.request].append(clips[piece.window])
    return cuts


def _rate(info: AudioInfo, request: ClipRequest) -> int:
    return request.contract.rate_for(info.sample_rate_hz)


def _merged(spans: Iterable[Span], gap: int = 0) -> list[Span]:
    """Return spans in order, those joined that overlap or lie less than ``gap`` apart."""
    merged: list[Span] = []
    for start, stop in sorted(spans):
        if merged and start <= merged[-1].stop + gap:
            merged[-1] = Span(merged[-1].start, max(merged[-1].stop, stop))
        else:
            merged.append(Span(start, stop))
    return merged


def _resampled(
    info: AudioInfo, span: Span, rate: int, native: Mapping[Span, NDArray[np.float32]]
) -> NDArray[np.float32]:
    """Return a stretch at ``rate`` out of what was read of the file."""

    def read(first: int, count: int) -> NDArray[np.float32]:
        holder = next(s for s in native if s.start <= first and first + count <= s.stop)
        return native[holder][:, first - holder.start : first - holder.start + count]

    return resample_slice(
        read,
        span.start,
        span.stop,
        n_samples=info.n_samples,
        from_hz=info.sample_rate_hz,
        to_hz=rate,
    )


def _clip_of(window: Window, rate: int, ready: Mapping[Span, NDArray[np.float32]]) -> Clip:
    start, stop = window.start, window.start + window.n_samples
    holder = next(s for s in ready if s.start <= start and stop <= s.stop)
    samples = ready[holder][:, start - holder.start : stop - holder.start]
    return Clip(np.ascontiguousarray(samples), rate, window)
