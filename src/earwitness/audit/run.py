"""An audit into a folder, and a manifest without what it found.

The folder::

    audit.json     every check, see docs/audit-json.md
    findings.csv   rows that offend, one line a row and reason
    links.csv      pairs that sound alike, where there are any
    exposure.csv   what each detector met of each row, where detectors were named
    nuisances.csv  what each row's file gives away: duration, rate, level, silence, band, …
    store/         what was heard of every file, so that the next call goes on
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from earwitness.audit.audit import audit, count_files, find_cards
from earwitness.audit.feature_cache import OnFileDone
from earwitness.audit.schema import AUDIT_JSON, AuditReport, Finding, write_audit
from earwitness.audit.tables import write_tables
from earwitness.core.cards import DetectorCard
from earwitness.core.errors import AuditError
from earwitness.core.io import atomic_write
from earwitness.core.manifest import Manifest
from earwitness.scoring.interrupts import held_interrupts
from earwitness.scoring.store import STORE_FOLDER, locked
from earwitness.splits.manifests import write_manifest

OnStart = Callable[[int], OnFileDone]
"""Told how many files are to be heard; returns what is told of each."""


@dataclass(frozen=True)
class AuditOptions:
    """How to audit; see ``audit``.

    Attributes:
        detectors: Whose exposure is asked after: names or cards, see ``audit``.
        weights: Where the weights of detectors given by name lie.
        n_workers: Processes that hear files.
    """

    detectors: Sequence[str | DetectorCard] = ()
    weights: Mapping[str, Path] | None = None
    n_workers: int | None = None


def audit_into(
    manifests: Sequence[Manifest],
    out: Path,
    *,
    against: Sequence[Manifest] = (),
    options: AuditOptions | None = None,
    starting: OnStart | None = None,
) -> AuditReport:
    """Audit manifests and write a folder, see above.

    Args:
        manifests: What is audited.
        out: The folder.
        against: Sets that these must not touch.
        options: How to audit.
        starting: Told how many files there are to hear; returns what is told of each.

    Raises:
        UsageError: Two manifests go by one name.
        DetectorError: A name that is no detector's.
        RunError: The folder is in use, or cannot be written.
        StoppedError: Ctrl-C was pressed; what was heard is kept.
    """
    options = options or AuditOptions()
    cards = find_cards(options.detectors, weights=options.weights)
    with locked(out), held_interrupts() as should_stop:
        report = audit(
            manifests,
            against=against,
            detectors=cards,
            store=out / STORE_FOLDER,
            n_workers=options.n_workers,
            advance=starting(count_files(manifests, against)) if starting else None,
            should_stop=should_stop,
        )
        write_tables(report, out)
        write_audit(report, out / AUDIT_JSON)
    return report


def write_fixed(report: AuditReport, manifest: Manifest, path: Path) -> pl.DataFrame:
    """Write the rows of an audited manifest that may stay, and beside them what was dropped.

    Paths stay as they are where the file lies in a folder that they start from; elsewhere they
    become absolute.

    Returns:
        What was dropped, as ``<name>_dropped.csv`` holds it.

    Raises:
        AuditError: No row may stay.
    """
    rest, dropped = drop_offenders(manifest, report.findings)
    if manifest.moved or path.parent.absolute() not in manifest.roots:
        located = [file.absolute().as_posix() for file in rest.locate_all()]
        frame = rest.frame.with_columns(pl.Series("filepath", located, dtype=pl.String))
        rest = replace(rest, frame=frame)
    with atomic_write(dropped_beside(path)) as temporary:
        dropped.write_csv(temporary)
    write_manifest(rest, path)
    return dropped


def dropped_beside(path: Path) -> Path:
    """Return where what was dropped is written down for a fixed manifest."""
    return path.with_name(f"{path.stem}_dropped.csv")


def drop_offenders(
    manifest: Manifest, findings: Iterable[Finding]
) -> tuple[Manifest, pl.DataFrame]:
    """Return the rows that no finding says to drop, and those that were dropped, with reasons.

    Findings that dropping does not mend (groups that should be joined, pairs that may be chance)
    leave their rows.

    Args:
        manifest: What was audited.
        findings: What was found in it.

    Returns:
        The rest, and ``row, filepath, target, checks, reasons`` of what was dropped.

    Raises:
        AuditError: Nothing would be left.
    """
    reasons: dict[int, list[Finding]] = {}
    for finding in findings:
        if finding.drop and finding.manifest == manifest.name:
            reasons.setdefault(finding.row, []).append(finding)
    if len(reasons) == len(manifest):
        raise AuditError(
            f"{manifest.name}: all {len(manifest)} rows offend and none would be left; "
            "expected one without a finding"
        )
    numbered = manifest.frame.with_row_index("_row", offset=1)
    rest = numbered.filter(~pl.col("_row").is_in(list(reasons))).drop("_row")
    dropped = [
        (
            row,
            told[0].filepath,
            told[0].target,
            ", ".join(finding.check for finding in told),
            "; ".join(_reason(finding) for finding in told),
        )
        for row, told in sorted(reasons.items())
    ]
    columns = {"row": pl.Int64, "filepath": pl.String, "target": pl.Int64}
    columns |= {"checks": pl.String, "reasons": pl.String}
    return (
        replace(manifest, frame=rest),
        pl.DataFrame(dropped, schema=columns, orient="row"),
    )


def _reason(finding: Finding) -> str:
    if finding.other_filepath is None:
        return finding.detail
    return f"{finding.detail}: {finding.other_manifest} {finding.other_filepath}"
