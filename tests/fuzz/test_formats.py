"""Ten seconds of damaged files; ``tests/fuzz/run.py --seconds 3600`` takes hours."""

from __future__ import annotations

from pathlib import Path

from fuzz.formats import all_formats
from fuzz.run import fuzz
from fuzz.seeds import write_seeds

SECONDS, N_ROUNDS = 60.0, 20
"""The same mutants on every machine, some ten seconds of them; a busy one tries fewer."""


def test_every_seed_is_read_without_an_error(tmp_path: Path) -> None:
    write_seeds(tmp_path)
    for one in all_formats():
        one.read(tmp_path / one.file)


def test_damaged_files_end_in_a_result_or_one_line() -> None:
    n_tried, falls = fuzz(SECONDS, 0, n_rounds=N_ROUNDS)
    assert n_tried
    assert not falls
