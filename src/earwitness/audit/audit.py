"""Is this data safe to judge detectors with? Every check, over manifests.

Conventions: every check of ``CHECKS`` stands in the report, those that were not made with the
reason why. All problems are collected; nothing stops at the first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from earwitness import __version__
from earwitness.audit.context import AuditContext, Outcome, make_context
from earwitness.audit.exposure import list_exposures
from earwitness.audit.feature_cache import FeatureCache, OnFileDone, extract_features
from earwitness.audit.schema import AuditedManifest, AuditReport, Role
from earwitness.audit.shortcuts.measures import list_nuisances
from earwitness.core.cards import DetectorCard
from earwitness.core.errors import StoppedError, UsageError
from earwitness.core.manifest import Manifest
from earwitness.core.registry import Registry
from earwitness.detectors.catalogue import look_up

Check = Callable[[AuditContext], list[Outcome]]
"""Takes what there is to look at; returns one outcome or more."""

CHECKS = Registry("check", UsageError)
"""Every kind of check, in the order of the table."""
CHECKS.add("readable", "earwitness.audit.files:check_readable")
CHECKS.add("path", "earwitness.audit.files:check_path")
CHECKS.add("name", "earwitness.audit.files:check_name")
CHECKS.add("bytes", "earwitness.audit.files:check_bytes")
CHECKS.add("packets", "earwitness.audit.files:check_packets")
CHECKS.add("samples", "earwitness.audit.files:check_samples")
CHECKS.add("near_duplicates", "earwitness.audit.near_duplicates.check:check_near_duplicates")
CHECKS.add("group", "earwitness.audit.groups:check_group")
CHECKS.add("track", "earwitness.audit.groups:check_track")
CHECKS.add("artist", "earwitness.audit.groups:check_artist")
CHECKS.add("video", "earwitness.audit.groups:check_video")
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
