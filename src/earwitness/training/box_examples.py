"""Spectra that ``box`` is trained on and that its threshold is chosen on, made from real music.

Conventions: files are made one after another and are kept, so an interrupted run resumes. A file
name starts with the SHA-256 of its track; nothing depends on the other tracks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from earwitness.audio.decode import probe_audio
from earwitness.core.errors import AudioError, ManifestError
from earwitness.core.io import atomic_write, sha256_of
from earwitness.core.manifest import Manifest, distinct_rows
from earwitness.detectors.comb import MAX_S, comb_spectrum_db
from earwitness.training.traces import (
    Spectrum,
    draw_chain,
    draw_excerpt,
    make_pair,
    process,
    read_excerpt,
)

_PROCESSED_S = 40.0


class Track(NamedTuple):
    """A real file and its source."""

    path: Path
    source: str
    sha256: str


class Spectra(NamedTuple):
    """Spectra of one track: reals, and as many with a trace, or none.

    Attributes:
        reals: Spectra of the music alone.
        marked: Spectra with the trace of a decoder.
        processed: Whether they are processed excerpts, not the whole file.
    """

    reals: list[Spectrum]
    marked: list[Spectrum]
    processed: bool


def list_tracks(manifests: list[Manifest]) -> list[Track]:
    """Return the files of manifests by path, without files of the same content.

    Raises:
        ManifestError: An item is a fake.
    """
    tracks: dict[str, Track] = {}
    for path, row in sorted(distinct_rows(manifests).items()):
        if int(row["target"]):
            raise ManifestError(
                f"{path}: a fake, expected real music alone: box makes its own fakes"
            )
        source = str(row.get("source_dataset") or path.parent.name)
        digest = sha256_of(path)
        tracks.setdefault(digest, Track(path, source, digest))
    return list(tracks.values())


def seed_of(track: Track, seed: int, number: int) -> np.random.Generator:
    """Return the generator of one example of a track."""
    return np.random.default_rng([seed, int(track.sha256[:8], 16), number])


def make_pairs(track: Track, seed: int, number: int) -> Spectra:
    """Return pair ``number`` of a track, or for 0 the track as ``predict`` would read it."""
    if number == 0:
        return Spectra([whole(track.path)], [], processed=False)
    real, marked = make_pair(track.path, draw_excerpt(seed_of(track, seed, number)))
    return Spectra([real], [marked], processed=True)


def make_real(track: Track, seed: int, number: int) -> Spectra:
    """Return a track as ``predict`` would read it for 0, else its middle after a chain."""
    if number == 0:
        return Spectra([whole(track.path)], [], processed=False)
    rng = seed_of(track, seed, number)
    middle = read_excerpt(track.path, 0.5, _PROCESSED_S)
    chain = draw_chain(rng)
    return Spectra([process(middle, chain)], [], processed=True)


def whole(path: Path) -> Spectrum:
    """Return the spectrum of a file as the detector reads it."""
    samples = read_excerpt(path, 0, MAX_S)
    return Spectrum(comb_spectrum_db(samples[None]).astype(np.float32), probe_audio(path).codec)


def make_examples(
    tracks: Sequence[Track],
    make: Callable[[Track, int, int], Spectra],
    *,
    n_rounds: int,
    seed: int,
    folder: Path,
    advance: Callable[[bool], None] | None = None,
) -> Iterator[tuple[Track, Spectra | str]]:
    """Yield the examples of all tracks, made or read from ``folder``, or why there are none."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(n_rounds):
        for track in tracks:
            path = folder / f"{track.sha256[:16]}-{number}.npz"
            made: Spectra | str
            try:
                made = load(path) if path.is_file() else make(track, seed, number)
                if not path.is_file():
                    save(made, path)
            except AudioError as error:
                made = str(error)
            if advance:
                advance(not isinstance(made, str))
            yield track, made


def save(spectra: Spectra, path: Path) -> None:
    """Write spectra as ``.npz``, atomically."""
    every = [*spectra.reals, *spectra.marked]
    with atomic_write(path) as temporary, Path(temporary).open("wb") as file:
        np.savez(
            file,
            spectra=np.stack([each.spectrum_db for each in every]),
            codecs=np.array([each.codec or "" for each in every]),
            n_reals=len(spectra.reals),
            processed=spectra.processed,
        )


def load(path: Path) -> Spectra:
    """Read what ``save`` wrote."""
    with np.load(path) as stored:
        values: NDArray[np.float32] = stored["spectra"]
        codecs, n_reals = stored["codecs"], int(stored["n_reals"])
        processed = bool(stored["processed"])
    every = [Spectrum(v, str(c) or None) for v, c in zip(values, codecs, strict=True)]
    return Spectra(every[:n_reals], every[n_reals:], processed)
