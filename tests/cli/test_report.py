"""``report``, from a file to a page."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import earwitness as ew
from earwitness.core.estimate import ComparisonRow, Counts
from frames import predictions

Run = Callable[..., tuple[int, str, str]]


def test_metrics_become_a_page(run: Run, tmp_path: Path) -> None:
    ew.write_metrics(ew.evaluate([predictions()], n_resamples=60), tmp_path / "metrics.json")
    out = tmp_path / "new" / "page.html"
    code, printed, err = run("report", tmp_path / "metrics.json", "--out", out, "--spectra", 1)
    assert code == 0, err
    assert f"written to {out}" in printed
    page = out.read_text(encoding="utf-8")
    assert "cnn separates real from fake" in page
    assert "None of these detectors can show what it found" in page


def test_a_comparison_table_becomes_a_page(run: Run, tmp_path: Path) -> None:
    table, out = tmp_path / "table.csv", tmp_path / "page.html"
    ew.write_comparison([ComparisonRow("m", "d", Counts(3, 4, 1, 2))], table)
    assert run("report", table, "--out", out)[0] == 0
    assert "m classifies with" in out.read_text(encoding="utf-8")


def test_what_is_neither_is_refused_in_a_line(run: Run, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("{}")
    code, _, err = run("report", tmp_path / "x.json", "--out", tmp_path / "page.html")
    assert code == 2
    assert "expected a metrics.json" in err
    assert len(err.strip().splitlines()) == 1
    assert run("report", tmp_path / "none.csv", "--out", tmp_path / "page.html")[0] == 2
    assert not (tmp_path / "page.html").exists()
