"""Checks of the sets themselves: unreadable files, class balance, sample rates."""

from __future__ import annotations

from collections import Counter

import polars as pl
from pydantic import JsonValue

from earwitness.audit.checks import (
    CLASSES,
    AuditContext,
    CheckSpec,
    Outcome,
    make_result,
    not_checked,
)
from earwitness.core.cards import DetectorCard
from earwitness.splits.grouping import UNKNOWN

NO_DETECTOR = "no detector was named (--detector)"
MOST_OF_ONE_CLASS = 0.75
"""A set with a larger share of one class is out of balance."""

_N_REASONS = 3

_READABLE = CheckSpec(
    "readable",
    "files that cannot be decoded",
    "rows",
    "restore the files or drop these rows: every metric would be of fewer items",
)
_BALANCE = CheckSpec(
    "balance",
    "sets out of balance",
    "shortcuts",
    "draw as many of each class, or read metrics that do not depend on the balance: AUROC, EER, "
    "balanced accuracy",
)
_ONE_CLASS = CheckSpec(
    "one_class",
    "corpora of one class in a set of both",
    "shortcuts",
    "compare reals and fakes within a corpus too: across corpora a detector may separate the "
    "corpora and nothing else",
)
_BAND_ADVICE = (
    "report these rows separately or drop them: part of the detector's band is missing, and "
    "where it is missing in one class, that alone separates the classes"
)


def check_readable(context: AuditContext) -> list[Outcome]:
    """Flag every audited row whose file is missing, broken or empty."""
    rows = context.audited_rows
    if rows.height == 0:
        return [not_checked(_READABLE, "there is no row")]
    findings = [
        context.make_finding(_READABLE.name, row, "unreadable", error)
        for row in rows.iter_rows(named=True)
        if (error := context.features[row["file"]].error) is not None
    ]
    reasons = Counter(finding.detail for finding in findings)
    common = reasons.most_common(_N_REASONS)
    parts = [f"{reason} ({n})" for reason, n in common]
    if n_more := reasons.total() - sum(n for _, n in common):
        parts.append(f"other reasons ({n_more})")
    others = context.rows["file"].to_list()[rows.height :]
    n_lost = sum(context.features[path].error is not None for path in others)
    lost = f"{n_lost} rows of other sets as well" if n_lost else ""
    detail = "; ".join(filter(None, (", ".join(parts), lost)))
    return [make_result(_READABLE, findings, n_checked=rows.height, detail=detail)]


def check_balance(context: AuditContext) -> list[Outcome]:
    """Compare the numbers of reals and fakes of every audited set that has both."""
    counts = {
        manifest.name: [int((manifest.frame["target"] == label).sum()) for label in (0, 1)]
        for manifest in context.manifests[: context.n_audited]
    }
    mixed = {name: both for name, both in counts.items() if min(both)}
    n_rows = context.audited_rows.height
    if not mixed:
        return [not_checked(_BALANCE, _why_one_class(context), n_unchecked=n_rows)]
    skewed = {name: n for name, n in mixed.items() if max(n) > MOST_OF_ONE_CLASS * sum(n)}
    shown = (skewed or mixed).items()
    sets: dict[str, JsonValue] = {
        name: dict(zip(CLASSES, both, strict=True)) for name, both in counts.items()
    }
    n_checked = sum(map(sum, mixed.values()))
    return [
        make_result(
            _BALANCE,
            verdict="finding" if skewed else "pass",
            detail="; ".join(f"{name}: {real} real, {fake} fake" for name, (real, fake) in shown),
            n_checked=n_checked,
            n_unchecked=n_rows - n_checked,
            figures={"sets": sets, "limit": MOST_OF_ONE_CLASS},
        )
    ]


def check_one_class(context: AuditContext) -> list[Outcome]:
    """Flag the rows of corpora of one class, where the audited sets have both."""
    corpus = pl.col("source_dataset").fill_null(UNKNOWN).alias("corpus")
    rows = context.audited_rows.with_columns(corpus)
    if rows["target"].n_unique() < 2:
        return [not_checked(_ONE_CLASS, _why_one_class(context), n_unchecked=rows.height)]
    counts = rows.group_by("corpus", maintain_order=True).agg(
        (pl.col("target") == 0).sum().alias("real"), (pl.col("target") == 1).sum().alias("fake")
    )
    only = {
        corpus: f"{corpus} has only {'fakes' if fake else 'reals'}"
        for corpus, real, fake in counts.rows()
        if not real * fake
    }
    findings = [
        context.make_finding(_ONE_CLASS.name, row, "shortcut", only[row["corpus"]], drop=False)
        for row in rows.iter_rows(named=True)
        if row["corpus"] in only
    ]
    corpora: dict[str, JsonValue] = {
        corpus: {"real": real, "fake": fake} for corpus, real, fake in counts.rows()
    }
    return [
        make_result(
            _ONE_CLASS,
            findings,
            n_checked=rows.height,
            detail="; ".join(only.values()),
            figures={"corpora": corpora},
        )
    ]


def _why_one_class(context: AuditContext) -> str:
    targets = context.audited_rows["target"].unique().to_list()
    if len(targets) > 1:
        return "every set has only one class"
    return f"only {'fakes' if targets == [1] else 'reals'} are audited"


def check_band(context: AuditContext) -> list[Outcome]:
    """Flag rows whose own sample rate does not cover the band of a detector."""
    if not context.cards:
        spec = CheckSpec("band", "rates below the band of a detector", "shortcuts", _BAND_ADVICE)
        return [not_checked(spec, NO_DETECTOR, n_unchecked=context.audited_rows.height)]
    return [_check_card(context, card) for card in context.cards]


def _check_card(context: AuditContext, card: DetectorCard) -> Outcome:
    title = f"rates below the band of {card.name}"
    spec = CheckSpec(f"band_{card.name}", title, "shortcuts", _BAND_ADVICE)
    rows = [
        (row, rate)
        for row in context.audited_rows.iter_rows(named=True)
        if (rate := context.features[row["file"]].sample_rate_hz) is not None
    ]
    n_unchecked = context.audited_rows.height - len(rows)
    if not rows:
        return not_checked(spec, "no file could be decoded", n_unchecked=n_unchecked)
    top_hz = card.band_hz[1]
    findings = [
        context.make_finding(
            spec.name,
            row,
            "shortcut",
            f"{rate} Hz ends at {rate / 2:g} Hz, the band of {card.name} at {top_hz:g} Hz",
            drop=False,
        )
        for row, rate in rows
        if rate < 2 * top_hz
    ]
    n_below = Counter(CLASSES[finding.target] for finding in findings)
    n_all = Counter(CLASSES[row["target"]] for row, _ in rows)
    shares = ", ".join(
        f"{n_below[name]} of {n_all[name]} {name}" for name in CLASSES if n_all[name]
    )
    return make_result(
        spec,
        findings,
        n_checked=len(rows),
        n_unchecked=n_unchecked,
        detail=shares if findings else "",
        figures={"top_hz": top_hz, **{f"n_{name}": n_below[name] for name in CLASSES}},
    )
