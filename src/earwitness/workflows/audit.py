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

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from earwitness.auditing.audit import audit, count_files, find_cards
from earwitness.auditing.fixing import drop_offenders
from earwitness.auditing.hearing import Advance
from earwitness.core.audits import AUDIT_JSON, AuditReport, write_audit
from earwitness.core.cards import DetectorCard
from earwitness.core.files import replacing
from earwitness.core.manifest import Manifest
from earwitness.manifests.files import write_manifest
from earwitness.passes.interrupts import held_interrupts
from earwitness.passes.store import STORE_FOLDER, locked
from earwitness.reporting.audits import write_tables

Starting = Callable[[int], Advance]
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
    starting: Starting | None = None,
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
    with locked(out), held_interrupts() as stopping:
        report = audit(
            manifests,
            against=against,
            detectors=cards,
            store=out / STORE_FOLDER,
            n_workers=options.n_workers,
            advance=starting(count_files(manifests, against)) if starting else None,
            stopping=stopping,
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
    with replacing(dropped_beside(path)) as temporary:
        dropped.write_csv(temporary)
    write_manifest(rest, path)
    return dropped


def dropped_beside(path: Path) -> Path:
    """Return where what was dropped is written down for a fixed manifest."""
    return path.with_name(f"{path.stem}_dropped.csv")
