"""What a check concludes from the rows it takes offence at.

Conventions: a check that looked at nothing was not made, nor was one that cannot decide; rows that
could not be looked at stand in the detail of a pass, so that it claims no more than it saw.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import JsonValue

from earwitness.audit.context import Outcome
from earwitness.audit.schema import CheckResult, Finding, Link, Relation, Scope


@dataclass(frozen=True)
class CheckSpec:
    """What a check is about.

    Attributes:
        name: Its name in ``audit.json``.
        title: What it looks for, for people.
        scope: What it compares.
        advice: What to do about a finding.
    """

    name: str
    title: str
    scope: Scope
    advice: str


def not_checked(
    subject: CheckSpec,
    why: str,
    *,
    n_unchecked: int = 0,
    figures: Mapping[str, JsonValue] | None = None,
) -> Outcome:
    """Return the outcome of a check that was not made, or that cannot decide."""
    return Outcome(
        CheckResult(
            name=subject.name,
            title=subject.title,
            scope=subject.scope,
            verdict="not checked",
            detail=why,
            n_unchecked=n_unchecked,
            figures=dict(figures or {}),
        )
    )


def make_result(
    subject: CheckSpec,
    findings: Sequence[Finding],
    *,
    n_checked: int,
    n_unchecked: int = 0,
    detail: str = "",
    links: Sequence[Link] = (),
    figures: Mapping[str, JsonValue] | None = None,
) -> Outcome:
    """Return the outcome of a check that looked at rows.

    Args:
        subject: What it is about.
        findings: Rows that offend.
        n_checked: Rows it looked at, at least one.
        n_unchecked: Rows that it could not look at.
        detail: What else to say.
        links: Pairs that sound alike.
        figures: Numbers behind the detail.
    """
    relations = count_relations(findings)
    n_rows = len({(finding.manifest, finding.row) for finding in findings})
    said = [_rows_told(n_rows, n_checked, relations), detail]
    if n_unchecked:
        said.append(f"{n_unchecked} rows could not be looked at")
    offends = any(finding.relation != "undecided" for finding in findings)
    result = CheckResult(
        name=subject.name,
        title=subject.title,
        scope=subject.scope,
        verdict="finding" if offends else "not checked" if findings else "pass",
        detail="; ".join(filter(None, said)),
        advice=subject.advice if offends else "",
        n_rows=n_rows,
        n_checked=n_checked,
        n_unchecked=n_unchecked,
        relations=relations,
        figures=dict(figures or {}),
    )
    return Outcome(result, findings, links)


def conclude_slices(
    subject: CheckSpec,
    *,
    is_finding: bool,
    detail: str,
    n_checked: int,
    n_unchecked: int = 0,
    figures: Mapping[str, JsonValue] | None = None,
) -> Outcome:
    """Return the outcome of a check that looked at slices, where no row offends by itself.

    Args:
        subject: What it is about.
        is_finding: Whether it found something.
        detail: What it saw.
        n_checked: Rows of the slices it looked at, at least one.
        n_unchecked: Rows that it could not look at.
        figures: Numbers behind the detail.
    """
    lost = f"{n_unchecked} rows could not be looked at" if n_unchecked else ""
    return Outcome(
        CheckResult(
            name=subject.name,
            title=subject.title,
            scope=subject.scope,
            verdict="finding" if is_finding else "pass",
            detail="; ".join(filter(None, (detail, lost))),
            advice=subject.advice if is_finding else "",
            n_checked=n_checked,
            n_unchecked=n_unchecked,
            figures=dict(figures or {}),
        )
    )


def count_relations(findings: Sequence[Finding]) -> dict[Relation, int]:
    """Return how many rows offend in each way."""
    distinct = {(finding.manifest, finding.row, finding.relation) for finding in findings}
    counts = Counter(relation for _, _, relation in distinct)
    return dict(sorted(counts.items()))


_WORDS: dict[Relation, str] = {
    "leak": "in another set, too",
    "duplicate": "again with the same label",
    "conflict": "again with the other label",
    "split_group": "of one origin and several groups",
    "partial": "sharing a part or a backing",
    "undecided": "not decidable",
    "trained_on": "trained on",
    "selected_on": "selected on",
    "unreadable": "not readable",
    "shortcut": "given away",
}


def _rows_told(n_rows: int, n_checked: int, relations: Mapping[Relation, int]) -> str:
    if n_rows == 0:
        return f"none of {n_checked} rows"
    if len(relations) == 1:
        return f"{n_rows} of {n_checked} rows {_WORDS[next(iter(relations))]}"
    parts = ", ".join(f"{n} {_WORDS[relation]}" for relation, n in relations.items())
    return f"{n_rows} of {n_checked} rows: {parts}"
