"""Runs of many files, on this machine: part of no test, for ``docs/scale.md``.

Conventions: a case is a function of the parsed options; its peak memory is that of its process and
of its largest child. Times on a shared machine compare within one run only.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import multiprocessing
import os
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO

import numpy as np
import polars as pl

from earwitness.audio.decode import probe_audio, read_audio
from earwitness.core.cache import CACHE_DIR
from earwitness.core.io import sha256_of
from earwitness.core.manifest import Manifest
from earwitness.core.remote import to_path
from earwitness.detectors.loading import open_detector
from earwitness.scoring.merge import merge_shards
from earwitness.scoring.options import ScoringOptions
from earwitness.scoring.predict import plan_scoring, predict
from earwitness.scoring.run import predictions_path, score_into_run
from earwitness.scoring.run_folder import begin_run, copy_manifests
from earwitness.scoring.shards import Shard, cut_shard, describe_shard
from earwitness.scoring.store import STORE_FOLDER, RowStore
from earwitness.splits.manifests import describe_missing, read_manifest

PART_ROWS = 1_000_000
N_SHARDS = 8


@contextlib.contextmanager
def timed(what: str) -> Iterator[None]:
    """Print the wall-clock and processor time of a block."""
    start, cpu = time.perf_counter(), time.process_time()
    yield
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    wall_s, cpu_s = time.perf_counter() - start, time.process_time() - cpu
    print(f"  {what:<34} {wall_s:8.1f} s  {cpu_s:8.1f} s of CPU, peak {peak} MiB", flush=True)


def case_plan(options: argparse.Namespace) -> None:
    """Plan a run over many rows, of which 99 % have a score."""
    folder = Path(tempfile.mkdtemp(dir=options.folder))
    try:
        in_child(lambda: write_scored_run(folder, options.rows))
        print(f"plan: {options.rows} rows, 99 % of them scored")
        start = time.perf_counter()
        plan_run(folder)
        print(f"  in all {time.perf_counter() - start:.1f} s")
    finally:
        shutil.rmtree(folder)


def case_write(options: argparse.Namespace) -> None:
    """Write the predictions of a run whose rows are all scored, and those of its shards, merged."""
    folder = Path(tempfile.mkdtemp(dir=options.folder))
    try:
        in_child(lambda: write_scored_run(folder, options.rows, every=0))
        in_child(lambda: write_scored_shards(folder))
        print(f"write: {options.rows} rows, all of them scored")
        in_child(lambda: write_predictions_of(folder))
        in_child(lambda: merge_predictions_of(folder))
        whole, merged = (predictions_path(folder / at, "many", "comb") for at in ("run", "merged"))
        assert sha256_of(whole) == sha256_of(merged)
    finally:
        shutil.rmtree(folder)


def in_child(work: Callable[[], None]) -> None:
    """Do work in a process of its own, whose memory counts towards no other peak."""
    child = multiprocessing.get_context("fork").Process(target=work)
    child.start()
    child.join()
    if child.exitcode:
        raise SystemExit("a step has failed")
    os.sync()  # so that no later step waits for the disk to take what this one has written


def write_predictions_of(folder: Path) -> None:
    """Do what ``predict`` does where nothing is left to score."""
    with timed("read the manifest"):
        manifest = read_manifest(folder / "many.parquet")
    with timed("plan, write the predictions"):
        options = ScoringOptions(num_workers=0)
        score_into_run([manifest], [open_detector("comb")], folder / "run", options=options)


def merge_predictions_of(folder: Path) -> None:
    """Merge the shards of a folder."""
    with timed(f"merge {N_SHARDS} shards"):
        merge_shards(folder / "merged", [folder / "shards"])


def write_scored_shards(folder: Path) -> None:
    """Write the run folders of shards of a manifest, every row with a score."""
    manifest, detector = read_manifest(folder / "many.parquet"), open_detector("comb")
    options = ScoringOptions(num_workers=0)
    for number in range(1, N_SHARDS + 1):
        shard = Shard(number, N_SHARDS)
        (part,), counts = cut_shard([manifest], shard)
        out = folder / "shards" / shard.folder
        described = describe_shard(shard, counts, ())
        begin_run(out, [manifest], [detector], options, shard=described)
        part.write(out)
        with open_store(out) as rows:
            rows.writelines(map(stored_row, part.positions, part.table["file"]))


def plan_run(folder: Path) -> None:
    """Do what ``predict`` does before it decodes."""
    out, detector = folder / "run", open_detector("comb")
    with timed("read the manifest"):
        manifest = read_manifest(folder / "many.parquet")
    with timed("look for its files"):
        describe_missing(manifest)
    with timed("describe the run, with its digest"):
        begin_run(out, [manifest], [detector], ScoringOptions())
    with timed("copy the manifest"):
        copy_manifests([manifest], out / "manifests")
    with contextlib.ExitStack() as stack:
        with timed("read the store"):
            store = stack.enter_context(RowStore(out / STORE_FOLDER, detector.card.name))
        with timed("plan"):
            plan = plan_scoring([manifest], [detector], stores=[store])
            n_left = len(plan.waiting)
    print(f"  files left to score: {n_left}, tasks: {len(plan.tasks)}")
    peaks = [resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, -1)]
    print(f"  peak memory {max(peaks) / 2**20:.2f} GiB")


def write_scored_run(folder: Path, n_rows: int, *, every: int = 100) -> None:
    """Write a manifest in parts, and a store that lacks one row in ``every``, or none."""
    parts = folder / "many.parquet"
    parts.mkdir()
    with open_store(folder / "run") as rows:
        for first in range(0, n_rows, PART_ROWS):
            numbers = np.arange(first, min(first + PART_ROWS, n_rows))
            paths = [f"/data/music/{n // 1000:05d}/track-{n:08d}.mp3" for n in numbers]
            columns = {
                "filepath": paths,
                "target": (numbers % 2).astype(np.int8),
                "source_dataset": [f"source {n % 7}" for n in numbers],
                "generator": [f"generator {n % 23}" if n % 2 else None for n in numbers],
                "duration_s": numbers % 300 + 0.25,
            }
            pl.DataFrame(columns).write_parquet(parts / f"{first:09d}.parquet")
            rows.writelines(
                stored_row(n, path)
                for n, path in zip(numbers.tolist(), paths, strict=True)
                if not every or n % every
            )


def open_store(run: Path) -> TextIO:
    """Open a new store of the detector, with its header."""
    store = run / STORE_FOLDER / "comb.jsonl"
    store.parent.mkdir(parents=True, exist_ok=True)
    rows = store.open("w")
    print(json.dumps({"earwitness_store": 1, "detector": "comb"}), file=rows)
    return rows


def stored_row(n: int, path: str) -> str:
    """Return the line of a file in a store."""
    rest = '"encoders": [], "native_rate_hz": 44100, "error": null}\n'
    return f'{{"path": "{path}", "skip_s": 0.0, "windows": [[0.0, 30.0, {n % 97 / 7}]], {rest}'


def case_remote(options: argparse.Namespace) -> None:
    """Read and decode files of a folder: here, and from S3 on loopback, new and in the cache."""
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
    from webservers import s3_server

    files = audio_files(options)
    n_bytes = sum(path.stat().st_size for path in files)
    print(f"remote: {len(files)} files, {n_bytes / 1e6:.1f} MB")
    keys = {path.relative_to(options.audio).as_posix(): path.read_bytes() for path in files}
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # it prints every request
    at = options.folder
    with tempfile.TemporaryDirectory(dir=at) as copies, s3_server(keys, "music") as given:
        os.environ |= given | {CACHE_DIR: copies}
        urls = [f"s3://music/{name}" for name in keys]
        read_all([str(files[0]), urls[0]])  # libraries are loaded, and the bucket is found
        first = sha256_of(to_path(urls[0]))
        assert first == sha256_of(files[0])
        places = {"local": [*map(str, files)], "S3, new": urls[1:], "S3, in the cache": urls}
        for place, paths in places.items():
            start, cpu = time.perf_counter(), time.process_time()
            read_all(paths)
            wall_s, cpu_s = time.perf_counter() - start, time.process_time() - cpu
            rate = len(paths) / wall_s
            print(f"  {place:<18} {rate:7.1f} files/s, {cpu_s / len(paths) * 1000:6.1f} ms of CPU")


def case_cost(options: argparse.Namespace) -> None:
    """Score files with each detector, and compute the processor time of many."""
    files = audio_files(options)
    frame = pl.DataFrame({"filepath": [*map(str, files)], "target": [0] * len(files)})
    manifest = Manifest("cost", frame.with_columns(pl.col("target").cast(pl.Int8)))
    length_s = sum(probe_audio(str(path)).duration_s for path in files) / len(files)
    print(f"cost: {len(files)} files of {length_s:.0f} s on average, one process")
    print("| detector | CPU s per file | CPU hours, 100 000 files | CPU hours, 10 000 000 files |")
    print("| --- | --- | --- | --- |")
    for name in options.detectors.split(","):
        detector = open_detector(name)
        first = manifest.where(pl.col("filepath") == str(files[0]))
        predict(first, [detector], n_workers=0)  # libraries are loaded
        start = time.process_time()
        (found,) = predict(manifest, [detector], n_workers=0)
        cpu_s = (time.process_time() - start) / len(files)
        assert not found.n_failed
        hours = (f"{cpu_s * n / 3600:.{digits}f}" for n, digits in ((100_000, 1), (10_000_000, 0)))
        print(f"| `{name}` | {cpu_s:.3f} | {' | '.join(hours)} |", flush=True)


def audio_files(options: argparse.Namespace) -> list[Path]:
    """Return the first audio files of the folder."""
    files = (p for p in options.audio.rglob("*") if p.suffix in (".mp3", ".wav", ".flac"))
    return sorted(files)[: options.files]


def read_all(paths: list[str]) -> None:
    """Decode files one after another."""
    for path in paths:
        read_audio(path)


def main() -> None:
    """Run the cases that are named."""
    cases: dict[str, Callable[[argparse.Namespace], None]] = {
        "plan": case_plan,
        "write": case_write,
        "remote": case_remote,
        "cost": case_cost,
    }
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="+", choices=cases)
    parser.add_argument("--folder", type=Path, default=None, help="for temporary files")
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--audio", type=Path, help="folder of audio files")
    parser.add_argument("--files", type=int, default=100)
    parser.add_argument("--detectors", default="comb,box")
    options = parser.parse_args()
    for name in options.cases:
        cases[name](options)


if __name__ == "__main__":
    main()
