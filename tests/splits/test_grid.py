"""Cells: real corpus × generator."""

from __future__ import annotations

import polars as pl

from earwitness.splits.grouping import list_cells, list_makers


def frame(*rows: tuple[int, str, str]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=["target", "corpus", "generator"], orient="row")


def test_reals_of_each_corpus_and_of_all_meet_the_fakes_of_each_maker() -> None:
    rows = frame(
        *[(0, "B", "unknown"), (0, "A", "unknown"), (0, "A", "unknown")],
        *[(1, "A", "suno"), (1, "C", "suno"), (1, "A", "udio")],
    )
    cells = {cell.name: cell for cell in list_cells(rows)}
    assert list(cells) == [
        f"{reals} × {maker}"
        for reals in ("A", "B", "all reals")
        for maker in ("suno (A)", "suno (C)", "udio")
    ]
    assert cells["all reals × udio"].keys == {
        "real_corpus": "all",
        "generator": "udio",
        "fake_corpus": "A",
    }
    assert cells["A × suno (C)"].rows.rows() == [
        *[(0, "A", "unknown"), (0, "A", "unknown")],
        (1, "C", "suno"),
    ]


def test_one_real_corpus_is_not_there_twice() -> None:
    cells = list_cells(frame((0, "A", "unknown"), (1, "A", "suno")))
    assert [cell.keys["real_corpus"] for cell in cells] == ["A"]


def test_one_class_has_no_cells() -> None:
    reals = frame((0, "A", "unknown"))
    assert list_cells(reals) == list_makers(reals) == []
    assert list_cells(frame((1, "A", "suno"))) == []
