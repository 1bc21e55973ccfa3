"""A small benchmark that tests run: real files, two detectors, one bench.yaml."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from builders import write_tone
from earwitness.detectors.fakeprint import fakeprint_card, save_fakeprint

CONFIG = """\
out: run
data:
  manifests: {files: [set.csv], root: sound}
detectors: [weights/one, weights/two]
scoring: {num_workers: 0}
audit: {enabled: false}
evaluate: {resamples: 100}
outputs: {confusion: false, report: false}
"""


def write_weights(folder: Path, seed: int) -> Path:
    """Write a fakeprint detector with weights of this seed."""
    card = fakeprint_card(name=folder.name, trained_on=None, training_items=None)
    draw = np.random.default_rng(seed).standard_normal(4_087)
    save_fakeprint(card, draw, 0.5, folder)
    return folder


def write_bench(folder: Path, *, n_files: int = 8, broken: bool = True) -> Path:
    """Write sound, a manifest, two detectors and ``bench.yaml``; returns the last."""
    for n in range(n_files):
        write_tone(folder / "sound" / f"{n}.wav", hz=200 + 37 * n, seconds=0.6)
    names = [f"{n}.wav" for n in range(n_files)]
    if broken:
        (folder / "sound" / "broken.wav").write_text("no sound")
        names.append("broken.wav")
    rows = [f"{name},{n % 2},{'mill' if n % 2 else ''},g{n}\n" for n, name in enumerate(names)]
    (folder / "set.csv").write_text("filepath,target,generator,group_id\n" + "".join(rows))
    for seed, name in enumerate(("one", "two")):
        write_weights(folder / "weights" / name, seed)
    path = folder / "bench.yaml"
    path.write_text(CONFIG)
    return path


def stored_rows(out: Path, detector: str) -> list[str]:
    """Return the finished rows of a detector as they stand in the store."""
    return (out / "store" / f"{detector}.jsonl").read_text().splitlines()[1:]


def stages_of(out: Path) -> dict[str, dict[str, dict[str, dict[str, str]]]]:
    """Return what ``stages.json`` says."""
    stages: dict[str, dict[str, dict[str, dict[str, str]]]] = json.loads(
        (out / "stages.json").read_text()
    )["stages"]
    return stages
