"""Speed and memory against a plain baseline in the same run: ``make bench``.

Conventions: every case does one job twice, as people write it plainly and through earwitness,
on the same files; the table shows both and their ratio. Each case runs in a process of its own,
so that peak memory is the case's. Machines differ, ratios much less.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile

N_TRACKS = 25_000
N_FILES = 60
CLIP = 34_398
CLIP_RATE = 44_100


def timed(job: Callable[[], object]) -> float:
    start = time.perf_counter()
    job()
    return time.perf_counter() - start


def make_tree(root: Path) -> int:
    """An FMA tree of empty files: real and nine encoders, 250 000 files."""
    tracks = [f"{n:06d}" for n in range(N_TRACKS)]
    from earwitness.datasets import fma

    folders = [root / fma.REAL_ROOT, *(root / fma.FAKE_ROOT / e for e in fma.ENCODERS)]
    for folder in folders:
        for prefix in {track[:3] for track in tracks}:
            (folder / prefix).mkdir(parents=True, exist_ok=True)
        for track in tracks:
            (folder / track[:3] / f"{track}.mp3").touch()
    split = root / fma.SPLIT_NPY
    split.parent.mkdir(parents=True)
    names = np.array([f"{track}.mp3" for track in tracks])
    parts = {"train": names[:1], "validation": names[1:], "test": names[:1]}
    np.save(split, parts, allow_pickle=True)  # type: ignore[arg-type]
    return len(folders) * len(tracks)


def case_index(audio: list[Path]) -> dict[str, float]:
    """Index a big tree and draw from it; the baseline only finds the files with pathlib."""
    del audio
    from earwitness.manifests.splits import SplitOptions, build_splits

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        n_files = make_tree(root)
        nothing = {"n_sonics_real": 0, "n_sonics_fake": 0, "n_fakemusiccaps_fake": 0}
        plain = timed(lambda: [p for p in root.rglob("*") if p.is_file() and p.suffix == ".mp3"])
        ours = timed(lambda: build_splits(SplitOptions(root=root, **nothing)))  # type: ignore[arg-type]
    return {"n": n_files, "plain_s": plain, "ours_s": ours}


def read_whole(path: Path) -> np.ndarray:
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    if rate != CLIP_RATE:
        import soxr

        samples = soxr.resample(samples, rate, CLIP_RATE, quality="HQ")
    return np.ascontiguousarray(samples.T)


def case_slice(audio: list[Path]) -> dict[str, float]:
    """Read the 0.78 s in the middle; the baseline decodes the whole file and crops."""
    from earwitness.audio.decode import probe_audio, read_slice
    from earwitness.audio.resample import resampled_length

    def plain() -> None:
        for path in audio:
            samples = read_whole(path)
            start = max(samples.shape[1] - CLIP, 0) // 2
            samples[:, start : start + CLIP]

    def ours() -> None:
        for path in audio:
            info = probe_audio(path)
            length = resampled_length(info.n_samples, info.sample_rate_hz, CLIP_RATE)
            read_slice(path, max(length - CLIP, 0) // 2, CLIP, sample_rate_hz=CLIP_RATE)

    return {"n": len(audio), "plain_s": timed(plain), "ours_s": timed(ours)}


def case_specnn(audio: list[Path]) -> dict[str, float]:
    """Score with the SpecCNN (random weights); the baseline takes one whole file at a time."""
    import torch

    from earwitness.audio.clips import pad_clip
    from earwitness.audio.spectrogram import mix_first_two
    from earwitness.core.cards import ClipContract, DetectorCard
    from earwitness.detectors.speccnn import SpecCNN, SpecnnAmplitude, amplitude_features
    from earwitness.detectors.speccnn_card import ENCODERS

    torch.manual_seed(0)
    card = DetectorCard(
        name="specnn",
        kind="specnn_amplitude",
        contract=ClipContract(sample_rate_hz=CLIP_RATE, clip_samples=CLIP),
        band_hz=(0, 16_000),
        encoders=ENCODERS,
        licence="none",
        source="random weights",
        limits="Says nothing.",
    )
    network = SpecCNN().eval()
    detector = SpecnnAmplitude(network, card, device="cpu")

    def plain() -> None:
        for path in audio:
            samples = read_whole(path)
            start = max(samples.shape[1] - CLIP, 0) // 2
            mono = mix_first_two(pad_clip(samples[:, start : start + CLIP], CLIP))
            with torch.inference_mode():
                network(amplitude_features(torch.from_numpy(mono)[None]).unsqueeze(1))

    return scored(audio, detector, plain)


def case_fakeprint(audio: list[Path]) -> dict[str, float]:
    """Score with fakeprint, which listens to whole files; the baseline takes one at a time."""
    from earwitness.audio.clips import Clip
    from earwitness.detectors.fakeprint import FakeprintDetector, fakeprint_card

    card = fakeprint_card(name="fakeprint", trained_on=None, training_items=None)
    detector = FakeprintDetector(card, np.zeros(4_087), 0.0)

    def plain() -> None:
        for path in audio:
            detector.score([Clip(read_whole(path), CLIP_RATE)])

    return scored(audio, detector, plain)


def scored(audio: list[Path], detector: object, plain: Callable[[], None]) -> dict[str, float]:
    """Time a plain loop and ``predict`` on the same files."""
    import polars as pl

    from earwitness.core.manifest import Manifest
    from earwitness.inference.predict import predict

    frame = pl.DataFrame({"filepath": [str(p) for p in audio], "target": [0] * len(audio)})
    manifest = Manifest("bench", frame)
    predict([manifest.where(pl.col("filepath") == str(audio[0]))], [detector])  # type: ignore[list-item]
    plain_s = timed(plain)
    ours_s = timed(lambda: predict([manifest], [detector]))  # type: ignore[list-item]
    return {"n": len(audio), "plain_s": plain_s, "ours_s": ours_s}


CASES = {
    "index a tree, draw 4 000": case_index,
    "0.78 s out of each file": case_slice,
    "specnn_amplitude": case_specnn,
    "fakeprint": case_fakeprint,
}


def make_audio(folder: Path) -> list[Path]:
    """Sixty 30 s stereo MP3 files at 44.1 kHz."""
    rng = np.random.default_rng(0)
    times = np.arange(30 * CLIP_RATE) / CLIP_RATE
    paths = []
    for n in range(N_FILES):
        tones = sum(np.sin(2 * np.pi * hz * times) for hz in rng.uniform(80, 8_000, 6))
        stereo = 0.1 * tones[:, None] + 0.02 * rng.standard_normal((len(times), 2))
        paths.append(folder / f"{n:03d}.mp3")
        soundfile.write(paths[-1], stereo.clip(-1, 1), CLIP_RATE)
    return paths


def run_case(name: str, folder: Path) -> dict[str, float]:
    """Run one case in a process of its own."""
    command = [sys.executable, __file__, "--case", name, "--audio", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{name}: {done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--audio", type=Path, help="folder of audio files (default: made here)")
    parser.add_argument("--case", choices=CASES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.case:
        from earwitness.datasets.scan import scan_audio

        paths = [options.audio / name for name in scan_audio(options.audio).files]
        figures = CASES[options.case](paths)
        peaks = [resource.getrusage(who).ru_maxrss for who in (0, -1)]
        print(json.dumps(figures | {"peak_mb": peaks[0] / 1024, "worker_mb": peaks[1] / 1024}))
        return
    print_table(options.audio)


def print_table(given: Path | None) -> None:
    from rich.console import Console
    from rich.table import Table

    heads = ("case", "files", "plain files/s", "ours files/s", "ratio", "peak MB", "a worker's MB")
    table = Table(*heads, title="earwitness against a plain loop, same files, same machine")
    with tempfile.TemporaryDirectory() as made:
        folder = given or Path(made)
        if given is None:
            make_audio(folder)
        for name in CASES:
            got = run_case(name, folder)
            speeds = [got["n"] / got[key] for key in ("plain_s", "ours_s")]
            ratio = got["plain_s"] / got["ours_s"]
            table.add_row(
                name,
                f"{got['n']:.0f}",
                *(f"{speed:,.1f}".replace(",", " ") for speed in speeds),
                f"{ratio:.2f} ×",
                f"{got['peak_mb']:.0f}",
                f"{got['worker_mb']:.0f}",
            )
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
