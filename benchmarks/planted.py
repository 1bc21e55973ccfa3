"""Tracks that come back changed in many ways: how many the audit finds: part of ``make bench``.

Conventions: eight tracks (``--planted``) in every kind of ``kinds.KINDS`` are audited against the
originals and 41 others, without ``group_id``, at the audit's own limits. A pair of different tracks
that is linked, as a copy, a part or a version, is a false match, but for the track that another was
laid into.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from rich.console import Console
from rich.table import Table

from kinds import KINDS, RATE_HZ, Samples

if TYPE_CHECKING:
    from earwitness.audit.features import FileFeatures

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
N_PLANTED, N_TRACKS, TRACK_S = 8, 49, 30.0


def excerpt(path: Path) -> Samples | None:
    """Return 30 s from the middle of a file in stereo, ``None`` where it is shorter."""
    from earwitness.audio.clips import resample
    from earwitness.audio.decode import probe_audio, read_slice

    info = probe_audio(path)
    if info.duration_s < TRACK_S:
        return None
    start = int((info.duration_s - TRACK_S) / 2 * info.sample_rate_hz)
    samples = read_slice(path, start, start + int(TRACK_S * info.sample_rate_hz))
    return resample(np.vstack([samples, samples])[:2], info.sample_rate_hz, RATE_HZ)


def sound_of(samples: Samples, name: str) -> FileFeatures:
    from earwitness.audio.clips import resample
    from earwitness.audio.decode import mix_down
    from earwitness.audit.features import FileFeatures
    from earwitness.audit.near_duplicates.fingerprints import RATE_HZ as LOW_HZ
    from earwitness.audit.near_duplicates.fingerprints import fingerprint, time_chroma

    low = resample(mix_down(np.ascontiguousarray(samples, dtype=np.float32)), RATE_HZ, LOW_HZ)[0]
    return FileFeatures(name, words=fingerprint(low), chroma=time_chroma(low))


def search(
    changed: dict[str, FileFeatures], originals: dict[str, FileFeatures]
) -> tuple[Counter[str], int]:
    """Return how planted tracks were found, and the number of false matches."""
    from earwitness.audit.checks import make_context
    from earwitness.audit.near_duplicates.check import check_near_duplicates
    from earwitness.core.manifest import Manifest

    sets = []
    for name, sounds in (("changed", changed), ("originals", originals)):
        frame = pl.DataFrame({"filepath": list(sounds), "target": [0] * len(sounds)})
        sets.append(Manifest(name, frame, (Path(f"/{name}"),)))
    context = make_context(sets[:1], sets[1:], ())
    features = [*changed.values(), *originals.values()]
    context = replace(context, features=dict(zip(context.rows["file"], features, strict=True)))
    found: dict[str, str] = {}
    false = set()
    for outcome in check_near_duplicates(context):
        for link in outcome.links:
            if link.relation == "undecided" or link.other_manifest != "originals":
                continue
            if link.filepath == link.other_filepath:
                how = "part" if link.relation == "partial" else link.tier
                found.setdefault(link.filepath, how)
            elif int(link.other_filepath) != len(originals) - 1 - int(link.filepath):
                false.add((link.filepath, link.other_filepath))
    return Counter(found.values()), len(false)


def main() -> None:
    from audit import make_music
    from earwitness.datasets.catalog import scan_audio

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--audio", type=Path, help="folder of music (default: made here)")
    parser.add_argument("--planted", type=int, default=N_PLANTED, help="tracks in every kind")
    parser.add_argument("--kinds", nargs="*", choices=KINDS, default=list(KINDS), metavar="KIND")
    options = parser.parse_args()
    given, n_planted = options.audio, options.planted
    with tempfile.TemporaryDirectory() as made:
        if given:
            paths = [given / name for name in scan_audio(given).files]
        else:
            paths = make_music(Path(made), n_tracks=N_TRACKS, length_s=TRACK_S)
        tracks = [track for path in paths if (track := excerpt(path)) is not None][:N_TRACKS]
    originals = {str(n): sound_of(track, f"original {n}") for n, track in enumerate(tracks)}
    table = Table("kind", "found", "copy", "version", "part", "false matches")
    for name in options.kinds:
        changed = {
            str(n): sound_of(KINDS[name](tracks[n], tracks[-1 - n]), f"{name} {n}")
            for n in range(n_planted)
        }
        found, n_false = search(changed, originals)
        tiers = [str(found[tier]) for tier in ("copy", "version", "part")]
        table.add_row(name, f"{found.total()} of {n_planted}", *tiers, str(n_false))
    table.title = f"{n_planted} changed tracks, each among {len(tracks)} originals"
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
