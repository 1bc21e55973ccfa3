"""Interface of audit checks: functions from an ``AuditContext`` to a list of ``Outcome``.

Outcomes are made by ``make_result``. A check that examined nothing or cannot decide is "not
checked", never a pass; rows that could not be checked are counted in the detail.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, count
from typing import Any, NamedTuple

import polars as pl
from pydantic import JsonValue

from earwitness.audit.features import FileFeatures
from earwitness.audit.schema import CheckResult, Finding, Link, Relation, Scope, SliceAuroc, Verdict
from earwitness.audit.scratch import Scratch
from earwitness.core.cards import DetectorCard
from earwitness.core.errors import UsageError
from earwitness.core.manifest import Manifest
from earwitness.core.remote import absolute_name, shown_name

Row = Mapping[str, Any]
"""A row of ``AuditContext.rows``."""

CLASSES = ("real", "fake")
"""Names of the targets 0 and 1."""


class Outcome(NamedTuple):
    """Result of one check, flagged rows, and pairs of rows of the same music."""

    result: CheckResult
    findings: Sequence[Finding] = ()
    links: Sequence[Link] = ()


@dataclass(frozen=True)
class AuditContext:
    """The manifests of an audit and the features of their files.

    Attributes:
        manifests: All manifests, audited ones first.
        n_audited: Number of audited manifests.
        rows: ``set, row, filepath, file, target, source_dataset, split_tag, generator, group_id,
            artist, youtube_id`` of every row. ``set`` indexes ``manifests``, ``row`` counts from 1
            within one, ``file`` is an absolute path, and blank text is ``None``.
        cards: Detectors whose exposure is checked.
        features: Features by ``file``.
        scratch: Place for arrays of searches.
    """

    manifests: tuple[Manifest, ...]
    n_audited: int
    rows: pl.DataFrame
    cards: tuple[DetectorCard, ...] = ()
    features: Mapping[str, FileFeatures] = field(default_factory=dict)
    scratch: Scratch = field(default_factory=Scratch)

    @property
    def has_others(self) -> bool:
        """Whether there are sets to compare with."""
        return len(self.manifests) > self.n_audited

    @property
    def audited_rows(self) -> pl.DataFrame:
        """Rows of audited manifests."""
        return self.rows.filter(pl.col("set") < self.n_audited)

    def name_of(self, row: Row) -> str:
        """Return the name of a row's manifest."""
        return self.manifests[row["set"]].name

    def make_finding(
        self,
        check: str,
        row: Row,
        relation: Relation,
        detail: str,
        *,
        other: Row | None = None,
        n_others: int = 0,
        similarity: float | None = None,
        offset_s: float | None = None,
        drop: bool = True,
    ) -> Finding:
        """Return a finding about an audited row, and another row that it conflicts with."""
        return Finding(
            check=check,
            manifest=self.name_of(row),
            row=row["row"],
            filepath=row["filepath"],
            target=row["target"],
            relation=relation,
            detail=detail,
            other_manifest=None if other is None else self.name_of(other),
            other_filepath=None if other is None else other["filepath"],
            other_target=None if other is None else other["target"],
            n_others=n_others,
            similarity=similarity,
            offset_s=offset_s,
            drop=drop,
        )


def make_context(
    audited: Sequence[Manifest], against: Sequence[Manifest], cards: Sequence[DetectorCard]
) -> AuditContext:
    """Return the context of an audit, without features.

    A number is added to the name of another set where an audited one has the same name.

    Raises:
        UsageError: Two audited manifests have one name.
    """
    names = [manifest.name for manifest in audited]
    if repeated := sorted(name for name, n in Counter(names).items() if n > 1):
        raise UsageError(f"two manifests are named {repeated[0]!r}; rename one of the files")
    manifests = list(audited)
    for manifest in against:
        numbered = (f"{manifest.name} ({n})" for n in count(2))
        name = next(n for n in chain([manifest.name], numbered) if n not in names)
        names.append(name)
        manifests.append(replace(manifest, name=name))
    rows = pl.concat([_list_rows(number, one) for number, one in enumerate(manifests)])
    return AuditContext(tuple(manifests), len(audited), rows, tuple(cards))


def _list_rows(number: int, manifest: Manifest) -> pl.DataFrame:
    frame = manifest.frame
    texts = ("source_dataset", "split_tag", "generator", "group_id", "artist", "youtube_id")
    files = [absolute_name(os.fspath(path)) for path in manifest.locate_all()]
    return frame.select(
        pl.lit(number, dtype=pl.Int32).alias("set"),
        pl.int_range(1, pl.len() + 1).alias("row"),
        pl.Series("filepath", map(shown_name, frame["filepath"]), dtype=pl.String),
        pl.Series("file", files, dtype=pl.String),
        pl.col("target").cast(pl.Int64),
        *(_text(frame, name) for name in texts),
    )


def _text(frame: pl.DataFrame, name: str) -> pl.Expr:
    """Return a column as text, blanks as ``None``."""
    if name not in frame.columns:
        return pl.lit(None, dtype=pl.String).alias(name)
    text = pl.col(name).cast(pl.String).str.strip_chars()
    return pl.when(text != "").then(text).alias(name)


@dataclass(frozen=True)
class CheckSpec:
    """Name, title, scope and advice of a check, as in ``CheckResult``."""

    name: str
    title: str
    scope: Scope
    advice: str


def not_checked(
    spec: CheckSpec,
    reason: str,
    *,
    n_unchecked: int = 0,
    figures: Mapping[str, JsonValue] | None = None,
    slices: Sequence[SliceAuroc] | None = None,
) -> Outcome:
    """Return the outcome of a check that could not be made, or that cannot decide."""
    return make_result(
        spec,
        verdict="not checked",
        n_checked=0,
        n_unchecked=n_unchecked,
        detail=reason,
        figures=figures,
        slices=slices,
    )


def make_result(
    spec: CheckSpec,
    findings: Sequence[Finding] = (),
    *,
    n_checked: int,
    n_unchecked: int = 0,
    detail: str = "",
    verdict: Verdict | None = None,
    links: Sequence[Link] = (),
    figures: Mapping[str, JsonValue] | None = None,
    slices: Sequence[SliceAuroc] | None = None,
) -> Outcome:
    """Return the outcome of a check.

    Args:
        spec: Name, title, scope and advice.
        findings: Flagged rows.
        n_checked: Number of checked rows.
        n_unchecked: Number of rows that could not be checked.
        detail: What was found; for a check of rows, after their counts.
        verdict: Of a check of whole sets or slices; ``None`` takes it from the findings.
        links: Pairs of rows of the same music.
        figures: Values behind the detail.
        slices: AUROCs behind the detail, kept as ``figures["slices"]``.
    """
    relations = _count_relations(findings)
    n_rows = len({(finding.manifest, finding.row) for finding in findings})
    parts = [detail]
    if verdict is None:
        is_clear = any(relation != "undecided" for relation in relations)
        verdict = "finding" if is_clear else "not checked" if findings else "pass"
        parts.insert(0, _describe_counts(n_rows, n_checked, relations))
    if n_unchecked and n_checked:
        parts.append(f"{n_unchecked} rows could not be checked")
    values: dict[str, JsonValue] = dict(figures or {})
    if slices is not None:
        values["slices"] = [one.model_dump(exclude_unset=True) for one in slices]
    result = CheckResult(
        name=spec.name,
        title=spec.title,
        scope=spec.scope,
        verdict=verdict,
        detail="; ".join(filter(None, parts)),
        advice=spec.advice if verdict == "finding" else "",
        n_rows=n_rows,
        n_checked=n_checked,
        n_unchecked=n_unchecked,
        relations=relations,
        figures=values,
    )
    return Outcome(result, findings, links)


def _count_relations(findings: Sequence[Finding]) -> dict[Relation, int]:
    """Return how many rows are flagged for each relation."""
    distinct = {(finding.manifest, finding.row, finding.relation) for finding in findings}
    return dict(sorted(Counter(relation for _, _, relation in distinct).items()))


def _describe_counts(n_rows: int, n_checked: int, relations: Mapping[Relation, int]) -> str:
    if n_rows == 0:
        return f"none of {n_checked} rows"
    texts: dict[Relation, str] = {
        "leak": "also in another set",
        "duplicate": "duplicated with the same label",
        "conflict": "duplicated with the other label",
        "split_group": "of one origin in several groups",
        "partial": "sharing a part or a backing",
        "shortcut": "affected",
    }
    named = {relation: texts.get(relation, relation.replace("_", " ")) for relation in relations}
    if len(relations) == 1:
        return f"{n_rows} of {n_checked} rows {next(iter(named.values()))}"
    parts = ", ".join(f"{n} {named[relation]}" for relation, n in relations.items())
    return f"{n_rows} of {n_checked} rows: {parts}"
