"""Manifests of human-made music in Debian packages: the corpora of docs/box.md.

Conventions: ``FOLDER/PACKAGE/**`` holds what ``dpkg -x`` extracted, archives of games unpacked.
Tracks last 20 s or more; of files with one content the first counts; links are not followed.
"""

from __future__ import annotations

import argparse
import csv
from collections import Counter
from pathlib import Path

import soundfile

from earwitness.core.io import sha256_of

CORPORA = {
    "train": (
        *("asc-music", "blobwars-data", "btanks-data", "fretsonfire-songs-sectoid"),
        *("hedgewars-data", "lincity-ng-data", "marsshooter-data", "megaglest-data"),
        *("noiz2sa-data", "pushover-data", "ufoai-music", "xmoto-data"),
    ),
    "threshold": (
        *("drascula-music", "freedroidrpg-data", "fretsonfire-songs-muldjord"),
        *("frozen-bubble-data", "hyperrogue-music", "naev-data", "starfighter-data"),
        "widelands-data",
    ),
    "reported": (
        *("extremetuxracer-data", "nexuiz-music", "singularity-music", "supertux-data"),
        *("warzone2100-music", "wesnoth-1.16-music"),
    ),
}
MIN_S, MIN_RATE_HZ, MIN_BYTES = 20, 22_050, 20_000


def find_tracks(package: Path, left_out: set[tuple[str, str]]) -> list[Path]:
    """Return the tracks of a package that are not left out."""
    found: dict[str, Path] = {}
    for path in sorted(package.rglob("*")):
        if path.is_symlink() or not path.is_file() or path.stat().st_size < MIN_BYTES:
            continue
        try:
            info = soundfile.info(path)
        except (soundfile.LibsndfileError, TypeError):  # also ".raw", without a header
            continue
        if info.duration < MIN_S or info.samplerate < MIN_RATE_HZ:
            continue
        if not any(package.name == name and file in str(path) for name, file in left_out):
            found.setdefault(sha256_of(path), path)
    return sorted(found.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--leave-out", type=Path, help="CSV with the columns package and file")
    parser.add_argument("--out", type=Path, default=Path())
    options = parser.parse_args()
    left_out: set[tuple[str, str]] = set()
    if options.leave_out:
        with options.leave_out.open(encoding="utf-8", newline="") as file:
            left_out = {(row["package"], row["file"]) for row in csv.DictReader(file)}
    for corpus, packages in CORPORA.items():
        paths = [folder / name for name in packages for folder in options.folders]
        tracks = [
            (path, 0, package.name)
            for package in paths
            for path in find_tracks(package, set() if corpus == "reported" else left_out)
        ]
        with (options.out / f"{corpus}.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([("filepath", "target", "source_dataset"), *tracks])
        print(corpus, len(tracks), dict(Counter(name for _, _, name in tracks)))


if __name__ == "__main__":
    main()
