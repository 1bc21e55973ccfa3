"""What is known of one file and what detectors give for it, gathered for a dossier.

Conventions: a detector's error is the share of reals that it flags, abstentions not flagged; a
likelihood ratio is of fake against real, and bounded by the number of reals it was fitted on.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from earwitness.audio.decode import AudioInfo, probe_audio, scan_packets
from earwitness.audit.audit import audit
from earwitness.audit.features import FileFeatures, extract_file_features
from earwitness.core.cards import DetectorCard
from earwitness.core.errors import UsageError
from earwitness.core.estimate import Estimate
from earwitness.core.io import sha256_of
from earwitness.core.manifest import Manifest
from earwitness.detectors.base import AnyDetector
from earwitness.evaluation.calibration import fit_scaling
from earwitness.evaluation.estimates import estimate_rate
from earwitness.evaluation.identity import deduplicate
from earwitness.evaluation.rows import Inputs, find_run, items_of, load_rows, open_sources
from earwitness.listen.content_credentials import Credentials, read_credentials
from earwitness.listen.listen import listen
from earwitness.listen.results import DetectorResult, SongResult
from earwitness.listen.song_sections import Recoded
from earwitness.perturb.copies import write_copies
from earwitness.perturb.suites import Suite

CONFIDENCE = 0.95
_EXACT = {
    "bytes_across": "the same bytes",
    "packets_across": "the same compressed audio",
    "samples_across": "the same samples",
}
_SOUNDS = {"copy": "the same recording", "version": "another version"}
LIKE_S = 2.0
"""Reals of at most this many times the length, and at least its inverse, are of similar length."""


class MeasuredError(NamedTuple):
    """Reals of one kind in a reference that a detector flags."""

    detector: str
    reals: str
    fpr: Estimate


class LikelihoodRatio(NamedTuple):
    """How much likelier a score is for fakes than for reals, by Platt scaling.

    Attributes:
        log10: Decimal logarithm, within the bound.
        bound_log10: Bound of its size: that of the number of reals, or of fakes if fewer.
        n_real: Reals of the fit.
        n_fake: Fakes of the fit.
    """

    detector: str
    log10: float
    bound_log10: float
    n_real: int
    n_fake: int


class Match(NamedTuple):
    """A file with the same music.

    Attributes:
        path: The file.
        relation: What is the same.
        n_others: Files that are the same in this way, with this one.
        similarity: Of both recordings, at most 1; ``None`` if not measured.
        offset_s: Start of the other in it; ``None`` if not measured.
    """

    path: str
    relation: str
    n_others: int = 1
    similarity: float | None = None
    offset_s: float | None = None


@dataclass(frozen=True)
class Dossier:
    """Everything a dossier shows of one file.

    Attributes:
        song: Results of the detectors.
        n_bytes: Size of the file.
        features: Identity and properties of the file.
        info: How it is decoded; ``None`` if it cannot be.
        tags: Tags, by name; unverified claims.
        credentials: What its C2PA manifest claims, or why that is not known.
        errors: Measured errors on reals.
        ratios: Likelihood ratios.
        recoded: Results after perturbations.
        matches: The same music in other files; ``None`` if none were given.
        reference: Names of the reference predictions.
    """

    song: SongResult
    n_bytes: int
    features: FileFeatures
    info: AudioInfo | None
    tags: Mapping[str, str]
    credentials: Credentials
    errors: list[MeasuredError] = field(default_factory=list)
    ratios: list[LikelihoodRatio] = field(default_factory=list)
    recoded: list[Recoded] = field(default_factory=list)
    matches: list[Match] | None = None
    reference: list[str] = field(default_factory=list)


def gather(
    path: Path,
    detectors: Sequence[AnyDetector],
    *,
    suite: Suite | None,
    reference: Sequence[Path] = (),
    against: Sequence[Manifest] = (),
    working: Callable[[str], None] = lambda _: None,
) -> Dossier:
    """Gather everything that is known of a file.

    Args:
        path: The file.
        detectors: The detectors.
        suite: Perturbations after which it is scored again; ``None`` for none.
        reference: Predictions of the same detectors on labelled music.
        against: Manifests to search for the same music.
        working: Called with what is done next.

    Raises:
        UsageError: The file is missing, or reference predictions are of other weights.
        PredictionsError: Reference predictions are malformed.
    """
    if not path.is_file():
        raise UsageError(f"{path}: no such file")
    working("scoring")
    (song,) = listen([path], detectors)
    features = extract_file_features(str(path), sha256_of(path))
    packets = None if features.error else scan_packets(path)
    found = Dossier(
        song=song,
        n_bytes=path.stat().st_size,
        features=features,
        info=None if song.error else probe_audio(path),
        tags={} if packets is None else packets.tags,
        credentials=read_credentials(path),
        reference=[str(each) for each in reference],
        recoded=list(recode(path, detectors, suite, working)) if suite and not song.error else [],
        matches=_find_matches(path, against, working) if against else None,
    )
    if reference:
        frame = _read_reference(reference, detectors)
        for result in song.opinions:
            own = frame.filter(detector=result.card.name)
            found.errors.extend(_errors(result.card.name, own, features))
            ratio = _ratio(result, own)
            found.ratios.extend([ratio] if ratio else [])
    return found


def recode(
    path: Path, detectors: Sequence[AnyDetector], suite: Suite, working: Callable[[str], None]
) -> Iterator[Recoded]:
    """Score perturbed copies one after the other; they are deleted."""
    manifest = Manifest("dossier", pl.DataFrame({"filepath": [str(path.absolute())]}))
    with tempfile.TemporaryDirectory(prefix="earwitness-") as folder:
        for row in write_copies(manifest, suite, Path(folder), kind="wav"):
            name, copy = row["perturbation"], Path(row["filepath"])
            working(f"scoring after {name}")
            if row["error"] is not None:
                yield Recoded(name, None, row["error"])
                continue
            (song,) = listen([copy], detectors)
            yield Recoded(name, song, song.error)
            copy.unlink()


def _find_matches(
    path: Path, against: Sequence[Manifest], working: Callable[[str], None]
) -> list[Match]:
    """Return each file with the same music once, by the closest relation."""
    working("searching for the same music")
    types = {"filepath": pl.String, "target": pl.Int8}
    own = pl.DataFrame({"filepath": [str(path.absolute())], "target": [0]}, types)
    report = audit(Manifest("this file", own), against=against, n_workers=0)
    exact = {finding.check: finding for finding in report.findings if finding.check in _EXACT}
    matches = [
        Match(exact[check].other_filepath or "", relation, exact[check].n_others)
        for check, relation in _EXACT.items()
        if check in exact
    ]
    matches += [
        Match(link.other_filepath, _SOUNDS[link.tier], 1, link.similarity, link.offset_s)
        for link in report.links
    ]
    return list({match.path: match for match in reversed(matches)}.values())[::-1]


def _read_reference(paths: Sequence[Path], detectors: Sequence[AnyDetector]) -> pl.DataFrame:
    """Return rows of reference predictions; ``UsageError`` if they are of other weights."""
    opened = open_sources(paths)
    cards = {detector.card.name: detector.card for detector in detectors}
    for one in opened:
        run = find_run(one, {})
        for recorded in (run or {}).get("detectors", []):
            card = cards.get(recorded.get("name"))
            if card is None or recorded["name"] != one.predictions.detector:
                continue
            if recorded.get("weights_sha256") != card.weights_sha256:
                raise UsageError(f"{one.source}: {card.name} has other weights, expected the same")
    columns = [
        name
        for name in ("native_rate_hz", "duration_s", "codec", "genre")
        if all(name in one.predictions.frame.columns for one in opened)
    ]
    return load_rows(Inputs(opened, columns))[0]


def error_of_card(card: DetectorCard) -> MeasuredError | None:
    """Return the measured error that a card states; its interval takes each file by itself."""
    measured = card.false_positives
    if measured is None:
        return None
    flagged = np.arange(measured.n_items) < measured.n_flagged
    fpr = estimate_rate(
        flagged, np.arange(measured.n_items), confidence=CONFIDENCE, reason="no such reals"
    )
    return MeasuredError(card.name, f"{measured.corpus} (its card)", fpr)


def _errors(detector: str, frame: pl.DataFrame, features: FileFeatures) -> Iterator[MeasuredError]:
    """Yield the share of reals flagged, of all, and of those like the file in some way."""
    rows = deduplicate(frame.filter(pl.col("state").is_in(["scored", "abstained"]), target=0))
    likeness: dict[str, pl.Expr] = {}
    if "by:native_rate_hz" in rows.columns and features.sample_rate_hz:
        same = pl.col("by:native_rate_hz") == str(features.sample_rate_hz)
        likeness[f"of {features.sample_rate_hz} Hz"] = same
    if "by:codec" in rows.columns and features.codec:
        likeness[f"in {features.codec}"] = pl.col("by:codec") == features.codec
    if "by:duration_s" in rows.columns and features.duration_s:
        length = pl.col("by:duration_s").cast(pl.Float64, strict=False)
        about = length.is_between(features.duration_s / LIKE_S, features.duration_s * LIKE_S)
        likeness[
            f"{features.duration_s / LIKE_S:.0f} to {features.duration_s * LIKE_S:.0f} s long"
        ] = about
    kinds = {"all reals": pl.lit(value=True)} | {f"reals {k}": v for k, v in likeness.items()}
    if len(likeness) > 1:
        kinds["reals like this file in all of these"] = pl.all_horizontal(*likeness.values())
    for name, chosen in kinds.items():
        part = rows.filter(chosen)
        flagged = (part["pred_label"] == 1).fill_null(value=False)
        fpr = estimate_rate(
            flagged.cast(pl.Int64), part["group"], confidence=CONFIDENCE, reason="no such reals"
        )
        yield MeasuredError(detector, name, fpr)


def _ratio(result: DetectorResult, frame: pl.DataFrame) -> LikelihoodRatio | None:
    """Return the likelihood ratio of a score; ``None`` without both classes or a score."""
    items = items_of(deduplicate(frame))
    if result.logit is None or items.logit is None or not items.has_both:
        return None
    n_fake = int(items.target.sum())
    n_real = len(items) - n_fake
    scale, offset = fit_scaling(items.target, items.logit, "platt")
    log10 = (scale * result.logit + offset - math.log(n_fake / n_real)) / math.log(10)
    bound = math.log10(min(n_fake, n_real))
    return LikelihoodRatio(result.card.name, max(-bound, min(bound, log10)), bound, n_real, n_fake)
