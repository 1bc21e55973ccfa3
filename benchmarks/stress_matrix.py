"""The stress matrix of the documentation: every item of a folder of test audio.

Conventions: ``items`` writes the manifest, and a fakeprint fitted on the folder's training tracks
and Lyra's reconstructions of them; ``tables`` prints what ``earwitness stress`` found. Tracks that
the fakeprint was fitted on do not count for it.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import polars as pl

from doc_tables import markdown_lines
from earwitness.core.manifest import Manifest
from earwitness.core.predictions import Predictions
from earwitness.datasets.fma import read_split_file
from earwitness.evaluation.stress import Matrix, measure_stress
from earwitness.scoring.prediction_files import read_predictions
from earwitness.training.fakeprint import train_fakeprint

BAND_HZ = (1_000.0, 8_000.0)  # Lyra has no content above 8 kHz
FAKEPRINT = "fakeprint_lyra"
FMA = "root/deepfake-detector"
REALS = (f"{FMA}/fma_real_medium/*/*/*", "root/SONICS/real_songs/*", "fma_examples/real/*")
FAKES = {
    f"{FMA}/fma_rebuilt_medium/*/*/*": -3,
    "root/FakeMusicCaps/*/*": -2,
    "root/SONICS/fake_songs/*": -2,
    "fma_examples/[!r]*/*": -2,
    "songs/*/*.mp3": -2,
}
"""Files of fakes, and the part of their paths that names the generator."""


def list_items(audio: Path) -> pl.DataFrame:
    """Return all files; the kinds follow each other, so that any beginning has all of them.

    A track and its reconstructions, which share a name, are a group.
    """
    kinds: dict[str, list[Path]] = defaultdict(list)
    for pattern in REALS:
        kinds[""] += audio.glob(pattern)
    for pattern, at in FAKES.items():
        for path in audio.glob(pattern):
            kinds[path.parts[at].replace("fake_songs", "ace_step")].append(path)
    placed = []
    for kind, paths in kinds.items():
        names = sorted((path.relative_to(audio).as_posix() for path in paths), key=_hash)
        placed += [((n + 0.5) / len(names), kind, name) for n, name in enumerate(names)]
    rows = [(name, int(kind != ""), kind, Path(name).stem) for _, kind, name in sorted(placed)]
    return pl.DataFrame(rows, ["filepath", "target", "generator", "group_id"], orient="row")


def _hash(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def training_tracks(audio: Path) -> list[str]:
    """Return names of the training tracks."""
    names = read_split_file(audio / FMA / "data/dataset_medium_split_filtered.npy")["train"]
    return [str(name) for name in names]


def list_training(audio: Path) -> Manifest:
    """Return training tracks and two of Lyra's reconstructions of each."""
    names = training_tracks(audio)
    folders = ("fma_real_medium/resampled", "fma_rebuilt_medium/lyra3", "fma_rebuilt_medium/lyra9")
    paths = [next((audio / FMA / kind).rglob(name)) for kind in folders for name in names]
    columns = {
        "filepath": list(map(str, paths)),
        "target": [0] * len(names) + [1] * 2 * len(names),
        "group_id": [path.stem for path in paths],
    }
    return Manifest("training", pl.DataFrame(columns))


def matrix_lines(written: Sequence[Predictions], matrix: Matrix) -> Iterator[str]:
    """Yield the table: fakes and reals called fake by each detector, and abstentions.

    † marks a change of the accuracy that Holm's correction leaves.
    """
    significant = {
        (row.detector, row.perturbation)
        for row in matrix.rows
        if (row.accuracy_change.p_holm or 1) < 0.05
    }
    cells: dict[str, dict[str, str]] = {}
    for found in written:
        mark = " †" * ((found.detector, found.dataset) in significant)
        cells.setdefault(found.detector, {})[found.dataset] = count_flags(found.frame) + mark
    first = next(iter(cells.values()))
    columns = {"perturbation": [f"`{name}`" for name in first]}
    yield from markdown_lines(columns | {name: list(of.values()) for name, of in cells.items()})


def count_flags(rows: pl.DataFrame) -> str:
    """Return the numbers of fakes and reals called fake, of abstentions and of errors."""
    flags = [int(rows.filter(target=target)["pred_label"].sum()) for target in (1, 0)]
    n_failed, n_abstained = (rows[name].is_not_null().sum() for name in ("error", "abstained"))
    if n_failed == rows.height:
        return "–"
    counts = {"abstained": n_abstained, "failed": n_failed}
    remarks = ", ".join(f"{n} {name}" for name, n in counts.items() if n)
    return f"{flags[0]}, {flags[1]}" + f" ({remarks})" * bool(remarks)


def sensitivity_lines(matrix: Matrix) -> Iterator[str]:
    """Yield the table of what an implementation detail changes."""
    rows = [row for row in matrix.sensitivity if row.n_paired]
    yield from markdown_lines(
        {
            "detector": [row.detector for row in rows],
            "what": [row.aspect for row in rows],
            "perturbation": [f"`{row.perturbation}`" for row in rows],
            "changed decisions": [f"{row.n_changed} of {row.n_paired}" for row in rows],
            "largest logit change": [f"{row.largest_shift or 0:.2g}" for row in rows],
        }
    )


def read_run(run: Path, seen: Collection[str]) -> list[Predictions]:
    """Return the predictions of a stress test in order of detectors; ``seen`` are of training."""
    found = []
    for name in json.loads((run / "run.json").read_text())["manifests"]:
        for path in sorted((run / "preds" / name).glob("*.csv")):
            (one,) = read_predictions(path)
            if one.detector == FAKEPRINT:
                one = replace(one, frame=one.frame.filter(~one.frame["group_id"].is_in(seen)))
            found.append(one)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("step", choices=("items", "tables"))
    parser.add_argument("--audio", type=Path, required=True, help="folder of root, songs, …")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--detectors", nargs="+", help="those of the tables, all by default")
    options = parser.parse_args()
    if options.step == "items":
        options.out.mkdir(parents=True, exist_ok=True)
        list_items(options.audio).write_csv(options.out / "items.csv")
        weights = options.out / FAKEPRINT
        train_fakeprint([list_training(options.audio)], weights, band_hz=BAND_HZ)
        return
    seen = [Path(name).stem for name in training_tracks(options.audio)]
    written = read_run(options.out / "run", seen)
    if options.detectors:
        written = [one for one in written if one.detector in options.detectors]
        written.sort(key=lambda one: options.detectors.index(one.detector))
    matrix = measure_stress(written, one_sided=["comb", "box"])
    print(*matrix_lines(written, matrix), "", *sensitivity_lines(matrix), sep="\n")


if __name__ == "__main__":
    main()
