"""Cost of ``stress`` in time and memory, for the cases of ``benchmarks/run.py``.

Conventions: the detector is comb. Memory is compared between runs of few and of many perturbations
of the same two kinds, so that only their number differs.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import soundfile

from earwitness.core.manifest import Manifest
from earwitness.detectors.loading import open_detector
from earwitness.perturb.suites import Entry, Suite, load_suite
from earwitness.scoring.options import ScoringOptions
from earwitness.scoring.predict import predict
from earwitness.scoring.stress import score_perturbed

RATE_HZ = 44_100


def case_cost(audio: Sequence[Path]) -> dict[str, float]:
    """Perturb by the quick suite and score; the baseline scores the files as often."""
    suite = load_suite("quick")
    manifest = list_items(audio)
    n_rows = len(audio) * (1 + len(suite.perturbations))
    predict([list_items(audio[:2])], [open_detector("comb")])  # both sides begin warm
    start = time.perf_counter()
    predict([manifest], [open_detector("comb")])
    plain_s = (time.perf_counter() - start) * n_rows / len(audio)
    return {"n": n_rows, "plain_s": plain_s, "ours_s": stress(manifest, suite)}


def case_memory(
    audio: Sequence[Path], *, n_perturbations: int, n_files: int = 100
) -> dict[str, float]:
    """Score many perturbations of short files; what counts is the peak of memory."""
    del audio
    with tempfile.TemporaryDirectory() as folder:
        manifest = list_items(write_noise(Path(folder), n_files))
        ours_s = stress(manifest, Suite(perturbations=make_entries(n_perturbations)))
    return {"n": n_files * (1 + n_perturbations), "ours_s": ours_s}


def stress(manifest: Manifest, suite: Suite) -> float:
    """Return the seconds that a stress test takes; rows without a score are errors."""
    with tempfile.TemporaryDirectory() as folder:
        start, detectors = time.perf_counter(), [open_detector("comb")]
        written = score_perturbed(
            *(manifest, detectors, suite, Path(folder) / "run"), options=ScoringOptions()
        )
        spent_s = time.perf_counter() - start
    assert not sum(found.n_failed for found in written.values())
    return spent_s


def make_entries(n: int) -> tuple[Entry, ...]:
    """Return perturbations that are MP3 and noise in turn."""
    kinds = (
        ("coding", {"codec": "mp3", "bit_rate_kbps": 64}),
        ("noise", {"color": "white", "snr_db": 20.0}),
    )
    return tuple(
        Entry(name=f"{kinds[at % 2][0]}_{at}", kind=kinds[at % 2][0], options=kinds[at % 2][1])
        for at in range(n)
    )


def list_items(audio: Sequence[Path]) -> Manifest:
    frame = pl.DataFrame({"filepath": [str(p) for p in audio], "target": [0] * len(audio)})
    return Manifest("bench", frame)


def write_noise(folder: Path, n: int, seconds: float = 5.0) -> list[Path]:
    rng, paths = np.random.default_rng(0), [folder / f"{at}.wav" for at in range(n)]
    for path in paths:
        soundfile.write(path, 0.1 * rng.standard_normal(round(seconds * RATE_HZ)), RATE_HZ)
    return paths
