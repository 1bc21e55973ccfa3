"""Reals and fakes by number: sets out of balance, corpora of one class.

Conventions: figures are cut by set and corpus as they are in ``evaluate``.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import polars as pl
from pydantic import JsonValue

from earwitness.audit.checks import (
    AuditContext,
    CheckSpec,
    Outcome,
    conclude_slices,
    make_result,
    not_checked,
)
from earwitness.audit.schema import Finding
from earwitness.core.cards import DetectorCard
from earwitness.splits.grid import UNKNOWN

MOST_OF_ONE_CLASS = 0.75
"""A set with a larger share of one class is out of balance."""

_BALANCE = CheckSpec(
    "balance",
    "sets out of balance",
    "shortcuts",
    "draw as many of each class, or read figures that do not depend on the balance: AUROC, EER, "
    "balanced accuracy",
)
_ONE_CLASS = CheckSpec(
    "one_class",
    "corpora of one class in a set of both",
    "shortcuts",
    "compare reals and fakes within a corpus too: across corpora a detector may tell the corpora "
    "apart, and nothing else",
)
_CLASSES = ("real", "fake")


def check_balance(scene: AuditContext) -> list[Outcome]:
    """Compare the numbers of reals and fakes of every audited set that has both."""
    counted = {
        manifest.name: [int((manifest.frame["target"] == label).sum()) for label in (0, 1)]
        for manifest in scene.manifests[: scene.n_audited]
    }
    mixed = {name: counts for name, counts in counted.items() if min(counts)}
    n_rows = scene.audited_rows.height
    figures: dict[str, JsonValue] = {
        name: dict(zip(_CLASSES, counts, strict=True)) for name, counts in counted.items()
    }
    if not mixed:
        return [not_checked(_BALANCE, _only(scene), n_unchecked=n_rows)]
    skewed = {n: c for n, c in mixed.items() if max(c) > MOST_OF_ONE_CLASS * sum(c)}
    detail = "; ".join(
        f"{name}: {real} real, {fake} fake" for name, (real, fake) in (skewed or mixed).items()
    )
    n_checked = sum(sum(counts) for counts in mixed.values())
    return [
        conclude_slices(
            _BALANCE,
            is_finding=bool(skewed),
            detail=detail,
            n_checked=n_checked,
            n_unchecked=n_rows - n_checked,
            figures={"sets": figures, "limit": MOST_OF_ONE_CLASS},
        )
    ]


def check_one_class(scene: AuditContext) -> list[Outcome]:
    """Find corpora whose rows are all real or all fake, where the audited sets have both."""
    corpus = pl.col("source_dataset").fill_null(UNKNOWN).alias("corpus")
    rows = scene.audited_rows.with_columns(corpus)
    if rows["target"].n_unique() < 2:
        return [not_checked(_ONE_CLASS, _only(scene), n_unchecked=rows.height)]
    counted = rows.group_by("corpus", maintain_order=True).agg(
        (pl.col("target") == 0).sum().alias("real"), (pl.col("target") == 1).sum().alias("fake")
    )
    lone = {c: "fakes" if fake else "reals" for c, real, fake in counted.rows() if not real * fake}
    findings = [
        Finding(
            check=_ONE_CLASS.name,
            manifest=scene.manifests[row["set"]].name,
            row=row["row"],
            filepath=row["filepath"],
            target=row["target"],
            relation="shortcut",
            detail=f"{row['corpus']} has only {lone[row['corpus']]}",
            drop=False,
        )
        for row in rows.iter_rows(named=True)
        if row["corpus"] in lone
    ]
    detail = "; ".join(f"{corpus} has only {which}" for corpus, which in lone.items())
    figures: dict[str, JsonValue] = {
        "corpora": {corpus: {"real": real, "fake": fake} for corpus, real, fake in counted.rows()}
    }
    return [
        make_result(_ONE_CLASS, findings, n_checked=rows.height, detail=detail, figures=figures)
    ]


def _only(scene: AuditContext) -> str:
    targets = scene.audited_rows["target"].unique().to_list()
    if len(targets) > 1:
        return "every set has one class alone"
    return f"only {'fakes' if targets == [1] else 'reals'} are audited"


_ADVICE = (
    "report these rows apart or drop them: part of what the detector looks at is not there, and "
    "where one class lacks it, that alone tells"
)
_NAMES = ("real", "fake")


def check_band(scene: AuditContext) -> list[Outcome]:
    """Compare every file's rate with the band of every detector."""
    if not scene.cards:
        subject = CheckSpec("band", "rates below the band of a detector", "shortcuts", _ADVICE)
        n = scene.audited_rows.height
        return [not_checked(subject, "no detector was named (--detector)", n_unchecked=n)]
    return [_check_card(scene, card) for card in scene.cards]


def _check_card(scene: AuditContext, card: DetectorCard) -> Outcome:
    title = f"rates below the band of {card.name}"
    subject = CheckSpec(f"band_{card.name}", title, "shortcuts", _ADVICE)
    rows = [
        (row, rate)
        for row in scene.audited_rows.iter_rows(named=True)
        if (rate := scene.sounds[row["file"]].sample_rate_hz) is not None
    ]
    n_unchecked = scene.audited_rows.height - len(rows)
    if not rows:
        return not_checked(subject, "no file could be heard", n_unchecked=n_unchecked)
    top_hz = card.band_hz[1]
    below = [(row, rate) for row, rate in rows if rate < 2 * top_hz]
    counts = Counter(_NAMES[row["target"]] for row, _ in below)
    of = Counter(_NAMES[row["target"]] for row, _ in rows)
    told = ", ".join(f"{counts[name]} of {of[name]} {name}" for name in _NAMES if of[name])
    figures: dict[str, JsonValue] = {"top_hz": top_hz, **{f"n_{n}": counts[n] for n in _NAMES}}
    return make_result(
        subject,
        [_finding(scene, subject, card, row, rate) for row, rate in below],
        n_checked=len(rows),
        n_unchecked=n_unchecked,
        detail=told if below else "",
        figures=figures,
    )


def _finding(
    scene: AuditContext, subject: CheckSpec, card: DetectorCard, row: dict[str, Any], rate_hz: int
) -> Finding:
    top_hz = card.band_hz[1]
    return Finding(
        check=subject.name,
        manifest=scene.manifests[row["set"]].name,
        row=row["row"],
        filepath=row["filepath"],
        target=row["target"],
        relation="shortcut",
        detail=f"{rate_hz} Hz ends at {rate_hz / 2:g} Hz, {card.name} looks up to {top_hz:g} Hz",
        drop=False,
    )
