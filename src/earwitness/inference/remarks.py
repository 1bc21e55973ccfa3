"""What a user should know of how files were scored, said once a run and not once a file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import polars as pl

from earwitness.core.cards import DetectorCard
from earwitness.core.predictions import Predictions

_SPECTTTRA = "sonics-"


def list_remarks(
    predictions: Sequence[Predictions],
    cards: Sequence[DetectorCard],
    *,
    as_published: bool = False,
) -> list[str]:
    """Return a line for every thing to know about the scores, with the detectors it concerns.

    Files are counted that were not resampled though their rate is another than the detector's, and
    files whose rate is too low for the band that the detector looks at. A file that several
    manifests name is counted once.

    Args:
        predictions: Whatever was scored.
        cards: The cards of the detectors that scored it.
        as_published: Say as well where the published loader gives other scores.
    """
    concerned: dict[str, list[str]] = {}
    for card in cards:
        frames = [p.frame for p in predictions if p.detector == card.name]
        texts = [*_list_texts(frames, card), *(_list_changes(frames, card) if as_published else ())]
        for text in texts:
            concerned.setdefault(text, []).append(card.name)
    return [f"{_detectors(names)}: {text}" for text, names in concerned.items()]


def _list_texts(frames: Sequence[pl.DataFrame], card: DetectorCard) -> Iterator[str]:
    rate_hz = card.contract.sample_rate_hz
    if card.contract.native_rate and (n := _count(frames, pl.col("native_rate_hz") != rate_hz)):
        published = card.preprocessing == "published"
        why = "as published (--preprocessing correct resamples)" if published else "as it was made"
        yield f"{_files(n)} not at {rate_hz} Hz, scored as if at it, {why}"
    if n := _count(frames, pl.col("below_band")):
        yield (
            f"{_files(n)} with a rate below {2 * card.band_hz[1]:g} Hz, empty in part of the band "
            "that it looks at (column below_band)"
        )


def _list_changes(frames: Sequence[pl.DataFrame], card: DetectorCard) -> Iterator[str]:
    """Say where scores differ from those that the published command gives."""
    contract = card.contract
    n = _count(frames, pl.col("native_rate_hz") != contract.sample_rate_hz)
    if n and not contract.native_rate:
        loader = (
            "the published loader does not (--preprocessing published) and gives other scores"
            if card.name.startswith(_SPECTTTRA)
            else "with another resampler the published scores differ a little"
        )
        yield f"{_files(n)} not at {contract.sample_rate_hz} Hz, resampled; {loader}"


def _count(frames: Sequence[pl.DataFrame], told: pl.Expr) -> int:
    """Return how many files are told of; rows without an answer are not."""
    return len({path for frame in frames for path in frame.filter(told)["filepath"].to_list()})


def _files(n: int) -> str:
    return "1 file" if n == 1 else f"{n} files"


def _detectors(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{len(names)} detectors (as {names[0]})"
