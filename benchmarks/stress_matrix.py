"""The stress matrix of the documentation: comb, box and a fakeprint under every perturbation.

Conventions: as many fakes as reals, in turn. Excerpts are the middle 20 s of a file, cut without
decoding. The fakeprint is fitted on other tracks and Lyra's reconstructions of them.
"""

from __future__ import annotations

import argparse
import os
import subprocess
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import polars as pl

from doc_tables import markdown_lines
from earwitness.audio.decode import probe_audio
from earwitness.core.manifest import Manifest
from earwitness.core.predictions import Predictions
from earwitness.datasets.fma import read_split_file
from earwitness.detectors.loading import open_detector
from earwitness.evaluation.stress import Matrix, measure_stress
from earwitness.perturb.suites import load_suite
from earwitness.report.stress import write_stress
from earwitness.scoring.options import ScoringOptions
from earwitness.scoring.stress import score_perturbed
from earwitness.training.fakeprint import train_fakeprint

EXCERPT_S, BAND_HZ = 20.0, (1_000.0, 8_000.0)  # Lyra has no content above 8 kHz


SPLIT = "root/deepfake-detector/data/dataset_medium_split_filtered.npy"


class Audio(NamedTuple):
    """Folders of test audio, and where excerpts are written."""

    shared: Path
    clips: Path

    def tracks(self, kind: str | None, names: Sequence[str]) -> list[Path]:
        """Return games' tracks, or reconstructions of them."""
        folder = self.shared / "root/deepfake-detector"
        folder /= f"fma_rebuilt_medium/{kind}" if kind else "fma_real_medium/resampled"
        return [next(folder.rglob(str(name))) for name in names]

    def excerpts(self, folder: str, pattern: str) -> list[Path]:
        """Return the middle of files, in a folder of ``clips``."""
        found = sorted(self.shared.glob(pattern))
        return [cut(path, self.clips / folder / path.parent.name / path.name) for path in found]


def list_items(audio: Audio) -> Manifest:
    """Return the items of the matrix."""
    splits = read_split_file(audio.shared / SPLIT)
    held = [*splits["validation"], *splits["test"]]
    rebuilt = audio.excerpts("fma", "fma_examples/encodec6/*.mp3")[::2]
    rebuilt += audio.excerpts("fma", "fma_examples/lac7/*.mp3")[1::2]
    fakes = [
        *audio.excerpts("songs", "songs/*/*.mp3"),
        *rebuilt,
        *audio.tracks("lyra9", held[:13:12]),
    ]
    reals = [*audio.excerpts("fma", "fma_examples/real/*.mp3"), *audio.tracks(None, held[:18:2])]
    reals += sorted(audio.shared.glob("root/SONICS/real_songs/*"))[::8]
    return manifest_of(
        list(chain.from_iterable(zip(fakes, reals, strict=True))), [1, 0] * len(fakes)
    )


def list_training(audio: Audio) -> Manifest:
    """Return training tracks and two of Lyra's reconstructions of each."""
    names = read_split_file(audio.shared / SPLIT)["train"]
    paths = [path for kind in (None, "lyra3", "lyra9") for path in audio.tracks(kind, names)]
    return manifest_of(paths, [0] * len(names) + [1] * 2 * len(names))


def manifest_of(paths: Sequence[Path], targets: Sequence[int]) -> Manifest:
    """Return a manifest; a track and its reconstructions, which share a name, are a group."""
    groups = [path.stem for path in paths]
    columns = {"filepath": list(map(str, paths)), "target": targets, "group_id": groups}
    return Manifest("matrix", pl.DataFrame(columns))


def cut(source: Path, target: Path) -> Path:
    """Write the middle of a file by copying its packets; an existing copy is kept."""
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        start_s = max(0.0, (probe_audio(source).duration_s - EXCERPT_S) / 2)
        place = ("-ss", f"{start_s:.3f}", "-t", f"{EXCERPT_S:g}", "-i", str(source))
        command = ["ffmpeg", "-v", "error", *place, "-map", "0:a", "-c", "copy", str(target)]
        subprocess.run(command, check=True)
    return target


def matrix_lines(written: Sequence[Predictions]) -> Iterator[str]:
    """Yield the table: fakes and reals called fake by each detector, and abstentions."""
    cells: dict[str, dict[str, str]] = {}
    for found in written:
        cells.setdefault(found.detector, {})[found.dataset] = count_flags(found.frame)
    first = next(iter(cells.values()))
    columns = {"perturbation": [f"`{name}`" for name in first]}
    yield from markdown_lines(columns | {name: list(of.values()) for name, of in cells.items()})


def count_flags(rows: pl.DataFrame) -> str:
    flags = [int(rows.filter(target=target)["pred_label"].sum()) for target in (1, 0)]
    n_abstained = rows["abstained"].is_not_null().sum()
    return f"{flags[0]}, {flags[1]}" + f" ({n_abstained} abstained)" * bool(n_abstained)


def sensitivity_lines(matrix: Matrix) -> Iterator[str]:
    """Yield the table of what an implementation detail changes."""
    rows = matrix.sensitivity
    yield from markdown_lines(
        {
            "detector": [row.detector for row in rows],
            "what": [row.aspect for row in rows],
            "perturbation": [f"`{row.perturbation}`" for row in rows],
            "changed decisions": [f"{row.n_changed} of {row.n_paired}" for row in rows],
            "largest logit change": [f"{row.largest_shift or 0:.2g}" for row in rows],
        }
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--audio", type=Path, required=True, help="folder of root, songs, …")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--suite", default="full")
    parser.add_argument("--num-workers", type=int, default=os.cpu_count())
    options = parser.parse_args()
    audio = Audio(options.audio, options.out / "clips")
    weights = options.out / "models/fakeprint_lyra"
    if not weights.exists():
        train_fakeprint([list_training(audio)], weights, band_hz=BAND_HZ)
    written = score_perturbed(
        list_items(audio),
        [open_detector(name) for name in ("comb", "box", str(weights))],
        load_suite(options.suite),
        options.out / "run",
        options=ScoringOptions(num_workers=options.num_workers),
    )
    matrix = measure_stress(list(written.values()), one_sided=["comb", "box"])
    write_stress(matrix, options.out)
    print(*matrix_lines(list(written.values())), "", *sensitivity_lines(matrix), sep="\n")


if __name__ == "__main__":
    main()
