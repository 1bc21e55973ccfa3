"""Memory of the search for near-duplicates, of processes of their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from earwitness.audit.scratch import FEWEST_BYTES

SEARCH = """
import sys
from pathlib import Path
import numpy as np
from earwitness.audit.near_duplicates.copies import find_copies
from earwitness.audit.near_duplicates.index import InvertedIndex
from earwitness.audit.scratch import FEWEST_BYTES, Scratch

def peak():
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) << 10

n, length, n_loud = 1_200, 1 << 16, 512
scratch = Scratch(FEWEST_BYTES, Path(sys.argv[1]))
words = scratch.empty((n, length), np.uint32)
before, rng = peak(), np.random.default_rng(0)
for row in range(0, n, 2):
    words[row : row + 2, 4_096 : 4_096 + n_loud] = rng.integers(1, 1 << 32, n_loud, dtype=np.uint32)
    scratch.release()
index = InvertedIndex(words.reshape(-1), np.arange(n + 1) * length)
found = find_copies(index, index, same=True, scratch=scratch)
assert found.one.tolist() == list(range(0, n, 2)), found
assert found.other.tolist() == list(range(1, n, 2)), found
print(words.nbytes, peak() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads peak memory from /proc")
def test_a_search_takes_no_more_memory_than_it_is_given(tmp_path: Path) -> None:
    command = [sys.executable, "-c", SEARCH, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    n_searched, n_taken = map(int, done.stdout.split())
    assert n_taken < FEWEST_BYTES < n_searched
