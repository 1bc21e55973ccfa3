"""Memory of the search for near-duplicates, of processes of their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from earwitness.audit.scratch import FEWEST_BYTES

PEAK = """
import sys
from pathlib import Path
import numpy as np
from earwitness.audit.near_duplicates import copies, versions
from earwitness.audit.near_duplicates.index import InvertedIndex
from earwitness.audit.scratch import FEWEST_BYTES, Collected, Scratch

def peak():
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) << 10

scratch, rng = Scratch(FEWEST_BYTES, Path(sys.argv[1])), np.random.default_rng(0)
"""

COPIES = """
n, length, n_loud = 1_200, 1 << 16, 512
words = scratch.empty((n, length), np.uint32)
before = peak()
for row in range(0, n, 2):
    words[row : row + 2, 4_096 : 4_096 + n_loud] = rng.integers(1, 1 << 32, n_loud, dtype=np.uint32)
    scratch.release()
index = InvertedIndex(words.reshape(-1), np.arange(n + 1) * length)
found = copies.find_copies(index, index, same=True, scratch=scratch)
assert found.one.tolist() == list(range(0, n, 2)), found
assert found.other.tolist() == list(range(1, n, 2)), found
print(words.nbytes, peak() - before)
"""

LONG_VERSIONS = """
n, length = 96, 9_600
chroma = rng.integers(-64, 64, (n, length, 12), dtype=np.int8)
chroma[1::2] = chroma[::2] // 2
index = InvertedIndex(chroma.reshape(-1, 12), np.arange(n + 1) * length)
before = peak()
found = versions.find_versions(index, index, same=True, least=50, scratch=scratch)
assert found.matches.one.tolist() == list(range(0, n, 2)), found
assert found.matches.other.tolist() == list(range(1, n, 2)), found
print(n * 2 * length * 12 * 4 * 4, peak() - before)  # spectra of both sides, and their transposes
"""

MANY_VERSIONS = """
n, n_rows, n_pairs = 50_000, 3_000_000, 0
before, found = peak(), Collected(7, scratch)
for _ in range(100):
    rows = np.zeros((n_rows // 100, 7))
    rows[:, :2] = rng.integers(n, size=(len(rows), 2))
    found.add(rows)
for rows in versions._best_of_pairs(found, n, same=True, scratch=scratch):
    n_pairs += len(rows)
assert 0.99 * n_rows < n_pairs < n_rows
print(2 * n_rows * 7 * 8, peak() - before)  # as they come, and sorted
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads peak memory from /proc")
@pytest.mark.parametrize("search", [COPIES, LONG_VERSIONS, MANY_VERSIONS])
def test_a_search_takes_no_more_memory_than_it_is_given(search: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", PEAK + search, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    n_searched, n_taken = map(int, done.stdout.split())
    assert n_taken < FEWEST_BYTES < n_searched
