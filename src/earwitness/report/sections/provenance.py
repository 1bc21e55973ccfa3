"""Coverage, checks, the audit, and where the metrics come from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from earwitness.audit.schema import CheckResult, Verdict
from earwitness.audit.tables import join_titles
from earwitness.evaluation.schema import DetectorInfo, Metrics, Slice
from earwitness.report.headline import why_unbound
from earwitness.report.tables import (
    Block,
    Cell,
    Chapter,
    Folded,
    Look,
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


_ASKED = "Is what was judged safe to judge by?"


def audit(metrics: Metrics) -> Chapter | None:
    """Return the audit's checks; ``None`` without an audit."""
    report = metrics.audit
    if report is None:
        return None
    found = _with_verdict("finding", report.checks)
    passed, left = _with_verdict("pass", report.checks), _with_verdict("not checked", report.checks)
    blocks: list[Block] = [
        Remarks([Remark(why, "warning") for why in why_unbound(metrics)]),
        _findings(found),
        Folded(f"Passed: {len(passed)}", [_checks_table("Checks that found nothing", passed)]),
        Folded(
            f"Not checked: {len(left)}", [_checks_table("Checks that were not made, and why", left)]
        ),
    ]
    n_checks = len(report.checks)
    lead = (
        f"{_ASKED} {len(found)} of {n_checks} checks found something, {len(passed)} passed, "
        f"{len(left)} were not made. The rows concerned stand in findings.csv beside audit.json."
    )
    return Chapter("audit", "Audit", lead, [block for block in blocks if not _is_empty(block)])


def _with_verdict(verdict: Verdict, checks: Sequence[CheckResult]) -> list[CheckResult]:
    return [check for check in checks if check.verdict == verdict]


def _findings(found: Sequence[CheckResult]) -> Table:
    rows = [
        Row(
            [
                text_cell(join_titles([check.title for check in alike])),
                Cell(alike[0].detail, alike[0].detail, tone="warning"),
                text_cell(alike[0].advice),
                count_cell(alike[0].n_rows),
            ]
        )
        for alike in _alike(found)
    ]
    return Table("What was found", ["check", "found", "what to do", "rows"], rows, texts=3)


def _alike(checks: Sequence[CheckResult]) -> list[list[CheckResult]]:
    """Return checks in order, those together of which the same is said."""
    said: dict[tuple[str, str, int, int], list[CheckResult]] = {}
    for check in checks:
        about = (check.detail, check.advice, check.n_rows, check.n_checked)
        said.setdefault(about, []).append(check)
    return list(said.values())


def _checks_table(caption: str, checks: Sequence[CheckResult]) -> Table:
    rows = [
        Row(
            [
                text_cell(join_titles([check.title for check in alike])),
                text_cell(alike[0].detail),
                count_cell(alike[0].n_checked),
            ]
        )
        for alike in _alike(checks)
    ]
    return Table(caption, ["check", "what is said of it", "rows looked at"], rows, texts=2)


def _is_empty(block: Block) -> bool:
    if isinstance(block, Folded):
        return all(_is_empty(inner) for inner in block.blocks)
    if isinstance(block, Remarks):
        return not block.remarks
    return isinstance(block, Table) and not block.rows


_UNKNOWN = "unknown"
_WEIGHTS = "weights (SHA-256)"


def provenance(metrics: Metrics) -> Chapter:
    """Return what it takes to make these figures again."""
    blocks: list[Block] = [
        _manifests(metrics),
        _detectors(metrics.detectors),
        Folded("Versions and settings", [_settings(metrics)]),
        Folded("The files the figures were made from", [_sources(metrics)]),
    ]
    lead = "What it takes to make these figures again. Hashes are shown in full."
    return Chapter("provenance", "Where it comes from", lead, blocks)


def _manifests(metrics: Metrics) -> Table:
    rows = [
        Row(
            [
                text_cell(one.name, look="name"),
                _hash(one.digest),
                count_cell(one.n_items),
                count_cell(one.n_real),
                count_cell(one.n_fake),
            ]
        )
        for one in metrics.manifests
    ]
    columns = ["manifest", "digest of its rows (SHA-256)", "items", "reals", "fakes"]
    return Table("What was judged", columns, rows, texts=2)


def _detectors(found: list[DetectorInfo]) -> Table:
    """Return what is known of detectors; what is known of none stands below, in a note."""
    told = [_told(one) for one in found]
    names = list(told[0]) if told else []
    known = [name for name in names if any(one[name] is not None for one in told)]
    rows = [
        Row(
            [
                text_cell(info.name, look="name"),
                *(_known(one[name], look="hash" if name == _WEIGHTS else "") for name in known),
            ],
            info.name,
        )
        for info, one in zip(found, told, strict=True)
    ]
    unknown = [name for name in names if name not in known]
    notes = [f"Unknown of all: {', '.join(unknown)}."] if unknown else []
    return Table("Who judged", ["detector", *known], rows, notes, texts=1 + len(known))


def _told(info: DetectorInfo) -> dict[str, str | None]:
    card = info.card or {}
    return {
        "preprocessing": info.preprocessing,
        "windows": info.windows,
        "trained on": _listed(card.get("trained_on")),
        "selected on": _listed(card.get("selected_on")),
        "licence": _listed(card.get("licence")),
        _WEIGHTS: info.weights_sha256,
    }


def _known(value: str | None, *, look: Look) -> Cell:
    return Cell(_UNKNOWN) if value is None else text_cell(value, look=look)


def _listed(value: object) -> str | None:
    """Return what a card says, in words: not knowing is not the same as nothing."""
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "nothing"
    return None if value is None else str(value)


def _settings(metrics: Metrics) -> Table:
    found = metrics.provenance
    shown = {
        "earwitness": found.earwitness,
        "Python": found.python,
        **found.libraries,
        **{name.replace("_", " "): value for name, value in found.settings.model_dump().items()},
    }
    rows = [Row([text_cell(name), text_cell(_said(value))]) for name, value in shown.items()]
    return Table("Versions and settings", ["what", "value"], rows, texts=2)


def _said(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None else f"{value}"


def _sources(metrics: Metrics) -> Table:
    rows = [
        Row(
            [
                text_cell(one.path, look="name"),
                text_cell(one.detector, look="name"),
                text_cell(one.dataset, look="name"),
                text_cell(one.role),
                _hash(one.sha256),
                count_cell(one.n_rows),
            ],
            one.detector,
        )
        for one in metrics.provenance.sources
    ]
    columns = ["file", "detector", "data set", "role", "SHA-256", "rows"]
    return Table("Files", columns, rows, texts=5)


def _hash(digest: str | None) -> Cell:
    return Cell(_UNKNOWN, None) if digest is None else Cell(digest, digest, look="hash")
