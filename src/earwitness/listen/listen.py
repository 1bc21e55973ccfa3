"""Run detectors on one song or a few.

A file that cannot be read gives a result with its error. Windows are sampled evenly from long
songs, so that time and memory stay bounded.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from earwitness.audio.decode import AudioInfo, probe_audio
from earwitness.audio.files import Reader
from earwitness.core.cards import ClipContract, DetectorCard, Windows
from earwitness.core.errors import AudioError, StoppedError
from earwitness.core.io import sha256_of
from earwitness.core.manifest import Manifest
from earwitness.core.predictions import DETAIL_COLUMNS, ENCODER_PREFIX, Predictions
from earwitness.core.remote import to_path
from earwitness.datasets.catalog import scan_audio
from earwitness.detectors.base import AnyDetector
from earwitness.detectors.loading import list_detectors
from earwitness.evaluation.windows import (
    Segment,
)
from earwitness.listen.results import (
    DetectorResult,
    Silence,
    SongResult,
    label_score,
)
from earwitness.scoring.predict import plan_scoring, score_plan, tabulate

_FIRST = ("comb", "box", "lofcz-lr", "lofcz-cnn")
"""Detectors that come first in results."""
_MAX_WHOLE_S = 600
"""Amount of audio analysed at most; shorter songs are analysed whole."""
_MAX_WINDOWS = 400
_MIN_WINDOWS = 3
_MAX_SKIPPED_S: dict[Reader, float] = {"seek": 1e6, "stream": 6e4, "frames": 6e4, "ffmpeg": 6e4}
"""Limit on audio skipped between windows, which takes time even if a reader seeks."""


class Song(NamedTuple):
    """A file to analyse, or the reason why it cannot be."""

    path: Path
    error: str | None = None


def find_songs(paths: Sequence[Path]) -> list[Song]:
    """Return the files to analyse, each once; of a folder, its audio files."""
    return list(dict.fromkeys(song for path in paths for song in _songs_at(to_path(path))))


def find_detectors() -> tuple[dict[str, Path], list[str]]:
    """Return detectors that need no download and their paths, and the problems of others."""
    listings = list_detectors()
    listings.sort(
        key=lambda each: _FIRST.index(each.asked) if each.asked in _FIRST else len(_FIRST)
    )
    found = {each.asked: each.weights for each in listings if each.weights and each.is_here}
    problems = [f"skipped {each.asked}: {each.problem}" for each in listings if each.problem]
    return found, problems


def listen(
    songs: Sequence[Song | Path],
    detectors: Sequence[AnyDetector],
    *,
    windows: Windows | None = None,
    working: Callable[[str], None] | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[SongResult]:
    """Run detectors on songs, one song at a time.

    Args:
        songs: The songs.
        detectors: The detectors.
        windows: Clips per song, see ``predict``; ``None`` analyses songs up to ten minutes whole
            and samples at most ten minutes of longer ones.
        working: Called with a progress message for each song.
        should_stop: Called before every part of a song; once true, the song is left.

    Yields:
        One result per song, in order.

    Raises:
        StoppedError: ``should_stop`` was true.
    """
    for number, song in enumerate(songs, 1):
        path, error = song if isinstance(song, Song) else Song(song)
        if error is not None:
            yield SongResult(path, error=error)
            continue
        if working:
            working(f"analysing song {number} of {len(songs)}" if len(songs) > 1 else "analysing")
        yield _analyse(path, detectors, windows, should_stop)


def _songs_at(path: Path) -> list[Song]:
    if not path.is_dir():
        return [Song(path, _name_problem(path))]
    folder = scan_audio(path)
    songs = [Song(path / name, _name_problem(path)) for name in folder.files]
    songs += [Song(path / name, "its name is not valid Unicode") for name in folder.unreadable]
    return songs or [Song(path, "the folder contains no audio files")]


def _name_problem(path: Path) -> str | None:
    try:
        os.fspath(path).encode()
    except UnicodeEncodeError:
        return "its name is not valid Unicode"
    return None


def _analyse(
    path: Path,
    detectors: Sequence[AnyDetector],
    windows: Windows | None,
    should_stop: Callable[[], bool],
) -> SongResult:
    try:
        info = probe_audio(path)
    except AudioError as error:
        return SongResult(path, error=error.reason)
    chosen: dict[Windows, list[AnyDetector]] = {}
    for detector in detectors:
        choice = windows or choose_windows(detector.card.contract, info)
        chosen.setdefault(choice, []).append(detector)
    manifest = Manifest("listen", pl.DataFrame({"filepath": [os.fspath(path)]}))
    given = []
    for choice, some in chosen.items():
        plan = plan_scoring([manifest], some, windows=choice)
        score_plan(plan, n_workers=0, should_stop=should_stop)
        if should_stop():
            raise StoppedError(f"{path}: stopped")
        given += tabulate(plan, keep_windows=True)
    by_name = {prediction.detector: prediction for prediction in given}
    cards = [detector.card for detector in detectors]
    known = sha256_of(path) if any(card.training_items for card in cards) else None
    results = tuple(_detector_result(card, by_name[card.name], info, known) for card in cards)
    return SongResult(path, info.duration_s, info.sample_rate_hz, results)


def choose_windows(contract: ClipContract, info: AudioInfo) -> Windows:
    """Return the default number of windows of a file; see ``listen``."""
    rate_hz = contract.rate_for(info.sample_rate_hz)
    clip_samples = contract.clip_samples or contract.max_samples
    if info.duration_s <= _MAX_WHOLE_S or clip_samples is None:
        return "all"
    in_time = _MAX_SKIPPED_S[info.reader] / info.duration_s
    n_windows = min(_MAX_WINDOWS, in_time, _MAX_WHOLE_S * rate_hz / clip_samples)
    return max(_MIN_WINDOWS, int(n_windows))


def _detector_result(
    card: DetectorCard, prediction: Predictions, info: AudioInfo, sha256: str | None
) -> DetectorResult:
    row = prediction.frame.row(0, named=True)
    if row["error"] is not None:
        return DetectorResult(card, error=row["error"])
    windows, silences = _windows(prediction, info.duration_s)
    if row["abstained"] is not None:
        return DetectorResult(card, silences=silences, abstained=row["abstained"])
    return DetectorResult(
        card,
        verdict=label_score(row["pred_prob"], card.threshold, one_sided=card.one_sided),
        logit=row["logit"],
        prob=row["pred_prob"],
        windows=windows,
        silences=silences,
        encoders={name: row[f"{ENCODER_PREFIX}{name}"] for name in card.encoders},
        details={name: row[name] for name in DETAIL_COLUMNS if row.get(name) is not None},
        remarks=(
            *_remarks(card, row, info, sha256),
            *(f"{note[:1].upper()}{note[1:]}." for note in prediction.notes),
        ),
    )


def _windows(
    prediction: Predictions, duration_s: float
) -> tuple[tuple[Segment, ...], tuple[Silence, ...]]:
    """Return the windows that were scored, and those on which the detector abstained."""
    scored: list[Segment] = []
    silent: list[Silence] = []
    frame = pl.DataFrame() if prediction.windows is None else prediction.windows
    for row in frame.iter_rows(named=True):
        start_s = row["start_s"]
        length_s = duration_s if row["duration_s"] is None else row["duration_s"]
        end_s = min(start_s + length_s, duration_s)
        if row["abstained"] is None:
            scored.append(Segment(start_s, end_s, row["logit"], row["pred_prob"]))
        else:
            silent.append(Silence(start_s, end_s, row["abstained"]))
    return tuple(scored), tuple(silent)


def _remarks(
    card: DetectorCard, row: dict[str, Any], info: AudioInfo, sha256: str | None
) -> Iterator[str]:
    """Yield notes on this detector and this song."""
    contract, rate_hz = card.contract, info.sample_rate_hz
    clip_s = (contract.clip_samples or 0) / contract.rate_for(rate_hz)
    if info.duration_s < 0.995 * clip_s:
        yield (
            f"The song is shorter than the detector's input of {clip_s:g} s and was padded with "
            "silence."
        )
    if row["below_band"]:
        yield (
            f"At {rate_hz} Hz the file has no content above {rate_hz / 2:g} Hz, so part of the "
            f"detector's band, up to {card.widest_band_hz[1]:g} Hz, is empty."
        )
    if contract.native_rate and rate_hz != contract.sample_rate_hz:
        why = "in the published code" if card.preprocessing == "published" else "in its training"
        yield (
            f"Audio at {rate_hz} Hz was treated as {contract.sample_rate_hz} Hz without "
            f"resampling, as {why}."
        )
    if card.trained_on is None:
        yield "Its training data is unknown and may include this song."
    if card.training_items is not None and sha256 in card.training_items.item_sha256:
        yield "This file is in its training data, so the verdict is not informative."
