"""Perturbed copies of a manifest's files.

Convention: the name of a copy contains a hash of its item, source and perturbation, so that an
existing copy is complete and current.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any, Literal

import numpy as np

from earwitness.audio.decode import read_audio
from earwitness.core.errors import AudioError, PerturbationError
from earwitness.core.io import atomic_write, distinct_stems, file_stem
from earwitness.core.manifest import Manifest
from earwitness.core.remote import shown_name
from earwitness.perturb.base import DecodePerturbation, Samples, WindowPerturbation, apply_to
from earwitness.perturb.coding import round_to_24_bits
from earwitness.perturb.suites import Entry, Suite

Format = Literal["flac", "wav"]

_SUBTYPES = {".flac": "PCM_24", ".wav": "FLOAT"}


def write_copies(
    manifest: Manifest,
    suite: Suite,
    folder: Path,
    *,
    tracks: Sequence[str | None] = (),
    kind: Format = "flac",
) -> Iterator[dict[str, Any]]:
    """Write each item under each perturbation, and yield a row of each copy.

    A row has the item's columns with the path of the copy, ``group_id``, ``source_filepath``,
    ``perturbation``, ``copy_format``, ``perturbation_*`` and ``error``; hash and duration, which
    are those of the source, are null. Existing copies are kept. The group of an item without one
    is its track, from ``tracks`` by row, else its path: names of copies do not contain the track.
    """
    items = zip_longest(manifest.frame.iter_rows(named=True), manifest.locate_all(), tracks)
    for item, path, track in items:
        source: tuple[Samples, int] | None = None
        for entry in suite.perturbations:
            name = shown_name(item["filepath"])
            drawn = entry.draw(seed=suite.seed, item=name)
            stem = _stem(name, path, entry, suite)
            copy = _existing(folder / entry.name, stem, kind)
            error = None
            try:
                if isinstance(drawn, WindowPerturbation):
                    raise PerturbationError(f"{entry.name}: moves windows, and changes no file")
                if copy is None:
                    if isinstance(drawn, DecodePerturbation):
                        changed = drawn.read(path)
                    else:
                        source = source or _read(path)
                        changed = apply_to(drawn, *source)
                    copy = write_samples(folder / entry.name / stem, *changed, kind=kind)
            except (AudioError, PerturbationError) as reason:
                error = str(reason)
            more = {f"perturbation_{name}": str(v) for name, v in drawn.parameters.items()}
            yield {
                **item,
                **{name: None for name in ("sha256", "duration_s") if name in item},
                "filepath": (copy or folder / entry.name / f"{stem}.{kind}").absolute().as_posix(),
                "group_id": item.get("group_id") or track or name,
                "source_filepath": name,
                "perturbation": entry.name,
                "copy_format": _SUBTYPES[copy.suffix] if copy else None,
                **more,
                "error": error,
            }


def _read(path: Path) -> tuple[Samples, int]:
    samples, info = read_audio(path)
    return samples, info.sample_rate_hz


def _stem(filepath: str, path: Path, entry: Entry, suite: Suite) -> str:
    key = repr((filepath, _version(path), entry.model_dump_json(), suite.seed))
    digest = hashlib.sha256(key.encode()).hexdigest()[:16]
    (stem,) = distinct_stems([file_stem(path.stem)])
    return f"{stem}--{digest}"


def _version(path: Path) -> tuple[int, ...]:
    try:
        status = path.stat()
    except OSError:
        return ()
    return (status.st_size, status.st_mtime_ns)


def _existing(folder: Path, stem: str, kind: Format) -> Path | None:
    """Return the copy if it was written: a copy over full scale is WAV in either format."""
    suffixes = dict.fromkeys((f".{kind}", ".wav"))
    paths = (folder / f"{stem}{suffix}" for suffix in suffixes)
    return next((path for path in paths if path.is_file()), None)


def write_samples(
    stem: Path, samples: Samples, sample_rate_hz: int, *, kind: Format = "flac"
) -> Path:
    """Write 24-bit FLAC, or WAV of floats if asked for or where samples exceed full scale.

    Args:
        stem: Path without the suffix.
        samples: ``(n_channels, n_samples)``.
        sample_rate_hz: Their rate.
        kind: The format.

    Returns:
        The path, which appears once the file is complete.

    Raises:
        PerturbationError: FLAC cannot have this rate or number of channels.
    """
    import soundfile

    suffix = ".wav" if kind == "wav" or np.abs(samples).max() > 1 else ".flac"
    path = stem.with_name(stem.name + suffix)
    values = round_to_24_bits(samples) if suffix == ".flac" else samples
    with atomic_write(path) as temporary:
        try:
            soundfile.write(
                *(temporary, values.T, sample_rate_hz),
                subtype=_SUBTYPES[suffix],
                format=suffix[1:],
            )
        except soundfile.LibsndfileError as error:
            found = f"{len(samples)} channels at {sample_rate_hz} Hz"
            raise PerturbationError(
                f"{kind}: {found} ({error.error_string}), expected --format wav"
            ) from error
        if suffix == ".wav":
            _clear_time(temporary)
    return path


def _clear_time(path: Path) -> None:
    """Clear the time of writing, which libsndfile puts into the PEAK chunk of WAV of floats."""
    with path.open("r+b") as file:
        at = file.read(128).find(b"PEAK")
        if at >= 0:
            file.seek(at + 12)  # after the chunk's name, its size and its version
            file.write(bytes(4))
