"""``earwitness audit``."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from earwitness.cli import console
from earwitness.cli.options import comma_list, open_manifests, remark_on_manifests, weights_by_name

if TYPE_CHECKING:
    from earwitness.audit.schema import AuditReport
    from earwitness.core.manifest import Manifest


def audit(
    *,
    manifest: Annotated[
        list[str] | None,
        typer.Option(metavar="FILES", help="What is audited: manifests or a folder, by comma."),
    ] = None,
    against: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILES", help="What it must not touch, such as a training set; likewise."
        ),
    ] = None,
    detector: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAMES",
            help="Detectors whose exposure is told from their cards, by comma; weights are not "
            "needed.",
        ),
    ] = None,
    weights: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=PATH", help="Where weights lie, if a card depends on them."),
    ] = None,
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Where audit.json and findings.csv go.")
    ] = Path("audit"),
    fix: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write the one audited manifest without rows that offend; what was dropped, and "
            "why, goes to <name>_dropped.csv beside it.",
        ),
    ] = None,
    root: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder that relative paths in the manifests start from."),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit 1 when anything was found.")
    ] = False,
    num_workers: Annotated[
        int | None,
        typer.Option(min=0, metavar="N", help="Decoding processes; 0 decodes in this one."),
    ] = None,
) -> None:
    """Find leakage and shortcuts in manifests, before a score is believed.

    Contact with other sets and inside one, by path, bytes, packets, samples, sound and origin;
    what detectors met of it when they were made; files that cannot be heard. Every check passes,
    finds something, or says why it was not made.
    """
    from earwitness.audit.audit import AuditOptions, audit_into, find_cards
    from earwitness.audit.tables import audit_table
    from earwitness.core.errors import UsageError

    audited = open_manifests(manifest, root)
    others = open_manifests(against, root) if against else []
    if fix is not None and len(audited) != 1:
        raise UsageError(f"--fix {fix}: {len(audited)} manifests, expected exactly one")
    detectors = comma_list(detector)
    options = AuditOptions(
        detectors=detectors,
        weights=weights_by_name(weights, detectors),
        n_workers=num_workers,
    )
    find_cards(detectors, weights=options.weights)
    remark_on_manifests([*audited, *others])
    with ExitStack() as stack:
        report = audit_into(
            audited,
            out,
            against=others,
            options=options,
            starting=lambda n: stack.enter_context(console.progress_bar("hearing", n)),
        )
    console.out.print(audit_table(report))
    if fix is not None:
        _write_fixed(report, audited[0], fix)
    _finish(report, out, strict=strict)


def _write_fixed(report: AuditReport, manifest: Manifest, path: Path) -> None:
    from earwitness.audit.audit import dropped_beside, write_fixed

    dropped = write_fixed(report, manifest, path)
    n_kept = console.thousands(len(manifest) - dropped.height)
    console.out.print(
        f"rows kept: {n_kept} in {path}; dropped: {console.thousands(dropped.height)}, see "
        f"{dropped_beside(path)}",
        markup=False,
    )


def _finish(report: AuditReport, out: Path, *, strict: bool) -> None:
    """Say how it went, and exit 1 where that was asked for."""
    n_open = sum(check.verdict == "not checked" for check in report.checks)
    n_passed = len(report.checks) - report.n_findings - n_open
    console.out.print(
        f"\nchecks with findings: {report.n_findings}, passed: {n_passed}, not made: {n_open}; "
        f"written to {out}",
        markup=False,
    )
    if strict and report.n_findings:
        raise typer.Exit(1)
