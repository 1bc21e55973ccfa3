"""Speed and memory against a plain baseline in the same run: ``make bench``.

Conventions: every case does one job twice, as people write it plainly and through earwitness,
on the same files; the table shows both and their ratio. Each case runs in a process of its own,
so that peak memory is the case's. Networks are the published ones in full size with random
weights. Machines differ, ratios much less.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
import soundfile

from earwitness.audio.clips import Clip, pad_clip
from earwitness.core.cards import Backend
from earwitness.core.manifest import Manifest
from earwitness.scoring.clips import ClipRequest, DecodedFile, Job, cut_file
from networks import LONG, SHORT, Case, make_case, read_whole

N_TRACKS = 25_000
N_FILES = 60
N_MANY = 10_000
CLIP = 34_398
CLIP_RATE = 44_100
Figures = dict[str, float]


class PeakMemory:
    """The most that this process and its children hold at once, looked at every 20 ms (Linux)."""

    def __enter__(self) -> PeakMemory:
        self.mb = 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(0.02):
            self.mb = max(self.mb, sum(map(resident_mb, family())))


def family() -> list[int]:
    """This process and its children."""
    tasks = Path("/proc/self/task").iterdir()
    return [os.getpid(), *(child for task in tasks for child in children_of(task))]


def children_of(task: Path) -> list[int]:
    """Processes that a thread started; none once the thread has ended."""
    try:
        return [int(child) for child in (task / "children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def resident_mb(process: int) -> float:
    try:
        pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0.0
    return pages * resource.getpagesize() / 2**20


def timed(job: Callable[[], object]) -> float:
    start = time.perf_counter()
    job()
    return time.perf_counter() - start


def make_tree(root: Path) -> int:
    """An FMA tree of empty files: real and nine encoders, 250 000 files."""
    tracks = [f"{n:06d}" for n in range(N_TRACKS)]
    from earwitness.datasets import fma

    detector = root / "deepfake-detector"
    fakes = detector / "fma_rebuilt_medium"
    folders = [detector / "fma_real_medium/resampled", *(fakes / e for e in fma.ENCODERS)]
    for folder in folders:
        for prefix in {track[:3] for track in tracks}:
            (folder / prefix).mkdir(parents=True, exist_ok=True)
        for track in tracks:
            (folder / track[:3] / f"{track}.mp3").touch()
    split = detector / "data/dataset_medium_split_filtered.npy"
    split.parent.mkdir(parents=True)
    names = np.array([f"{track}.mp3" for track in tracks])
    parts = {"train": names[:1], "validation": names[1:], "test": names[:1]}
    np.save(split, parts, allow_pickle=True)  # type: ignore[arg-type]
    return len(folders) * len(tracks)


def case_index(audio: list[Path]) -> Figures:
    """Index a big tree and draw from it; the baseline only finds the files with pathlib."""
    del audio
    from earwitness.splits.build import SplitOptions, build_splits

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        n_files = make_tree(root)
        nothing = {"n_sonics_real": 0, "n_sonics_fake": 0, "n_fakemusiccaps_fake": 0}
        plain = timed(lambda: [p for p in root.rglob("*") if p.is_file() and p.suffix == ".mp3"])
        ours = timed(lambda: build_splits(SplitOptions(root=root, **nothing)))  # type: ignore[arg-type]
    return {"n": n_files, "plain_s": plain, "ours_s": ours}


def case_slice(audio: list[Path]) -> Figures:
    """Read the 0.78 s in the middle; the baseline decodes the whole file and crops."""
    from earwitness.audio.clips import resampled_length
    from earwitness.audio.decode import probe_audio, read_slice

    def plain() -> None:
        for path in audio:
            samples = read_whole(path, CLIP_RATE)
            start = max(samples.shape[1] - CLIP, 0) // 2
            samples[:, start : start + CLIP]

    def ours() -> None:
        for path in audio:
            info = probe_audio(path)
            length = resampled_length(info.n_samples, info.sample_rate_hz, CLIP_RATE)
            read_slice(path, max(length - CLIP, 0) // 2, CLIP, sample_rate_hz=CLIP_RATE)

    return {"n": len(audio), "plain_s": timed(plain), "ours_s": timed(ours)}


def case_fakeprint(audio: list[Path]) -> Figures:
    """Score with fakeprint, which listens to whole files; the baseline takes one at a time."""
    from earwitness.detectors.fakeprint import N_FFT, FakeprintDetector, fakeprint, fakeprint_card

    card = fakeprint_card(name="fakeprint", trained_on=None, training_items=None)
    detector = FakeprintDetector(card, np.zeros(4_087), 0.0)
    peaks = partial(fakeprint, sample_rate_hz=CLIP_RATE, band_hz=card.widest_band_hz, n_fft=N_FFT)
    case = Case(detector, lambda path: peaks(read_whole(path, CLIP_RATE)), peaks)
    plain_s = timed(lambda: [case.plain(path) for path in audio])
    return {"n": len(audio), "plain_s": plain_s, "ours_s": timed(lambda: score(audio, [case]))}


def case_combs(audio: list[Path]) -> Figures:
    """Decode files and score them with comb and box; the baseline only decodes them.

    In processor seconds of one thread, so that other work on the machine counts less.
    """
    from earwitness.audio.decode import read_slice
    from earwitness.detectors.base import FileDetector
    from earwitness.detectors.loading import open_detector

    opened = (open_detector(name) for name in ("comb", "box"))
    detectors = [detector for detector in opened if not isinstance(detector, FileDetector)]
    length = detectors[0].card.contract.max_samples or 0
    decode_s = score_s = 0.0
    for number, path in enumerate([audio[0], *audio]):
        start = time.process_time()
        samples = read_slice(path, 0, length, sample_rate_hz=CLIP_RATE, mono=True)
        decoded = time.process_time()
        for detector in detectors:
            detector.score([Clip(samples, CLIP_RATE)])
        if number:  # the first is to begin warm
            decode_s += decoded - start
            score_s += time.process_time() - decoded
    return {"n": len(audio), "plain_s": decode_s, "ours_s": decode_s + score_s}


def case_networks(
    audio: list[Path], names: Sequence[str], n_files: int, backend: Backend = "torch"
) -> Figures:
    """Score with networks in one pass; the baseline is a loop of its own for each of them."""
    cases = [make_case(name, backend) for name in names]
    score(audio[:8], cases)  # both sides begin warm
    plain_s = 0.0
    for case in cases:
        case.plain(audio[0])
        plain_s += timed(lambda step=case.plain: [step(path) for path in audio]) / len(audio)  # type: ignore[misc]
    with tempfile.TemporaryDirectory(dir=audio[0].parent) as folder:
        many = link_many(audio, Path(folder), n_files)
        ours_s = timed(lambda: score(many, cases))
    audio_s = n_files * mean_duration_s(audio)
    times = {"n": n_files, "plain_s": plain_s * n_files, "ours_s": ours_s, "audio_s": audio_s}
    return times | share_work(audio[:16], cases)


def case_many(audio: list[Path]) -> Figures:
    """Ten thousand rows through the SpecCNN: what memory they take."""
    case = make_case("specnn")
    with tempfile.TemporaryDirectory(dir=audio[0].parent) as folder:
        many = link_many(audio, Path(folder), N_MANY)
        ours_s = timed(lambda: score(many, [case]))
    return {"n": N_MANY, "ours_s": ours_s, "audio_s": N_MANY * mean_duration_s(audio)}


def case_training(audio: list[Path]) -> Figures:
    """Train a ResNet-18 on images; the baseline is a loop with Pillow and a DataLoader."""
    del audio
    import training

    return training.case_training()


def case_bootstrap(audio: list[Path]) -> Figures:
    """Intervals by resampling groups of rows; see ``figures``."""
    del audio
    from figures import case_bootstrap as resampled

    return resampled()


def case_stress(
    audio: list[Path], n_perturbations: int | None = None, n_files: int = 100
) -> Figures:
    """Perturb and score; see ``stress``."""
    import stress

    if n_perturbations is None:
        return stress.case_cost(audio)
    return stress.case_memory(audio, n_perturbations=n_perturbations, n_files=n_files)


def link_many(audio: list[Path], folder: Path, n: int) -> list[Path]:
    """Other names for the same files, so that each is decoded again."""
    for at in range(n):
        os.link(audio[at % len(audio)], folder / f"{at:05d}{audio[at % len(audio)].suffix}")
    return sorted(folder.iterdir())


def score(audio: list[Path], cases: Sequence[Case]) -> None:
    from earwitness.scoring.predict import predict

    detectors = [case.detector for case in cases]
    frame = pl.DataFrame({"filepath": [str(p) for p in audio], "target": [0] * len(audio)})
    for prediction in predict([Manifest("bench", frame)], detectors):
        assert not prediction.n_failed


def mean_duration_s(audio: list[Path]) -> float:
    from earwitness.audio.decode import probe_audio

    return float(np.mean([probe_audio(path).duration_s for path in audio]))


def share_work(audio: list[Path], cases: Sequence[Case]) -> Figures:
    """Seconds that one thread spends on decoding, on features and on networks."""
    import torch

    spent = {"decode_s": 0.0, "features_s": 0.0, "network_s": 0.0}
    requests = [ClipRequest(case.detector.card.contract) for case in cases]
    distinct = tuple(dict.fromkeys(requests))
    start = time.perf_counter()
    files = [cut_file(Job(str(path)), distinct) for path in audio]
    spent["decode_s"] = time.perf_counter() - start
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    for case, request in zip(cases, requests, strict=True):
        clips = [padded(file, request) for file in files]
        size = case.detector.batch_size
        for at in range(0, len(clips), size):
            few = clips[at : at + size]
            mono = torch.from_numpy(np.stack([clip.samples[0] for clip in few]))
            features_s = timed(partial(case.features, mono))
            both_s = timed(partial(case.detector.score, few))
            spent["features_s"] += features_s
            spent["network_s"] += max(both_s - features_s, 0.0)
    torch.set_num_threads(before)
    return spent


def padded(file: DecodedFile, request: ClipRequest) -> Clip:
    """The first clip that a detector gets of a file."""
    cut = file.cuts[request]
    assert not isinstance(cut, str)
    clip = cut.clips[0]
    return Clip(pad_clip(clip.samples, request.contract.clip_samples or 0), clip.sample_rate_hz)


CASES: dict[str, Callable[[list[Path]], Figures]] = {
    "index a tree, draw 4 000": case_index,
    "0.78 s out of each file": case_slice,
    "fakeprint": case_fakeprint,
    "comb and box": case_combs,
    "specnn": partial(case_networks, names=("specnn",), n_files=2_000),
    "gamma-5s": partial(case_networks, names=("gamma-5s",), n_files=300),
    "alpha-5s": partial(case_networks, names=("alpha-5s",), n_files=120),
    "four short ones": partial(case_networks, names=SHORT, n_files=120),
    "specnn, ONNX Runtime": partial(
        case_networks, names=("specnn",), n_files=2_000, backend="onnxruntime"
    ),
    "four short ones, ONNX Runtime": partial(
        case_networks, names=SHORT, n_files=120, backend="onnxruntime"
    ),
    "all seven": partial(case_networks, names=(*SHORT, *LONG), n_files=24),
    "10 000 rows, specnn": case_many,
    "train on images": case_training,
    "stress, quick suite": case_stress,
    "stress, 100 files × 2": partial(case_stress, n_perturbations=2),
    "stress, 10 files × 30": partial(case_stress, n_perturbations=30, n_files=10),
    "stress, 100 files × 30": partial(case_stress, n_perturbations=30),
    "2 000 resamples of 100 000 rows": case_bootstrap,
}


def make_audio(folder: Path) -> list[Path]:
    """Sixty 30 s stereo MP3 files at 44.1 kHz and 256 kbit/s, as FMA has them."""
    rng = np.random.default_rng(0)
    times = np.arange(30 * CLIP_RATE) / CLIP_RATE
    paths = []
    for n in range(N_FILES):
        tones = sum(np.sin(2 * np.pi * hz * times) for hz in rng.uniform(80, 8_000, 6))
        stereo = 0.1 * tones[:, None] + 0.02 * rng.standard_normal((len(times), 2))
        paths.append(folder / f"{n:03d}.mp3")
        soundfile.write(
            paths[-1],
            stereo.clip(-1, 1),
            CLIP_RATE,
            bitrate_mode="CONSTANT",
            compression_level=0.22,
        )
    return paths


def run_case(name: str, folder: Path) -> Figures:
    """Run one case in a process of its own."""
    command = [sys.executable, __file__, "--case", name, "--audio", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{name}: {done.stderr}")
    figures: Figures = json.loads(done.stdout.splitlines()[-1])
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--audio", type=Path, help="folder of audio files (default: made here)")
    parser.add_argument("--case", choices=CASES, help=argparse.SUPPRESS)
    parser.add_argument("--only", nargs="*", choices=CASES, help="cases to run (default: all)")
    options = parser.parse_args()
    if options.case:
        from earwitness.datasets.catalog import scan_audio

        paths = [options.audio / name for name in scan_audio(options.audio).files]
        with PeakMemory() as peak:
            figures = CASES[options.case](paths)
        print(json.dumps(figures | {"peak_mb": peak.mb}))
        return
    print_table(options.audio, options.only or list(CASES))


def print_table(given: Path | None, names: Sequence[str]) -> None:
    from rich.console import Console
    from rich.table import Table

    heads = ("case", "files", "plain files/s", "ours files/s", "ratio", "audio-hours/min")
    more = ("decode", "features", "network", "peak MB")
    table = Table(*heads, *more, title="earwitness against a plain loop, same files, same machine")
    with tempfile.TemporaryDirectory() as made:
        folder = given or Path(made)
        if given is None:
            make_audio(folder)
        for name in names:
            table.add_row(*row_of(name, run_case(name, folder)))
    table.caption = (
        "decode, features, network: shares of one thread's work; peak MB: all processes, ours and "
        "the plain loop's"
    )
    Console(width=150).print(table)


def row_of(name: str, got: Figures) -> list[str]:
    speeds = [got["n"] / got[key] if key in got else None for key in ("plain_s", "ours_s")]
    shown = ["–" if speed is None else f"{speed:,.1f}".replace(",", " ") for speed in speeds]
    ratio = got["plain_s"] / got["ours_s"] if "plain_s" in got else None
    spent = [got.get(key) for key in ("decode_s", "features_s", "network_s")]
    whole = sum(filter(None, spent))
    hours = got["audio_s"] / 3600 / (got["ours_s"] / 60) if "audio_s" in got else None
    return [
        name,
        f"{got['n']:.0f}",
        *shown,
        "–" if ratio is None else f"{ratio:.2f} ×",
        "–" if hours is None else f"{hours:.2f}",
        *("–" if part is None or not whole else f"{part / whole:.0%}" for part in spent),
        f"{got['peak_mb']:.0f}",
    ]


if __name__ == "__main__":
    main()
