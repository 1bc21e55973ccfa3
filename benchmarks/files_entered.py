"""Count the source files in which a predict → evaluate → report trip executes a function.

``python benchmarks/files_entered.py [--list]``
"""

from __future__ import annotations

import inspect
import sys
import tempfile
import threading
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import soundfile

import earwitness as ew
from earwitness.cli import main

SHOW_LIST = "--list" in sys.argv
SOURCE = str(Path(ew.__file__).parent)


def write_corpus(folder: Path, n_tracks: int = 12) -> None:
    """Write noise as real tracks, and the same with spectral peaks as fakes of two generators."""
    rng = np.random.default_rng(0)
    rate_hz, rows = (
        44_100,
        ["filepath,target,skip_time,source_dataset,split_tag,generator,group_id"],
    )
    comb = np.sin(2 * np.pi * 7_350 * np.arange(4 * rate_hz) / rate_hz)
    for n in range(3 * n_tracks):
        is_fake = n % 3 > 0
        samples = 0.1 * rng.standard_normal(4 * rate_hz) + 0.1 * is_fake * comb
        name = f"{n:03d}.wav"
        soundfile.write(folder / name, samples, rate_hz)
        rows.append(f"{name},{int(is_fake)},0,own,test,{f'g{n % 3}' if is_fake else ''},t{n // 3}")
    (folder / "m.csv").write_text("\n".join(rows) + "\n")


def run(*arguments: str | Path) -> None:
    """Run a command in this process."""
    sys.argv = ["earwitness", *map(str, arguments)]
    try:
        main()
    except SystemExit as end:
        if end.code:
            raise


def trip(folder: Path) -> Counter[str]:
    """Return how often functions of each source file were called."""
    calls: Counter[str] = Counter()

    def count(frame: FrameType, event: str, _: Any) -> None:
        # Modules and class bodies, which importing runs, are not "optimized".
        if event == "call" and frame.f_code.co_flags & inspect.CO_OPTIMIZED:
            path = frame.f_code.co_filename
            if path.startswith(SOURCE) and path.endswith(".py"):
                calls[path.removeprefix(SOURCE + "/")] += 1

    run("train", "--detector", "fakeprint", "--manifest", folder / "m.csv", "--out", folder / "d")
    threading.setprofile(count)
    sys.setprofile(count)
    try:
        run(
            *("predict", "--detector", folder / "d", "--manifest", folder / "m.csv"),
            *("--out", folder / "run", "--num-workers", "0"),
        )
        run("evaluate", folder / "run" / "preds", "--out", folder / "metrics.json")
        run("report", folder / "metrics.json", "--out", folder / "report.html")
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    return calls


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        write_corpus(Path(temporary))
        entered = trip(Path(temporary))
    if SHOW_LIST:
        for path, n in sorted(entered.items()):
            print(f"{n:8d}  {path}")
    n_all = sum(1 for _ in Path(SOURCE).rglob("*.py"))
    print(f"{len(entered)} of {n_all} source files entered")
