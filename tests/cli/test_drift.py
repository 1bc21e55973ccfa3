from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl

from earwitness.scoring.prediction_files import write_predictions
from frames import predictions

Run = Callable[..., tuple[int, str, str]]


def test_the_exit_status_says_whether_something_has_moved(tmp_path: Path, run: Run) -> None:
    before, after = tmp_path / "before.csv", tmp_path / "after.csv"
    write_predictions(predictions().frame, before)
    write_predictions(predictions().frame.with_columns(pl.col("logit", "pred_prob") * 0.7), after)
    code, out, _ = run("drift", before, before)
    assert (code, out.splitlines()[-1]) == (0, "nothing moved")
    code, out, _ = run("drift", before, after)
    assert code == 1
    assert "compared item by item" in out
    assert "moved: before logit" in out
    assert run("drift", before, after, "--least", "9")[0] == 0
    assert run("drift", before, after, "--level", "0.003")[0] == 1
    for wrong, said in (
        ([before], "expected a second run, or --detector with a service"),
        ([before, after, "--detector", "api"], "expected it or a later run"),
        ([before, after, "--nuisances", before], "--nuisances: found 1, expected one file"),
        (
            [before, after, "--level", "0.0029"],
            "smallest corrected p-value of these tests is 0.003",
        ),
    ):
        code, _, err = run("drift", *wrong)
        assert (code, err.count("\n")) == (2, 1)
        assert said in err
