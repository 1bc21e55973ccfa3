"""Columns of one prediction file that say different things of the same rows.

Conventions: scores rise with fakeness, so ``logit`` and ``pred_prob`` rank items alike, and a label
is the score from some threshold up. What makes metrics wrong is an error; what may be meant is a
note.
"""

from __future__ import annotations

import numpy as np
import polars as pl

TOLERANCE = 1e-3
"""By how much ``pred_prob`` may fall while ``logit`` rises: rounding, no other ranking."""


def find_contradiction(frame: pl.DataFrame) -> str | None:
    """Return what is wrong where ``logit`` and ``pred_prob`` rank rows differently.

    Args:
        frame: Rows of one detector with ``logit`` and ``pred_prob``.
    """
    both = _scored(frame).filter(pl.all_horizontal(pl.col("logit", "pred_prob").is_not_null()))
    if both.height < 2:
        return None
    ranked = both.sort("logit", "pred_prob")
    logit, prob = (ranked[name].to_numpy() for name in ("logit", "pred_prob"))
    highest = np.maximum.accumulate(prob)
    n_lower = np.searchsorted(logit, logit, side="left")
    before = np.where(n_lower > 0, highest[n_lower - 1], -np.inf)
    worst = int(np.argmax(before - prob))
    if before[worst] - prob[worst] <= TOLERANCE:
        return None
    other = int(np.argmax(prob[: n_lower[worst]]))
    shown = " and ".join(
        f"{_name(ranked, row)} has logit {logit[row]:.4g} and pred_prob {prob[row]:.4g}"
        for row in (other, worst)
    )
    return (
        f"logit and pred_prob contradict each other: {shown}; expected both to rise with "
        "fakeness, or one of the columns alone"
    )


def describe_strange_labels(frame: pl.DataFrame) -> str | None:
    """Return a sentence where ``pred_label`` is no threshold of the score.

    Args:
        frame: Rows of one detector with ``pred_label``, ``logit`` and ``pred_prob``.
    """
    rows = _scored(frame)
    name = "pred_prob" if rows["pred_prob"].count() == rows.height else "logit"
    rows = rows.filter(pl.all_horizontal(pl.col(name, "pred_label").is_not_null()))
    real, fake = (rows.filter(pl.col("pred_label") == label).sort(name) for label in (0, 1))
    if not (real.height and fake.height) or real[name][-1] <= fake[name][0]:
        return None
    return (
        f"pred_label is no threshold of {name}: {_name(fake, 0)} at {fake[name][0]:.4g} is called "
        f"fake, {_name(real, -1)} at {real[name][-1]:.4g} real; decisions are those of pred_label, "
        "ranking is by the score"
    )


def describe_second_column(
    taken: tuple[str, pl.Series], other: tuple[str, pl.Series]
) -> str | None:
    """Return a sentence where a second column of one meaning holds other values.

    Args:
        taken: Name and values of the column that counts.
        other: Name and values of the one that is passed over.
    """
    differ = ~taken[1].eq_missing(other[1])
    if differ.sum() == 0:
        return None
    return (
        f"{taken[0]} and {other[0]} differ in {differ.sum()} of {len(differ)} rows; "
        f"{taken[0]} counts, {other[0]} is passed over"
    )


def _scored(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.filter(pl.all_horizontal(pl.col("abstained", "error").is_null()))


def _name(rows: pl.DataFrame, row: int) -> str:
    path = rows["filepath"][row] if "filepath" in rows.columns else None
    return repr(path) if path else "one row"
