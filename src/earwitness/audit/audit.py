"""Is this data safe to judge detectors with? Every check, over manifests.

Conventions: every check of ``CHECKS`` stands in the report, those that were not made with the
reason why. All problems are collected; nothing stops at the first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from earwitness import __version__
from earwitness.audit.checks import AuditContext, Outcome, make_context
from earwitness.audit.exposure import list_exposures
from earwitness.audit.features import FeatureCache, OnFileDone, extract_features
from earwitness.audit.schema import (
    AUDIT_JSON,
    AuditedManifest,
    AuditReport,
    Finding,
    Role,
    write_audit,
)
from earwitness.audit.shortcuts.measures import list_nuisances
from earwitness.audit.tables import write_tables
from earwitness.core.cards import DetectorCard
from earwitness.core.errors import AuditError, StoppedError, UsageError
from earwitness.core.io import atomic_write
from earwitness.core.manifest import Manifest
from earwitness.core.registry import Registry
from earwitness.detectors.catalogue import look_up
from earwitness.scoring.interrupts import held_interrupts
from earwitness.scoring.store import STORE_FOLDER, locked
from earwitness.splits.manifests import write_manifest

Check = Callable[[AuditContext], list[Outcome]]
"""Takes what there is to look at; returns one outcome or more."""

CHECKS = Registry("check", UsageError)
"""Every kind of check, in the order of the table."""
CHECKS.add("readable", "earwitness.audit.overlap:check_readable")
CHECKS.add("path", "earwitness.audit.overlap:check_path")
CHECKS.add("name", "earwitness.audit.overlap:check_name")
CHECKS.add("bytes", "earwitness.audit.overlap:check_bytes")
CHECKS.add("packets", "earwitness.audit.overlap:check_packets")
CHECKS.add("samples", "earwitness.audit.overlap:check_samples")
CHECKS.add("near_duplicates", "earwitness.audit.near_duplicates.check:check_near_duplicates")
CHECKS.add("group", "earwitness.audit.overlap:check_group")
CHECKS.add("track", "earwitness.audit.overlap:check_track")
CHECKS.add("artist", "earwitness.audit.overlap:check_artist")
CHECKS.add("video", "earwitness.audit.overlap:check_video")
CHECKS.add("exposure", "earwitness.audit.exposure:check_exposure")
CHECKS.add("balance", "earwitness.audit.balance:check_balance")
CHECKS.add("one_class", "earwitness.audit.balance:check_one_class")
CHECKS.add("band", "earwitness.audit.balance:check_band")
CHECKS.add("alone", "earwitness.audit.shortcuts.single:check_alone")
CHECKS.add("baselines", "earwitness.audit.shortcuts.combined:check_baselines")


def audit(
    manifests: Manifest | Sequence[Manifest],
    *,
    against: Sequence[Manifest] = (),
    detectors: Sequence[str | DetectorCard] = (),
    weights: Mapping[str, Path] | None = None,
    store: Path | None = None,
    n_workers: int | None = None,
    advance: OnFileDone | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> AuditReport:
    """Look for contact, exposure and shortcuts in manifests.

    Args:
        manifests: What is audited, one manifest or several.
        against: Sets that these must not touch, such as a training set.
        detectors: Whose exposure is asked after: names, hub ids or folders, or cards.
        weights: Where the weights of detectors given by name lie; they are not needed.
        store: Folder that keeps what was heard of files, so that the next call goes on.
        n_workers: Processes that hear files; see ``map_tasks``.
        advance: Told of every file that is done.
        should_stop: Asked before every file and after every check; once it says so, only what is in
            hand is finished.

    Raises:
        UsageError: No manifest.
        DetectorError: A name that is no detector's.
        StoppedError: It was stopped; what was heard is kept in ``store``.
    """
    audited = [manifests] if isinstance(manifests, Manifest) else list(manifests)
    if not any(len(manifest) for manifest in audited):
        raise UsageError("no rows to audit, expected a manifest with at least one item")
    scene = make_context(audited, against, find_cards(detectors, weights=weights))
    scene = _hear(scene, store, n_workers, advance, should_stop)
    outcomes = list(_check(scene, store, should_stop))
    return AuditReport(
        earwitness=__version__,
        manifests=_describe(scene),
        detectors=[card.name for card in scene.cards],
        checks=[outcome.result for outcome in outcomes],
        findings=tuple(finding for outcome in outcomes for finding in outcome.findings),
        links=tuple(link for outcome in outcomes for link in outcome.links),
        exposures=tuple(list_exposures(scene)),
        nuisances=tuple(list_nuisances(scene)),
    )


def find_cards(
    detectors: Sequence[str | DetectorCard], *, weights: Mapping[str, Path] | None = None
) -> list[DetectorCard]:
    """Return the cards of detectors, see ``audit``; nothing is downloaded.

    Raises:
        DetectorError: A name that is no detector's.
        WeightsError: A folder that holds no detector.
    """
    cards = [
        look_up(one, weights=weights).card if isinstance(one, str) else one for one in detectors
    ]
    return [card for card in cards if card is not None]


def count_files(manifests: Sequence[Manifest], against: Sequence[Manifest] = ()) -> int:
    """Return how many files ``audit`` will tell ``advance`` of."""
    return make_context(manifests, against, ()).rows["file"].n_unique()


def _hear(
    scene: AuditContext,
    folder: Path | None,
    n_workers: int | None,
    advance: OnFileDone | None,
    should_stop: Callable[[], bool],
) -> AuditContext:
    files = scene.rows["file"].unique(maintain_order=True).to_list()
    with FeatureCache(folder) as store:
        heard = extract_features(
            files, store, n_workers=n_workers, advance=advance, should_stop=should_stop
        )
    if len(heard) < len(files):
        raise _stopped(folder)
    return replace(scene, sounds=heard)


def _check(
    scene: AuditContext, folder: Path | None, should_stop: Callable[[], bool]
) -> Iterator[Outcome]:
    for name in CHECKS:
        yield from CHECKS.load(name)(scene)
        if should_stop():
            raise _stopped(folder)


def _stopped(folder: Path | None) -> StoppedError:
    kept = f"what was heard is kept in {folder}; the same command goes on"
    return StoppedError(f"stopped; {kept if folder else 'nothing is kept without a store'}")


def _describe(scene: AuditContext) -> list[AuditedManifest]:
    described = []
    for number, manifest in enumerate(scene.manifests):
        role: Role = "audited" if number < scene.n_audited else "against"
        targets = manifest.frame["target"]
        described.append(
            AuditedManifest(
                name=manifest.name,
                digest=manifest.digest,
                role=role,
                n_rows=len(manifest),
                n_real=int((targets == 0).sum()),
                n_fake=int((targets == 1).sum()),
                roots=[root.absolute().as_posix() for root in manifest.roots],
            )
        )
    return described


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
