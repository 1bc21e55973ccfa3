"""The demo at seed 0 gives the scores, metrics, verdicts and texts of the files in tests/golden.

After an intended change, write the files again with::

    EARWITNESS_GOLDEN=write python -m pytest tests/demo/test_golden.py

and read the difference before you commit it. Scores of the griffin fakes depend in the third digit
on how the processor's BLAS adds, so numbers are compared in the tables alone and with a tolerance.
"""

from __future__ import annotations

import difflib
import html
import json
import os
import re
from pathlib import Path

import polars as pl
from polars.testing import assert_frame_equal

from demo.conftest import SmallDemo

GOLDEN = Path(__file__).resolve().parent.parent / "golden" / "demo"
WRITES = os.environ.get("EARWITNESS_GOLDEN") == "write"
TOLERANCE = 0.05
VOLATILE = {
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d[\d:.+Z]*": "TIME",
    r"\d{4}-\d\d-\d\d": "DATE",
    r"\b[0-9a-f]{12,64}\b": "HASH",
    r"\b\d+\.\d+\.\d+[\w.+]*": "VERSION",
    r"\S+\.(mp3|wav|flac)\b": "FILE",
    r"[<>≤≥−-]? ?\d[\d  ,.]*(?<=\d)": "#",
}


def check_table(name: str, found: pl.DataFrame) -> None:
    """Compare a table with the golden one, numbers to ``TOLERANCE``."""
    path = GOLDEN / name
    if WRITES:
        path.parent.mkdir(parents=True, exist_ok=True)
        found.write_csv(path, float_precision=9)
    kept = pl.read_csv(path, schema=found.schema)
    assert_frame_equal(found, kept, check_exact=False, rel_tol=0, abs_tol=TOLERANCE)


def check_text(name: str, text: str, out: Path) -> None:
    """Compare a text with the golden one, without its spaces, paths, times and numbers."""
    text = text.replace(str(out), "OUT")
    for pattern, word in VOLATILE.items():
        text = re.sub(pattern, word, text)
    lines = [line for raw in text.splitlines() if (line := " ".join(raw.split()))]
    path = GOLDEN / name
    if WRITES:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    kept = path.read_text(encoding="utf-8").splitlines()
    assert lines == kept, "\n".join(difflib.unified_diff(kept, lines, "kept", "found", n=0))


def test_scores_are_those_of_the_golden_files(small_demo: SmallDemo) -> None:
    paths = sorted(small_demo.done.predictions)
    tables = [
        pl.read_csv(path).select("detector", "filepath", "logit")
        for path in paths
        if path.parent.name == "ood_requested_combined"
    ]
    check_table("scores.csv", pl.concat(tables).sort("detector", "filepath"))


def test_metrics_are_those_of_the_golden_files(small_demo: SmallDemo) -> None:
    table = pl.read_csv(small_demo.out / "run" / "metrics.csv", infer_schema_length=None)
    columns = ("detector", "kind", "slice", "metric", "value", "n_items", "n_groups")
    check_table("metrics.csv", table.select(columns).sort(columns[:4]))


def test_audit_verdicts_are_those_of_the_golden_files(small_demo: SmallDemo) -> None:
    audit = json.loads((small_demo.out / "run" / "audit" / "audit.json").read_text())
    names = ("name", "scope", "verdict")
    rows = [[check[name] for name in names] for check in audit["checks"]]
    check_table("verdicts.csv", pl.DataFrame(rows, names, orient="row"))


def test_the_terminal_says_what_the_golden_file_says(small_demo: SmallDemo) -> None:
    check_text("terminal.txt", small_demo.terminal, small_demo.out)


def test_the_page_says_what_the_golden_file_says(small_demo: SmallDemo) -> None:
    page = (small_demo.out / "run" / "report.html").read_text(encoding="utf-8")
    page = re.sub(r"<(script|style)\b.*?</\1>", "", page, flags=re.DOTALL)
    page = re.sub(r"</(p|h\d|li|tr|div|section|text|summary|caption|figcaption|dd)>", "\n", page)
    check_text("page.txt", html.unescape(re.sub(r"<[^>]*>", " ", page)), small_demo.out)
