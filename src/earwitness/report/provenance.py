"""Sections on coverage, checks, the audit and provenance."""

from __future__ import annotations

from earwitness.audit.schema import Verdict
from earwitness.audit.tables import group_results
from earwitness.evaluation.schema import DetectorInfo, Metrics
from earwitness.evaluation.slices import Slice
from earwitness.report.blocks import Block, Details, Note, Section
from earwitness.report.headline import audit_mismatch
from earwitness.report.tables import (
    Cell,
    Column,
    Table,
    make_row,
    name_cell,
    number_columns,
    text_cell,
    text_columns,
)

_UNKNOWN = Cell("unknown")
_WEIGHTS = "weights (SHA-256)"


def coverage(metrics: Metrics) -> Section:
    """Return the numbers of rows scored and lost, with reasons."""
    parts = overall = metrics.where(kind="overall")
    data_sets = metrics.where(kind="dataset")
    if len({part.name for part in data_sets}) > 1 or not parts:
        parts = parts + data_sets
    abstentions = [(part.detector, part.coverage.abstentions) for part in overall]
    errors = [(part.detector, part.coverage.errors) for part in overall]
    reasons = (
        _reasons("Abstentions", "reason", abstentions),
        _reasons("Most frequent errors", "error", errors),
    )
    lead = (
        "A detector abstains from files with nothing to analyse, such as digital silence. Failed "
        "rows have an error instead of a score; missing rows were scored only by another detector. "
        "All of these are excluded from every metric."
    )
    table = _coverage_table(parts, has_groups=metrics.basis != "counts")
    blocks = [table, *(table for table in reasons if table.rows)]
    return Section("coverage", "Coverage and failures", lead, blocks)


def _coverage_table(parts: list[Slice], *, has_groups: bool) -> Table:
    counted = {
        "items": "n_items",
        "scored": "n_scored",
        "abstained": "n_abstained",
        "failed": "n_failed",
        "missing": "n_missing",
        "reals": "n_real",
        "fakes": "n_fake",
    }
    if has_groups:
        counted |= {"reals lost": "n_real_lost", "fakes lost": "n_fake_lost", "groups": "n_groups"}
    rows = [
        make_row(
            "all items" if part.kind == "overall" else name_cell(part.name),
            name_cell(part.detector),
            *(getattr(part.coverage, name) for name in counted.values()),
            detector=part.detector,
        )
        for part in parts
    ]
    columns = [*text_columns("data set", "detector"), *number_columns(*counted)]
    notes = (
        [] if has_groups else ["Groups, and the classes of lost items, are not known from counts."]
    )
    return Table("Rows behind the metrics", columns, rows, notes)


def _reasons(title: str, what: str, counted: list[tuple[str, dict[str, int]]]) -> Table:
    rows = [
        make_row(name_cell(detector), why, n, detector=detector)
        for detector, reasons in counted
        for why, n in reasons.items()
    ]
    return Table(title, [*text_columns("detector", what), Column("items")], rows)


def checks(metrics: Metrics) -> Section | None:
    """Return the checks and notes of the evaluation; ``None`` without any."""
    blocks: list[Block] = [
        Note(check.detail, "warning", check.detector or "all detectors", check.detector)
        for check in metrics.checks
        if check.verdict == "warning"
    ]
    blocks += [Note(note) for note in metrics.notes]
    if metrics.checks:
        rows = [
            make_row(
                name_cell(check.detector) if check.detector else "all",
                check.name.replace("_", " "),
                text_cell(check.verdict, tone=check.verdict),
                check.detail,
                detector=check.detector,
            )
            for check in metrics.checks
        ]
        columns = text_columns("detector", "check", "verdict", "result")
        blocks.append(Table("Checks", columns, rows))
    lead = "Automatic checks of the data and the scores behind these metrics."
    return Section("checks", "Checks and notes", lead, blocks) if blocks else None


def audit(metrics: Metrics) -> Section | None:
    """Return the audit's checks; ``None`` without an audit."""
    report = metrics.audit
    if report is None:
        return None
    n_checks, n_found = len(report.checks), report.n_findings
    n_passed = sum(check.verdict == "pass" for check in report.checks)
    n_skipped = n_checks - n_found - n_passed
    blocks: list[Block] = [Note(why, "warning") for why in audit_mismatch(metrics)]
    if found := group_results(report.checks, "finding"):
        rows = [
            make_row(one.title, text_cell(one.detail, tone="warning"), one.advice, one.n_rows)
            for one in found
        ]
        columns = [*text_columns("check", "finding", "recommendation"), Column("rows")]
        blocks.append(Table("Findings", columns, rows))
    folded: tuple[tuple[str, int, Verdict, str], ...] = (
        ("Passed", n_passed, "pass", "Checks without findings"),
        ("Not checked", n_skipped, "not checked", "Checks that were not run, and why"),
    )
    for summary, n, verdict, caption in folded:
        if n:
            groups = group_results(report.checks, verdict)
            rows = [make_row(one.title, one.detail, one.n_checked) for one in groups]
            columns = [*text_columns("check", "result"), Column("rows checked")]
            blocks.append(Details(f"{summary}: {n}", [Table(caption, columns, rows)]))
    lead = (
        "Is the evaluation data free of leakage and shortcuts? "
        f"{n_found} of {n_checks} checks have findings, {n_passed} passed, "
        f"{n_skipped} were not run. The flagged rows are in findings.csv, next to audit.json."
    )
    return Section("audit", "Audit", lead, blocks)


def provenance(metrics: Metrics) -> Section:
    """Return the inputs, versions and settings of the metrics."""
    blocks: list[Block] = [
        _manifests(metrics),
        _detectors(metrics.detectors),
        Details("Versions and settings", [_settings(metrics)]),
        Details("Source files", [_sources(metrics)]),
    ]
    lead = "What is needed to reproduce these metrics. Hashes are shown in full."
    return Section("provenance", "Provenance", lead, blocks)


def _manifests(metrics: Metrics) -> Table:
    rows = [
        make_row(name_cell(one.name), _hash_cell(one.digest), one.n_items, one.n_real, one.n_fake)
        for one in metrics.manifests
    ]
    columns = text_columns("manifest", "digest of its rows (SHA-256)")
    return Table("Data sets", [*columns, *number_columns("items", "reals", "fakes")], rows)


def _detectors(found: list[DetectorInfo]) -> Table:
    """Return the known facts of each detector; a note lists facts unknown for all."""
    facts = [_facts(one) for one in found]
    names = list(facts[0]) if facts else []
    known = [name for name in names if any(one[name] is not None for one in facts)]
    rows = [
        make_row(
            name_cell(info.name),
            *(_fact_cell(name, one[name]) for name in known),
            detector=info.name,
        )
        for info, one in zip(found, facts, strict=True)
    ]
    unknown = [name for name in names if name not in known]
    notes = [f"Unknown for all: {', '.join(unknown)}."] if unknown else []
    return Table("Detectors", text_columns("detector", *known), rows, notes)


def _facts(info: DetectorInfo) -> dict[str, str | None]:
    card = info.card or {}
    return {
        "preprocessing": info.preprocessing,
        "windows": info.windows,
        "trained on": _join(card.get("trained_on"), empty="nothing"),
        "selected on": _join(card.get("selected_on"), empty="nothing"),
        "licence": _join(card.get("licence"), empty="nothing"),
        _WEIGHTS: info.weights_sha256,
    }


def _fact_cell(name: str, value: str | None) -> Cell:
    if name == _WEIGHTS:
        return _hash_cell(value)
    return _UNKNOWN if value is None else text_cell(value)


def _join(value: object, *, empty: str) -> str | None:
    """Return a value as text; unknown (``None``) is not the same as an empty list."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or empty
    return None if value is None else str(value)


def _settings(metrics: Metrics) -> Table:
    found = metrics.provenance
    shown: dict[str, object] = {
        "earwitness": found.earwitness,
        "Python": found.python,
        **found.libraries,
        **{name.replace("_", " "): value for name, value in found.settings.model_dump().items()},
    }
    rows = [make_row(name, _join(value, empty="none") or "none") for name, value in shown.items()]
    return Table("Versions and settings", text_columns("name", "value"), rows)


def _sources(metrics: Metrics) -> Table:
    rows = [
        make_row(
            *map(name_cell, (one.path, one.detector, one.dataset)),
            one.role,
            _hash_cell(one.sha256),
            one.n_rows,
            detector=one.detector,
        )
        for one in metrics.provenance.sources
    ]
    columns = text_columns("file", "detector", "data set", "role", "SHA-256")
    return Table("Source files", [*columns, Column("rows")], rows)


def _hash_cell(digest: str | None) -> Cell:
    return _UNKNOWN if digest is None else text_cell(digest, look="hash")
