"""Ten seconds of damaged files; ``tests/fuzz/run.py --seconds 3600`` takes hours."""

from __future__ import annotations

from pathlib import Path

import pytest

from fuzz.formats import all_formats
from fuzz.run import fuzz
from fuzz.seeds import write_seeds

SECONDS, N_ROUNDS = 60.0, 20
"""The same mutants on every machine, some ten seconds of them; a busy one tries fewer."""


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("seeds")
    write_seeds(folder)
    return folder


def test_every_seed_is_read_without_an_error(seeds: Path) -> None:
    for one in all_formats():
        one.read(seeds / one.file)


def test_damaged_files_end_in_a_result_or_one_line(seeds: Path) -> None:
    n_tried, falls = fuzz(SECONDS, 0, n_rounds=N_ROUNDS, folder=seeds)
    assert n_tried
    assert not falls
