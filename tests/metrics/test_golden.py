"""Golden values: ASVspoof 5's own package and scikit-learn, to 1e-9, rows shuffled too."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from earwitness.metrics import losses, points, ranking

GOLDEN = Path(__file__).resolve().parent.parent / "golden" / "metrics"
EXPECTED = {row["case"]: row for row in pl.read_csv(GOLDEN / "expected.csv").to_dicts()}


def ours(target: np.ndarray, logit: np.ndarray, prob: np.ndarray) -> dict[str, float]:
    counts = points.count_decisions(target, prob >= 0.5)
    return {
        "n": len(target),
        "eer": ranking.eer(target, logit),
        "eer_threshold_llr": -ranking.eer_threshold(target, logit),
        "min_dcf": ranking.min_dcf(target, logit),
        "act_dcf": losses.act_dcf(target, logit),
        "cllr_bits": losses.cllr(target, logit),
        "roc_auc": ranking.auroc(target, logit),
        "average_precision": ranking.average_precision(target, logit),
        "brier": losses.brier(target, prob),
        "log_loss": losses.log_loss(target, prob),
        "TP": counts.tp,
        "TN": counts.tn,
        "FP": counts.fp,
        "FN": counts.fn,
        "accuracy": points.accuracy(counts),
        "balanced_accuracy": points.balanced_accuracy(counts),
        "f1_fake": points.f1(counts),
        "mcc": points.mcc(counts),
    }


@pytest.mark.parametrize("shuffle", [None, 1, 2])
@pytest.mark.parametrize("case", EXPECTED)
def test_golden_values(case: str, shuffle: int | None) -> None:
    rows = pl.read_csv(GOLDEN / "scores.csv").filter(pl.col("case") == case)
    if shuffle is not None:
        rows = rows.sample(fraction=1, shuffle=True, seed=shuffle)
    found = ours(
        rows["target"].to_numpy(), -rows["llr_real"].to_numpy(), rows["prob_fake"].to_numpy()
    )
    expected = {name: value for name, value in EXPECTED[case].items() if name != "case"}
    assert found == pytest.approx(expected, rel=0, abs=1e-9)
