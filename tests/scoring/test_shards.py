from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from earwitness.core.errors import RunError, UsageError
from earwitness.core.manifest import Manifest
from earwitness.scoring.shards import (
    Shard,
    cut_shard,
    join_parts,
    parse_shard,
    read_part,
    shard_numbers,
)

NAMES = st.text(st.characters(blacklist_categories=("Cs", "Cc")), min_size=1, max_size=12)
PATHS = st.lists(NAMES, min_size=1, max_size=30)
SLURM = {"ID": "7", "COUNT": "4", "MIN": "5", "MAX": "8"}


def manifest_of(paths: list[str], root: Path = Path("/data"), name: str = "m") -> Manifest:
    frame = pl.DataFrame({"filepath": paths, "target": [n % 2 for n in range(len(paths))]})
    return Manifest(name, frame, (root,))


def slurm(**changes: str) -> dict[str, str]:
    return {f"SLURM_ARRAY_TASK_{part}": value for part, value in (SLURM | changes).items()}


@given(paths=PATHS, of=st.integers(1, 70))
def test_every_row_is_in_one_shard_and_joined_in_order(paths: list[str], of: int) -> None:
    whole = manifest_of(paths)
    cuts = [cut_shard([whole], Shard(number, of)) for number in range(1, of + 1)]
    joined = join_parts([parts[0] for parts, _ in cuts])
    assert joined.manifest(["/data"]).frame.equals(whole.frame)
    assert joined.manifest(["/data"]).digest == whole.digest
    assert joined.manifest(["/data"]).locate_all() == whole.locate_all()
    counts = [len(parts[0].positions) for parts, _ in cuts]
    assert all(stated == {"m": counts} for _, stated in cuts)


@given(paths=PATHS, more=PATHS, of=st.integers(1, 70))
def test_added_rows_move_none(paths: list[str], more: list[str], of: int) -> None:
    before = shard_numbers(manifest_of(paths), of)
    assert shard_numbers(manifest_of(more + paths), of)[len(more) :] == before


def test_a_file_is_in_one_shard_however_its_path_is_written() -> None:
    for n in range(40):
        written = [f"a/{n}é.wav", f"./a//{n}é.wav", f"a\\{n}e\u0301.wav", f"/data/a/{n}é.wav"]
        assert len(set(shard_numbers(manifest_of(written), 1_000))) == 1


def test_shards_do_not_depend_on_the_root() -> None:
    relative = shard_numbers(manifest_of(["a/1.wav"]), 1_000)
    elsewhere = manifest_of(["/other/a/1.wav"], Path("/other"))
    assert shard_numbers(elsewhere, 1_000) == relative


def test_the_assignment_never_changes() -> None:
    # The last byte of `printf PATH | b2sum -l 64`, modulo 64, plus 1.
    assert shard_numbers(manifest_of(["a.wav", "b/c.flac", "ü.mp3"]), 64) == [7, 60, 37]


@pytest.mark.parametrize("text", ["0/4", "5/4", "1", "1/0", "-1/4", "a/b", "1/4/2", "", "1.5/4"])
def test_other_shards_than_k_of_n_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="expected K/N with K from 1 to N, or slurm"):
        parse_shard(text, {})


def test_shards_are_numbered_from_one() -> None:
    assert parse_shard("3/64", {}) == Shard(3, 64)
    assert Shard(3, 64).folder == "shard-03-of-64"


@pytest.mark.parametrize(
    ("changes", "shard"),
    [
        ({}, Shard(3, 4)),
        ({"ID": "0", "MIN": "0", "MAX": "3"}, Shard(1, 4)),
        ({"ID": "4", "MIN": "1", "MAX": "4"}, Shard(4, 4)),
        ({"ID": "6", "MIN": "0", "MAX": "6", "STEP": "2"}, Shard(4, 4)),
    ],
)
def test_arrays_may_begin_with_any_number(changes: dict[str, str], shard: Shard) -> None:
    assert parse_shard("slurm", slurm(**changes)) == shard


@pytest.mark.parametrize(
    "changes",
    [
        {"COUNT": "1", "MIN": "7", "MAX": "7"},  # one task repeated
        {"MAX": "12"},  # with gaps
        {"ID": "9"},
        {"MAX": "11", "STEP": "2", "ID": "6"},
    ],
)
def test_arrays_that_do_not_say_which_shard_are_refused(changes: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="two or more tasks without gaps"):
        parse_shard("slurm", slurm(**changes))


def test_slurm_is_asked_for_outside_of_an_array() -> None:
    with pytest.raises(UsageError, match="run it as a task of sbatch --array"):
        parse_shard("slurm", {"SLURM_ARRAY_TASK_ID": "3"})


def test_rows_of_a_shard_survive_the_disk(tmp_path: Path) -> None:
    (part,), _ = cut_shard([manifest_of(["a.wav", "b.wav", "c.wav"])], Shard(1, 1))
    part.write(tmp_path)
    assert read_part(tmp_path, "m").table.equals(part.table)
    (tmp_path / "shard" / "m.parquet").write_text("no table")
    with pytest.raises(RunError, match="cannot be read as rows of a shard"):
        read_part(tmp_path, "m")
