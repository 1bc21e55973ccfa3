"""What figures are made of: rows that were scored and lost, checks, notes."""

from __future__ import annotations

from collections.abc import Mapping

from earwitness.evaluation.schema import Metrics, Slice
from earwitness.report.tables import (
    Block,
    Cell,
    Chapter,
    Remark,
    Remarks,
    Row,
    Table,
    Tone,
    count_cell,
    text_cell,
)

_VERDICTS: Mapping[str, Tone] = {"ok": "ok", "note": "note", "warning": "warning"}
_COVERED = (
    *("items", "scored", "abstained", "failed", "missing"),
    *("reals", "fakes", "reals lost", "fakes lost"),
)


def coverage(metrics: Metrics) -> Chapter:
    """Return which rows the figures are made of, and what went wrong with the others."""
    parts = metrics.where(kind="overall")
    n_sets = len({part.name for part in metrics.where(kind="dataset")})
    if n_sets > 1 or not parts:
        parts = parts + metrics.where(kind="dataset")
    counts = _covered(parts, knows_groups=metrics.basis != "counts")
    blocks: list[Block] = [counts]
    blocks += [table for table in (_abstentions(metrics), _errors(metrics)) if table.rows]
    lead = (
        "A detector abstains from files that hold nothing it could analyse, such as digital "
        "silence. Failed rows have an error in place of a score; missing ones another detector "
        "has and this one has not. None of them is in any figure."
    )
    return Chapter("coverage", "Coverage and failures", lead, blocks)


def _covered(parts: list[Slice], *, knows_groups: bool) -> Table:
    rows = []
    for part in parts:
        found = part.coverage
        numbers = [found.n_items, found.n_scored, found.n_abstained, found.n_failed]
        numbers.append(found.n_missing)
        numbers += [found.n_real, found.n_fake, found.n_real_lost, found.n_fake_lost]
        where = "all items" if part.kind == "overall" else part.name
        cells = [
            text_cell(where, look="" if part.kind == "overall" else "name"),
            text_cell(part.detector, look="name"),
            *map(count_cell, numbers),
            *([count_cell(found.n_groups)] if knows_groups else []),
        ]
        rows.append(Row(cells, part.detector))
    columns = ["items of", "detector", *_COVERED, *(["groups"] if knows_groups else [])]
    notes = [] if knows_groups else ["Groups are not known from counts."]
    return Table("Rows behind the figures", columns, rows, notes, texts=2)


def _abstentions(metrics: Metrics) -> Table:
    counted = [(part, part.coverage.abstentions) for part in metrics.where(kind="overall")]
    return _reasons("Abstained from", "reason", counted)


def _errors(metrics: Metrics) -> Table:
    counted = [(part, part.coverage.errors) for part in metrics.where(kind="overall")]
    return _reasons("Commonest errors", "error", counted)


def _reasons(title: str, what: str, counted: list[tuple[Slice, dict[str, int]]]) -> Table:
    rows = [
        Row([text_cell(part.detector, look="name"), text_cell(why), count_cell(n)], part.detector)
        for part, reasons in counted
        for why, n in reasons.items()
    ]
    return Table(title, ["detector", what, "items"], rows, texts=2)


def checks(metrics: Metrics) -> Chapter | None:
    """Return what was looked into beside the figures; ``None`` without any."""
    blocks: list[Block] = []
    loud = [check for check in metrics.checks if check.verdict == "warning"]
    if loud:
        told = [
            Remark(check.detail, "warning", check.detector or "all detectors", check.detector)
            for check in loud
        ]
        blocks.append(Remarks(told))
    if metrics.notes:
        blocks.append(Remarks([Remark(note) for note in metrics.notes]))
    if metrics.checks:
        rows = [
            Row(
                [
                    text_cell(check.detector or "all", look="name" if check.detector else ""),
                    text_cell(check.name.replace("_", " ")),
                    _verdict(check.verdict),
                    text_cell(check.detail),
                ],
                check.detector,
            )
            for check in metrics.checks
        ]
        columns = ["detector", "check", "verdict", "found"]
        blocks.append(Table("What was checked", columns, rows, texts=4))
    lead = "What was looked into before these figures were believed."
    return Chapter("checks", "Checks and notes", lead, blocks) if blocks else None


def _verdict(word: str) -> Cell:
    return Cell(word, word, tone=_VERDICTS.get(word, ""))
