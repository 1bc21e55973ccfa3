"""Largest change of a logit by what should not matter: lossless copies, polarity and gain.

Conventions: changes are absolute, against the unchanged samples. Gains are of floats, without a
limit at full scale. A file has integers if its samples are multiples of ``2 ** -15``; otherwise
it is lossy, decoded to floats. "rounded" is such a file rounded to 16 bits first.
"""

from __future__ import annotations

import argparse
import io
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import soundfile

from doc_tables import markdown_lines
from earwitness.audio.clips import Clip, resample
from earwitness.audio.decode import mix_down, read_audio
from earwitness.detectors.base import Detector, FileDetector
from earwitness.detectors.loading import open_detector
from earwitness.perturb.base import Samples
from earwitness.perturb.coding import Lossless
from earwitness.perturb.level import Polarity

GAINS_DB = (-12, -6, -1, 1, 6, 12)
LOSSLESS = ("FLAC, 24 bits", "WAV, 24 bits", "WAV, floats")
Changes = dict[tuple[str, str], dict[str, float]]
"""Detector and source, then change → largest change of a logit."""


def changed_copies(samples: Samples, rate_hz: int) -> Iterator[tuple[str, Samples]]:
    """Yield each change by name, with the changed samples."""
    for name, container in zip(LOSSLESS, ("flac", "wav"), strict=False):
        yield name, Lossless(container).apply(samples, rate_hz)[0]
    yield LOSSLESS[2], through_float_wav(samples, rate_hz)
    yield "polarity", Polarity().apply(samples, rate_hz)[0]
    for gain_db in GAINS_DB:
        yield f"{gain_db:+d} dB", samples * np.float32(10 ** (gain_db / 20))


def through_float_wav(samples: Samples, rate_hz: int) -> Samples:
    """Return samples written to a WAV file of 32-bit floats and read again."""
    file = io.BytesIO()
    soundfile.write(file, samples.T, rate_hz, subtype="FLOAT", format="WAV")
    file.seek(0)
    return np.ascontiguousarray(soundfile.read(file, dtype="float32", always_2d=True)[0].T)


def sources(samples: Samples) -> Iterator[tuple[str, Samples]]:
    """Yield the kind of source of samples; of lossy ones also a copy rounded to 16 bits."""
    steps = np.clip(np.rint(samples * 2**15), -(2**15), 2**15 - 1)
    rounded = (steps / 2**15).astype(np.float32)
    if np.array_equal(rounded, samples):
        yield "integers", samples
    else:
        yield "lossy", samples
        yield "rounded", rounded


def logit(detector: Detector, samples: Samples, rate_hz: int) -> float:
    """Return the logit of a whole file, NaN for an abstention."""
    wanted = detector.card.contract
    mono = mix_down(samples) if wanted.mono else samples
    clip = resample(mono, rate_hz, wanted.sample_rate_hz)[:, : wanted.max_samples]
    scores = detector.score([Clip(clip, wanted.sample_rate_hz)])
    return float("nan") if scores.abstained and scores.abstained[0] else float(scores.logits[0])


def measure(path: Path, detectors: Sequence[str]) -> tuple[Changes, int]:
    """Return the changes of one file's logits, and how many decisions they turn."""
    samples, info = read_audio(path)
    rate_hz, found, n_turned = info.sample_rate_hz, Changes(), 0
    opened = [one for n in detectors if not isinstance(one := open_detector(n), FileDetector)]
    for source, original in sources(samples):
        before = [logit(one, original, rate_hz) for one in opened]
        for name, copy in changed_copies(original, rate_hz):
            for one, clean in zip(opened, before, strict=True):
                after = logit(one, copy, rate_hz)
                found.setdefault((one.card.name, source), {})[name] = abs(after - clean)
                n_turned += (after >= 0) != (clean >= 0)
    return found, n_turned


def summarize(found: Sequence[Changes]) -> Mapping[tuple[str, str], dict[str, list[float]]]:
    """Return all changes of each detector and source; abstentions are left out."""
    together: dict[tuple[str, str], dict[str, list[float]]] = defaultdict(dict)
    for changes in found:
        for key, of_file in changes.items():
            for name, value in of_file.items():
                together[key].setdefault(name, []).extend([value] * bool(np.isfinite(value)))
    return together


def largest(changes: Sequence[float]) -> str:
    return f"{max(changes):.2g}" if changes else ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("audio", type=Path, nargs="+", help="audio files, or folders of them")
    parser.add_argument("--detectors", nargs="+", default=["comb", "box"])
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    options = parser.parse_args()
    from earwitness.datasets.catalog import scan_audio

    paths = [
        path
        for given in options.audio
        for path in (
            [given / name for name in scan_audio(given).files] if given.is_dir() else [given]
        )
    ]
    with ProcessPoolExecutor(options.jobs) as pool:
        done = list(pool.map(partial(measure, detectors=options.detectors), paths))
    together = summarize([changes for changes, _ in done])
    rows = sorted(together)
    names = list(dict.fromkeys(name for row in rows for name in together[row]))
    columns = {
        "detector": [detector for detector, _ in rows],
        "source": [source for _, source in rows],
        "files": [str(len(together[row][LOSSLESS[0]])) for row in rows],
        **{
            name: [f"{max(together[row][name], default=np.nan):.2g}" for row in rows]
            for name in names
        },
    }
    print(*markdown_lines(columns), sep="\n")
    print(f"\n{sum(n for _, n in done)} decisions differ.")


if __name__ == "__main__":
    main()
