"""Cut the clips that several detectors request from a file, in one pass over it.

Samples that several requests share are decoded once; a clip does not depend on the other requests.
Many or long clips are cut in parts, in time order, so that memory is bounded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

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
from earwitness.scoring.perturbed import Recipe, perturbed_audio

if TYPE_CHECKING:
    from earwitness.perturb.base import WindowPerturbation

PART_BYTES = 32 * 2**20
"""Approximate size of a part: decoded samples and clips; at least one clip."""


@dataclass(frozen=True)
class ClipRequest:
    """Clips that a detector requests from every file, after ``skip_s`` of the job if it skips."""

    contract: ClipContract
    windows: Windows = "published"
    skips: bool = False


class Job(NamedTuple):
    """A file to decode, and the seconds that requests with ``skips`` leave out at its start.

    With a recipe, clips are cut from the file's perturbed samples, which are held in memory.
    """

    path: str
    skip_s: float = 0.0
    recipe: Recipe | None = None


class Cut(NamedTuple):
    """Clips of one request: those of a part, in time order and unpadded, of ``n_clips`` in all."""

    clips: list[Clip]
    n_clips: int


@dataclass(frozen=True)
class DecodedFile:
    """The clips of a file, or of a part of it (from 0): by request, or why there are none.

    ``info`` is ``None`` for a file that cannot be read.
    """

    job: Job
    cuts: dict[ClipRequest, Cut | str]
    info: AudioInfo | None = None
    part: int = 0
    n_parts: int = 1


_Read = Callable[[Sequence[Span]], Sequence[NDArray[np.float32]]]
"""Returns the samples of spans at the file's own rate; see ``read_spans``."""


class _Piece(NamedTuple):
    """A window of a request, and the span of the file to decode for it."""

    span: Span
    request: ClipRequest
    window: Window
    n_bytes: int


def cut_file(
    job: Job, requests: Sequence[ClipRequest], part: int = 0, info: AudioInfo | None = None
) -> DecodedFile:
    """Cut clips from a file, or from a part of it; audio errors become reasons.

    The result for part 0 has the number of parts, and ``info`` for the further ones.
    """
    try:
        info, read, start_s, mover = _open(job, info)
    except AudioError as error:
        return DecodedFile(job, dict.fromkeys(requests, error.reason))
    placed = {request: _place(info, job, request, start_s, mover) for request in requests}
    parts = _share_out(info, placed)
    cuts: dict[ClipRequest, Cut | str] = {}
    for request, windows in placed.items():
        cuts[request] = windows if isinstance(windows, str) else Cut([], len(windows))
    if parts:
        cuts |= _cut_pieces(info, parts[part], placed, read)
    return DecodedFile(job, cuts, info, part, max(len(parts), 1))


def _open(
    job: Job, info: AudioInfo | None
) -> tuple[AudioInfo, _Read, float, WindowPerturbation | None]:
    """Return the format of the audio, what reads it, its start in s, and what moves windows."""
    if job.recipe is None:
        info = info or probe_audio(job.path)
        return info, partial(read_spans, info), 0.0, None
    samples, info, start_s, mover = perturbed_audio(job.path, job.recipe)
    return info, lambda spans: [samples[:, start:stop] for start, stop in spans], start_s, mover


def _place(
    info: AudioInfo,
    job: Job,
    request: ClipRequest,
    start_s: float,
    mover: WindowPerturbation | None,
) -> list[Window] | str:
    """Return the windows of a request, or the reason why there are none.

    ``skip_s`` counts from the start of the file, windows from that of the audio at ``start_s``.
    """
    rate = request.contract.rate_for(info.sample_rate_hz)
    contract = request.contract.at_rate(rate)
    skipped = int(max(job.skip_s - start_s, 0.0) * rate) if request.skips else 0
    n_samples = resampled_length(info.n_samples, info.sample_rate_hz, rate) - skipped
    if skipped and n_samples <= 0:
        return f"{info.duration_s:.2f} s long, a skip_time of {job.skip_s:g} s leaves nothing of it"
    shortest = max(contract.min_samples, 1)
    if n_samples < shortest:
        needed = f"{shortest / rate:.2g} s"
        return f"{n_samples / rate:.3g} s long, the detector needs at least {needed}"
    placed = place_windows(n_samples, contract, request.windows)
    if mover is not None and not (placed := mover.move(placed, n_samples)):
        return f"{n_samples / rate:.3g} s long, its windows have no room to move"
    return [Window(skipped + start, length) for start, length in placed]


def _share_out(
    info: AudioInfo, placed: Mapping[ClipRequest, list[Window] | str]
) -> list[list[_Piece]]:
    """Return the windows of all requests, in time order, in parts of bounded size."""
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
    rate_hz, rate = info.sample_rate_hz, request.contract.rate_for(info.sample_rate_hz)
    n_bytes = 4 * (1 if request.contract.mono else info.n_channels) * window.n_samples
    span = Span(window.start, window.start + window.n_samples)
    if rate != rate_hz:
        blocks = plan_blocks(*span, n_samples=info.n_samples, from_hz=rate_hz, to_hz=rate)
        span = Span(blocks[0].in_start, blocks[-1].in_stop)
    return _Piece(span, request, window, n_bytes)


def _cut_pieces(
    info: AudioInfo,
    pieces: Sequence[_Piece],
    placed: Mapping[ClipRequest, list[Window] | str],
    read: _Read,
) -> dict[ClipRequest, Cut | str]:
    """Cut for all requests together; if that fails, for each alone."""
    # Part of a damaged file may be readable, and a score must not depend on other detectors.
    asked = list(dict.fromkeys(piece.request for piece in pieces))
    try:
        cuts = _cut_together(info, pieces, read)
    except AudioError as error:
        if len(asked) == 1:
            return {asked[0]: error.reason}
        alone: dict[ClipRequest, Cut | str] = {}
        for request in asked:
            alone |= _cut_pieces(info, [p for p in pieces if p.request == request], placed, read)
        return alone
    return {request: Cut(cuts[request], len(placed[request])) for request in asked}


def _cut_together(
    info: AudioInfo, pieces: Sequence[_Piece], read: _Read
) -> dict[ClipRequest, list[Clip]]:
    # A seek costs as much as decoding half a second.
    spans = _merged((piece.span for piece in pieces), gap=info.sample_rate_hz // 2)
    native = dict(zip(spans, read(spans), strict=True))
    cuts: dict[ClipRequest, list[Clip]] = {piece.request: [] for piece in pieces}
    groups: dict[tuple[int, bool], list[_Piece]] = {}
    for piece in pieces:
        contract = piece.request.contract
        groups.setdefault((contract.rate_for(info.sample_rate_hz), contract.mono), []).append(piece)
    for (rate, mono), alike in groups.items():
        mixed = {s: mix_down(samples) for s, samples in native.items()} if mono else native
        needed = _merged(Span(w.start, w.start + w.n_samples) for _, _, w, _ in alike)
        ready = {span: _resampled(info, span, rate, mixed) for span in needed}
        clips = {
            w: Clip(np.ascontiguousarray(_take(ready, w.start, w.n_samples)), rate, w, info.codec)
            for _, _, w, _ in alike
        }
        for piece in alike:
            cuts[piece.request].append(clips[piece.window])
    return cuts


def _merged(spans: Iterable[Span], gap: int = 0) -> list[Span]:
    """Return spans in order, joined if they overlap or are at most ``gap`` apart."""
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
    """Return a span at ``rate``, resampled from decoded spans."""
    return resample_slice(
        partial(_take, native),
        span.start,
        span.stop,
        n_samples=info.n_samples,
        from_hz=info.sample_rate_hz,
        to_hz=rate,
    )


def _take(
    spans: Mapping[Span, NDArray[np.float32]], start: int, n_samples: int
) -> NDArray[np.float32]:
    """Return samples from the span that contains them."""
    holder = next(s for s in spans if s.start <= start and start + n_samples <= s.stop)
    return spans[holder][:, start - holder.start : start - holder.start + n_samples]
