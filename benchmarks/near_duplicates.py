"""How time and memory of the search for near-duplicates grow with the number of recordings.

Conventions: every size runs in a process of its own, so that peak memory is its. Fingerprints are
made up, of 30 s, in temporary files; one in a hundred of the second set is a disturbed copy.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import numpy as np
from pydantic import ByteSize, TypeAdapter
from rich.console import Console
from rich.table import Table

from audit import N_FRAMES, N_WORDS, ONE_IN, eighth, make_chroma, make_words

if TYPE_CHECKING:
    from earwitness.audit.near_duplicates.index import InvertedIndex
    from earwitness.audit.near_duplicates.neighbours import Lookup
    from earwitness.audit.scratch import Scratch

AT_ONCE = 2_000


def search_near_duplicates(
    kind: str, n: int, n_bytes: int, lookup: Lookup | None
) -> dict[str, float]:
    """Search one set in another; return seconds, recall of planted pairs and false matches."""
    from earwitness.audit.near_duplicates.copies import find_copies
    from earwitness.audit.near_duplicates.versions import find_versions
    from earwitness.audit.scratch import Scratch

    scratch = Scratch(n_bytes)
    indices = make_indices(kind, n, scratch)
    begun, busy = time.perf_counter(), time.process_time()
    if kind == "copies":
        matches = find_copies(*indices, scratch=scratch)
    else:
        found = find_versions(*indices, least=10, scratch=scratch, lookup=lookup)
        matches = found.matches
    seconds, cpu_seconds = time.perf_counter() - begun, time.process_time() - busy
    right = (matches.one == matches.other) & (matches.one % ONE_IN == 0)
    return {
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "recall": float(right.sum()) / -(-n // ONE_IN),
        "false": float((~right).sum()),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def make_indices(kind: str, n: int, scratch: Scratch) -> tuple[InvertedIndex, InvertedIndex]:
    """Return two sets of fingerprints or chroma, a few sequences at a time."""
    from earwitness.audit.near_duplicates.fingerprints import N_CLASSES
    from earwitness.audit.near_duplicates.index import InvertedIndex

    rng = np.random.default_rng(0)
    words = kind == "copies"
    length = N_WORDS if words else N_FRAMES
    sides = [
        scratch.empty((n, length), np.uint32)
        if words
        else scratch.empty((n, length, N_CLASSES), np.int8)
        for _ in range(2)
    ]
    for start in range(0, n, AT_ONCE):
        some = slice(start, min(start + AT_ONCE, n))
        for side in sides:
            side[some] = (make_words if words else make_chroma)(rng, some.stop - start)
        planted = sides[0][some][::ONE_IN]
        if words:
            sides[1][some][::ONE_IN] = planted ^ eighth(rng, planted.shape)
        else:
            mixed = planted * 0.8 + make_chroma(rng, len(planted)) * 0.6
            sides[1][some][::ONE_IN] = mixed.clip(-127, 127)
        scratch.release()
    starts = np.arange(n + 1, dtype=np.int64) * length
    one, other = (InvertedIndex(side.reshape(-1, *side.shape[2:]), starts) for side in sides)
    return one, other


def print_near_duplicates(options: argparse.Namespace) -> None:
    heads = ("search", "recordings", "seconds", "CPU s", "peak MB", "recall", "false")
    table = Table(*heads, title=f"one set in another of its size, --memory {options.memory}")
    for n in options.sizes:
        command = [sys.executable, __file__, "--search", options.search_for]
        command += ["--sizes", str(n), "--memory", options.memory]
        command += ["--index", options.index] if options.index else []
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(done.stderr)
        got = json.loads(done.stdout)
        table.add_row(
            options.search_for,
            f"{n:,} × {n:,}".replace(",", " "),
            f"{got['seconds']:.0f}",
            f"{got['cpu_seconds']:.0f}",
            f"{got['peak_mb']:.0f}",
            f"{got['recall']:.1%}",
            f"{got['false']:.0f}",
        )
    Console(width=110).print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--kind", dest="search_for", default="copies", choices=("copies", "versions")
    )
    parser.add_argument("--sizes", nargs="*", type=int, default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--memory", default="4GB", help="limit of the search")
    parser.add_argument("--index", choices=("hash", "faiss"), help="of versions (default: by size)")
    parser.add_argument("--search", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.search:
        n_bytes = TypeAdapter(ByteSize).validate_python(options.memory)
        got = search_near_duplicates(options.search, options.sizes[0], n_bytes, options.index)
        print(json.dumps(got))
        return
    print_near_duplicates(options)


if __name__ == "__main__":
    main()
