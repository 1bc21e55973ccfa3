"""Audit manifests: run every check, and write ``audit.json`` and its tables into a folder.

Other packages add checks by entry points in the group ``earwitness.checks``. The files are
described in docs/audit-json.md; ``store/`` has the features of every file, for the next run.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import replace
from pathlib import Path

import polars as pl

from earwitness import __version__
from earwitness.audit.checks import AuditContext, CheckSpec, Outcome, make_context, not_checked
from earwitness.audit.exposure import list_exposures
from earwitness.audit.features import (
    VERSION,
    FeatureCache,
    OnFileDone,
    extract_features,
    join_caches,
)
from earwitness.audit.schema import AUDIT_JSON, AuditedManifest, AuditReport, Finding, write_audit
from earwitness.audit.scratch import DEFAULT_BYTES, Scratch
from earwitness.audit.shortcuts import list_nuisances
from earwitness.audit.tables import write_tables
from earwitness.core.cards import DetectorCard
from earwitness.core.errors import AuditError, StoppedError, UsageError
from earwitness.core.io import atomic_write
from earwitness.core.manifest import Manifest
from earwitness.core.registry import Registry, summarize_error
from earwitness.detectors.loading import look_up
from earwitness.scoring.file_shards import ShardState, joined_shards, shard_pass
from earwitness.scoring.shards import Shard
from earwitness.scoring.store import STORE_FOLDER, locked
from earwitness.scoring.workers import held_interrupts
from earwitness.splits.manifests import write_manifest

CHECKS = Registry("check", UsageError, group="earwitness.checks")
"""All checks, in the order of the report."""
CHECKS.add("readable", "earwitness.audit.balance:check_readable")
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
CHECKS.add("alone", "earwitness.audit.shortcuts:check_alone")
CHECKS.add("baselines", "earwitness.audit.shortcuts:check_baselines")

_SETTINGS = {"features": VERSION}
"""What decides the features of a file; shards that differ are not joined."""


def audit(
    manifests: Manifest | Sequence[Manifest],
    *,
    against: Sequence[Manifest] = (),
    detectors: Sequence[str | DetectorCard] = (),
    weights: Mapping[str, Path] | None = None,
    store: Path | None = None,
    memory: int = DEFAULT_BYTES,
    n_workers: int | None = None,
    advance: OnFileDone | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> AuditReport:
    """Check manifests for overlap, exposure and shortcuts.

    Args:
        manifests: One audited manifest or several.
        against: Sets that these must not overlap, such as a training set.
        detectors: Names, hub ids, folders or cards of detectors whose exposure is checked.
        weights: Paths of weights by detector name, where a card depends on them.
        store: Folder that caches the features of files.
        memory: Limit in bytes for fingerprints and their search; beyond it temporary files are
            used. What is found does not depend on it.
        n_workers: Number of decoding processes; see ``map_tasks``.
        advance: Called after every file, with whether it could be decoded.
        should_stop: Called before every file and after every check; once it is true, only files in
            work are finished.

    Raises:
        UsageError: No manifest, or too little memory.
        DetectorError: No such detector.
        StoppedError: ``should_stop`` was true; features so far are kept in ``store``.
    """
    audited = [manifests] if isinstance(manifests, Manifest) else list(manifests)
    if not any(len(manifest) for manifest in audited):
        raise UsageError("no rows to audit, expected a manifest with at least one item")
    context = make_context(audited, against, find_cards(detectors, weights=weights))
    context = replace(context, scratch=Scratch(memory, store))
    files = context.rows["file"].unique(maintain_order=True).to_list()
    with FeatureCache(store, context.scratch) as cache:
        features = extract_features(
            files, cache, n_workers=n_workers, on_file_done=advance, should_stop=should_stop
        )
    if len(features) < len(files):
        raise _stopped(store)
    context = replace(context, features=features)
    outcomes: list[Outcome] = []
    for name in CHECKS:
        outcomes += _run_check(name, context, {one.result.name for one in outcomes})
        if should_stop():
            raise _stopped(store)
    return AuditReport(
        earwitness=__version__,
        manifests=list(_describe(context)),
        detectors=[card.name for card in context.cards],
        checks=[outcome.result for outcome in outcomes],
        findings=tuple(finding for outcome in outcomes for finding in outcome.findings),
        links=tuple(link for outcome in outcomes for link in outcome.links),
        exposures=tuple(list_exposures(context)),
        nuisances=tuple(list_nuisances(context)),
    )


def _run_check(name: str, context: AuditContext, taken: Set[str]) -> list[Outcome]:
    """Return the outcomes of a check; a plug-in that fails is "not checked"."""
    if CHECKS.is_built_in(name):
        outcomes: list[Outcome] = CHECKS.load(name)(context)
        return outcomes
    try:
        outcomes = list(CHECKS.load(name)(context))
        if not outcomes or not all(isinstance(one, Outcome) for one in outcomes):
            raise UsageError(f"check {name!r}: expected a list of Outcome")
        if repeated := taken & {one.result.name for one in outcomes}:
            raise UsageError(f"check {name!r}: there is another result named {min(repeated)!r}")
    except UsageError as error:
        problem = str(error)
    except Exception as error:  # noqa: BLE001 - a fault of another package's code
        problem = f"check {name!r}: {summarize_error(error)}"
    else:
        return outcomes
    spec = CheckSpec(name, f"check {name!r} of another package", "rows", "")
    return [not_checked(spec, problem, n_unchecked=context.audited_rows.height)]


def find_cards(
    detectors: Sequence[str | DetectorCard], *, weights: Mapping[str, Path] | None = None
) -> list[DetectorCard]:
    """Return the cards of detectors, see ``audit``; nothing is downloaded.

    Raises:
        DetectorError: No such detector.
        WeightsError: A folder without a detector.
    """
    cards = [
        look_up(one, weights=weights).card if isinstance(one, str) else one for one in detectors
    ]
    return [card for card in cards if card is not None]


def _stopped(store: Path | None) -> StoppedError:
    kept = f"features are kept in {store}; run the same command to continue"
    return StoppedError(f"stopped; {kept if store else 'nothing is kept without a store'}")


def _describe(context: AuditContext) -> Iterator[AuditedManifest]:
    for number, manifest in enumerate(context.manifests):
        targets = manifest.frame["target"]
        yield AuditedManifest(
            name=manifest.name,
            digest=manifest.digest,
            role="audited" if number < context.n_audited else "against",
            n_rows=len(manifest),
            n_real=int((targets == 0).sum()),
            n_fake=int((targets == 1).sum()),
            roots=[root.absolute().as_posix() for root in manifest.roots],
        )


def audit_into(
    manifests: Sequence[Manifest],
    out: Path,
    *,
    against: Sequence[Manifest] = (),
    detectors: Sequence[str | DetectorCard] = (),
    weights: Mapping[str, Path] | None = None,
    memory: int = DEFAULT_BYTES,
    n_workers: int | None = None,
    on_start: Callable[[int], OnFileDone] | None = None,
) -> AuditReport:
    """Audit manifests and write the results into a folder; for the arguments see ``audit``.

    ``on_start`` is called with the number of files and returns the callback of every file.

    Raises:
        UsageError: Two manifests have one name.
        DetectorError: No such detector.
        RunError: The folder is in use, or cannot be written; a shard is missing or unfinished.
        StoppedError: Ctrl-C was pressed; features so far are kept.
    """
    cards = find_cards(detectors, weights=weights)
    context = make_context(manifests, against, ())
    advance = None
    with (
        locked(out),
        joined_shards(out, context.manifests, _SETTINGS) as shards,
        held_interrupts() as should_stop,
    ):
        if on_start:
            advance = on_start(context.rows["file"].n_unique())
        join_caches(out / STORE_FOLDER, [shard / STORE_FOLDER for shard in shards])
        report = audit(
            manifests,
            against=against,
            detectors=cards,
            store=out / STORE_FOLDER,
            memory=memory,
            n_workers=n_workers,
            advance=advance,
            should_stop=should_stop,
        )
        write_tables(report, out)
        write_audit(report, out / AUDIT_JSON)
    return report


def extract_shard(
    manifests: Sequence[Manifest],
    out: Path,
    shard: Shard,
    *,
    against: Sequence[Manifest] = (),
    memory: int = DEFAULT_BYTES,
    n_workers: int | None = None,
    on_start: Callable[[int], OnFileDone],
    command: Sequence[str] = (),
) -> ShardState:
    """Extract the features of a shard's files for ``audit_into``, which runs the checks.

    For ``command`` see ``ShardState``; for the other arguments and errors, ``audit_into``.
    """
    sets = make_context(manifests, against, ()).manifests
    with (
        shard_pass(out, shard, sets, _SETTINGS, command) as part,
        held_interrupts() as should_stop,
        FeatureCache(store := part.folder / STORE_FOLDER, Scratch(memory, store)) as cache,
    ):
        extract_features(
            part.files,
            cache,
            n_workers=n_workers,
            on_file_done=part.counting(on_start(len(part.files))),
            should_stop=should_stop,
        )
    if part.state.n_done < len(part.files):
        raise _stopped(store)
    return part.state


def write_fixed(report: AuditReport, manifest: Manifest, path: Path) -> tuple[int, Path]:
    """Write an audited manifest without the rows to drop; return their number and their file.

    Paths become absolute unless they are relative to the folder of the new file.

    Raises:
        AuditError: No row would be left.
    """
    rest, dropped = drop_flagged(manifest, report.findings)
    if manifest.moved or path.parent.absolute() not in manifest.roots:
        located = [os.fspath(file.absolute()) for file in rest.locate_all()]
        frame = rest.frame.with_columns(pl.Series("filepath", located, dtype=pl.String))
        rest = replace(rest, frame=frame)
    beside = path.with_name(f"{path.stem}_dropped.csv")
    with atomic_write(beside) as temporary:
        dropped.write_csv(temporary)
    write_manifest(rest, path)
    return dropped.height, beside


def drop_flagged(manifest: Manifest, findings: Iterable[Finding]) -> tuple[Manifest, pl.DataFrame]:
    """Return the kept rows, and ``row, filepath, target, checks, reasons`` of dropped ones.

    Raises:
        AuditError: No row would be left.
    """
    by_row: dict[int, list[Finding]] = {}
    for finding in findings:
        if finding.drop and finding.manifest == manifest.name:
            by_row.setdefault(finding.row, []).append(finding)
    if len(by_row) == len(manifest):
        raise AuditError(
            f"{manifest.name}: all {len(manifest)} rows are flagged and none would be left; "
            "expected one without a finding"
        )
    numbered = manifest.frame.with_row_index("_row", offset=1)
    rest = numbered.filter(~pl.col("_row").is_in(list(by_row))).drop("_row")
    dropped = [
        (
            row,
            own[0].filepath,
            own[0].target,
            ", ".join(finding.check for finding in own),
            "; ".join(_describe_reason(finding) for finding in own),
        )
        for row, own in sorted(by_row.items())
    ]
    columns = {"row": pl.Int64, "filepath": pl.String, "target": pl.Int64}
    columns |= {"checks": pl.String, "reasons": pl.String}
    return replace(manifest, frame=rest), pl.DataFrame(dropped, schema=columns, orient="row")


def _describe_reason(finding: Finding) -> str:
    if finding.other_filepath is None:
        return finding.detail
    return f"{finding.detail}: {finding.other_manifest} {finding.other_filepath}"
