"""The audit's ears: which copies are recognised, and what a search costs: part of ``make bench``.

Conventions: recall is at the audit's own limits, and so are false matches; files of one name are
one piece of music, and no false match. Searches are among
made-up fingerprints of 30 s, one set against another of the same size; one in a hundred of the
second are disturbed copies of the first. Each size runs in a process of its own, so that peak
memory is its; CPU seconds are given as well as wall-clock ones, since a machine may be shared.
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
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy.stats import beta

if TYPE_CHECKING:
    from earwitness.audit.near_duplicates.copies import Matches
    from earwitness.audit.near_duplicates.index import InvertedIndex

SIZES = (1_000, 10_000, 100_000)
N_WORDS, N_FRAMES, N_CLASSES = 2_546, 234, 12
ONE_IN = 100
N_TRACKS, TRACK_S = 48, 20.0

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
Change = Callable[[NDArray[np.float32], int, Path], Path]


def coded(suffix: str, codec: str, kbps: int) -> Change:
    from earwitness.audio.encode import write_coded

    return lambda samples, rate, path: write_coded(
        path.with_suffix(suffix), samples, rate, codec=codec, kbps=kbps
    )


def written(path: Path, samples: NDArray[np.float32], rate: int) -> Path:
    path = path.with_suffix(".wav")
    soundfile.write(path, samples.T.clip(-1, 1), rate)
    return path


def cropped(samples: NDArray[np.float32], rate: int, path: Path) -> Path:
    rng = np.random.default_rng(samples.shape[1])
    start = int(rng.integers(max(samples.shape[1] - 10 * rate, 1)))
    return written(path, samples[:, start : start + 10 * rate], rate)


def late(samples: NDArray[np.float32], rate: int, path: Path) -> Path:
    silence = np.zeros((len(samples), int(1.234 * rate)), dtype=np.float32)
    return written(path, np.concatenate([silence, samples], axis=1), rate)


def resampled(to_hz: int) -> Change:
    return lambda samples, rate, path: written(path, soxr.resample(samples.T, rate, to_hz).T, to_hz)


def amplified(gain_db: float) -> Change:
    return lambda samples, rate, path: written(path, samples * 10 ** (gain_db / 20), rate)


def conditions() -> dict[str, Change]:
    return {
        "MP3 64 kbit/s": coded(".mp3", "libmp3lame", 64),
        "AAC 64 kbit/s": coded(".m4a", "aac", 64),
        "Opus 32 kbit/s": coded(".opus", "libopus", 32),
        "16 kHz": resampled(16_000),
        "8 kHz": resampled(8_000),
        "+12 dB, clipped": amplified(12),
        "-12 dB": amplified(-12),
        "10 s crop": cropped,
        "1.2 s of silence before": late,
    }


def make_music(folder: Path, *, n_tracks: int = N_TRACKS, length_s: float = TRACK_S) -> list[Path]:
    from earwitness.demo.music import SAMPLE_RATE_HZ, compose, draw_artist

    paths = []
    for number in range(n_tracks):
        artist = draw_artist(np.random.default_rng((9, number)))
        track = compose((9, number), artist, length_s=length_s)
        paths.append(written(folder / f"{number:03d}", track, SAMPLE_RATE_HZ))
    return paths


def print_robustness(given: Path | None) -> None:
    """Change tracks in every way and look each up among all originals."""
    from earwitness.audit.near_duplicates.index import stack
    from earwitness.datasets.catalog import scan_audio

    heads = ("condition", "recognised", "recall", "least equal bits", "false matches")
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        paths = [given / n for n in scan_audio(given).files] if given else make_music(folder)
        paths = paths[:100]
        names = np.array([path.stem for path in paths])
        originals = stack([words_of(path) for path in paths], empty=words_of(None))
        title = f"{len(paths)} tracks and changed copies of them, each looked up among all tracks"
        table = Table(*heads, title=title)
        false: set[tuple[int, int]] = set()
        for name, change in conditions().items():
            found = find_changed(paths, originals, change, folder / "changed")
            right = found.one == found.other
            wrong = names[found.one] != names[found.other]
            false |= set(zip(found.one[wrong], found.other[wrong], strict=True))
            least = f"{found.similarity[right].min():.3f}" if right.any() else "–"
            recall = f"{right.sum() / len(paths):.1%}"
            count = f"{right.sum()} of {len(paths)}"
            table.add_row(name, count, recall, least, str(wrong.sum()))
        table.caption = describe_rate(len(false), int((names[:, None] != names).sum()))
    Console(width=110).print(table)


def find_changed(paths: list[Path], originals: InvertedIndex, change: Change, new: Path) -> Matches:
    from earwitness.audio.decode import read_audio
    from earwitness.audit.near_duplicates.copies import find_copies
    from earwitness.audit.near_duplicates.index import stack

    changed = []
    for path in paths:
        samples, info = read_audio(path)
        changed.append(words_of(change(samples, info.sample_rate_hz, new)))
    return find_copies(originals, stack(changed, empty=words_of(None)))


def describe_rate(n_false: int, n_pairs: int) -> str:
    """Return the share of unrelated pairs that matched, and its upper limit (Clopper–Pearson)."""
    most = float(beta.ppf(0.95, n_false + 1, n_pairs - n_false))
    return (
        f"{n_false} of {n_pairs} unrelated pairs matched in any condition: false-positive rate "
        f"{n_false / n_pairs:.2%}, below {most:.2%} with 95 % confidence"
    )


def words_of(path: Path | None) -> NDArray[np.uint32]:
    from earwitness.audit.features import FileFeatures, extract_file_features

    return (extract_file_features(str(path), "") if path else FileFeatures()).words


def make_words(rng: np.random.Generator, n: int) -> NDArray[np.uint32]:
    """Words that change as those of music do: an eighth of the bits from one to the next."""
    words = np.empty((n, N_WORDS), dtype=np.uint32)
    for start in range(0, n, 2_000):
        part = words[start : start + 2_000]
        part[:] = eighth(rng, part.shape)
        part[:, 0] = rng.integers(1 << 32, size=len(part), dtype=np.uint32)
        np.bitwise_xor.accumulate(part, axis=1, out=part)
    return words


def eighth(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.uint32]:
    """Words in which every bit is set with probability 1/8."""
    one, two, three = (rng.integers(1 << 32, size=shape, dtype=np.uint32) for _ in range(3))
    return one & two & three


def make_chroma(rng: np.random.Generator, n: int) -> NDArray[np.int8]:
    """Time–chroma as smooth as that of music."""
    chroma = np.empty((n, N_FRAMES, N_CLASSES), dtype=np.int8)
    for start in range(0, n, 2_000):
        shape = (min(2_000, n - start), N_FRAMES + 3, N_CLASSES)
        noise = rng.standard_normal(shape, dtype=np.float32)
        smooth = np.sum([noise[:, k : k + N_FRAMES] for k in range(4)], axis=0) * 16
        chroma[start : start + 2_000] = smooth.clip(-127, 127)
    return chroma


def search(kind: str, n: int) -> dict[str, float]:
    """Search one set in another; return seconds, recall of planted copies and false matches."""
    from earwitness.audit.near_duplicates.alignment import VARIANTS, vary
    from earwitness.audit.near_duplicates.copies import find_copies
    from earwitness.audit.near_duplicates.index import InvertedIndex
    from earwitness.audit.near_duplicates.versions import find_versions

    rng = np.random.default_rng(0)
    one: NDArray[Any]
    other: NDArray[Any]
    if kind == "copies":
        one, other = make_words(rng, n), make_words(rng, n)
        planted = one[::ONE_IN]
        other[::ONE_IN] = planted ^ eighth(rng, planted.shape)
        length = N_WORDS
    else:
        one, other = make_chroma(rng, n), make_chroma(rng, n)
        mixed = one[::ONE_IN] * 0.8 + make_chroma(rng, len(one[::ONE_IN])) * 0.6
        other[::ONE_IN] = mixed.clip(-127, 127)
        if kind == "variants":
            for row in other[::ONE_IN]:
                row[:] = vary(row, VARIANTS[-1])[0]
        length = N_FRAMES
    starts = np.arange(n + 1, dtype=np.int64) * length
    libraries = [InvertedIndex(v.reshape(-1, *v.shape[2:]), starts) for v in (one, other)]
    begun, busy = time.perf_counter(), time.process_time()
    if kind == "copies":
        matches = find_copies(*libraries)
    else:
        find = find_versions if kind == "versions" else partial(find_versions, variants=VARIANTS)
        find = partial(find, least=10)
        found = find(*libraries)
        matches = found.matches.take(np.flatnonzero(found.score > 10).tolist())
    seconds, cpu_seconds = time.perf_counter() - begun, time.process_time() - busy
    right = (matches.one == matches.other) & (matches.one % ONE_IN == 0)
    return {
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "recall": float(right.sum()) / len(one[::ONE_IN]),
        "false": float((~right).sum()),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--search", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--audio", type=Path, help="folder of music (default: made here)")
    parser.add_argument("--sizes", nargs="*", type=int, default=SIZES)
    options = parser.parse_args()
    if options.search:
        kind, n = options.search
        print(json.dumps(search(kind, int(n))))
        return
    print_robustness(options.audio)
    if options.sizes:
        print_searches(options.sizes)


def print_searches(sizes: list[int]) -> None:
    heads = ("search", "sounds against sounds", "seconds", "CPU s", "peak MB", "recall", "false")
    table = Table(*heads, title="searching made-up fingerprints of 30 s, one set in another")
    for kind in ("copies", "versions", "variants"):
        for n in sizes:
            command = [sys.executable, __file__, "--search", kind, str(n)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise SystemExit(done.stderr)
            got = json.loads(done.stdout)
            table.add_row(
                kind,
                f"{n:,} × {n:,}".replace(",", " "),
                f"{got['seconds']:.1f}",
                f"{got['cpu_seconds']:.1f}",
                f"{got['peak_mb']:.0f}",
                f"{got['recall']:.1%}",
                f"{got['false']:.0f}",
            )
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
