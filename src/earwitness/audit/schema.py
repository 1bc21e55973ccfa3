"""What an audit looked into and what it found, and its file, ``audit.json``.

Conventions: what was not looked into is never said to be fine: a check passes, finds something, or
says why it was not made. ``findings`` are rows of audited manifests; they go into a table of their
own and not into ``audit.json``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal, NamedTuple, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from earwitness.core.errors import AuditError
from earwitness.core.estimate import Count, Estimate
from earwitness.core.io import first_problem, read_model, write_text

AUDIT_JSON = "audit.json"
"""What an audit is written to, in its folder."""

SCHEMA_VERSION: Final = 1
"""Version of ``audit.json``; it rises when a reader of the old form would misread the new one."""

Verdict = Literal["pass", "finding", "not checked"]
Role = Literal["audited", "against"]
Scope = Literal["across", "inside", "rows", "exposure", "shortcuts"]
"""Between audited sets and others, inside each audited set, row by row, against what a detector
was made with, and what gives fakes away without listening."""

Relation = Literal[
    "leak",
    "duplicate",
    "conflict",
    "split_group",
    "partial",
    "undecided",
    "trained_on",
    "selected_on",
    "unreadable",
    "shortcut",
]
"""How a row offends.

``leak``: in a set that it should not touch, too. ``duplicate``: again in its own set, with the same
label. ``conflict``: again in its own set, with the other label. ``split_group``: of one origin with
a row of another ``group_id``. ``partial``: shares a backing, an excerpt or samples with another
row, and the rest is its own. ``undecided``: may be one of the others and may be chance.
``trained_on`` and ``selected_on``: what a detector was made with. ``unreadable``: not audible.
``shortcut``: of a kind that a file gives away without being heard.
"""


ExposureStatus = Literal["trained_on", "selected_on", "unseen", "unknown"]
"""What a detector met of a row when it was made."""


class Finding(NamedTuple):
    """One row of an audited manifest that a check takes offence at.

    Attributes:
        check: Name of the check.
        manifest: Name of the audited manifest.
        row: Its row, from 1.
        filepath: As it stands there.
        target: 0 or 1.
        relation: How it offends.
        detail: What was found, in words.
        other_manifest: Where the nearest row lies that it offends with; ``None`` without one.
        other_filepath: That row's file.
        other_target: That row's label.
        n_others: Rows that it offends with.
        similarity: How alike the two sound, 1 at most; ``None`` where that was not measured.
        offset_s: Where the other's beginning lies in it; ``None`` where that was not measured.
        drop: Whether leaving the row out mends it.
    """

    check: str
    manifest: str
    row: int
    filepath: str
    target: int
    relation: Relation
    detail: str
    other_manifest: str | None = None
    other_filepath: str | None = None
    other_target: int | None = None
    n_others: int = 0
    similarity: float | None = None
    offset_s: float | None = None
    drop: bool = True


class Link(NamedTuple):
    """Two rows whose sound is the same music, by design or not.

    Attributes:
        tier: ``copy`` or ``version``.
        manifest: Name of the audited manifest.
        row: Row in it, from 1.
        filepath: As it stands there.
        other_manifest: Name of the other's manifest.
        other_row: Row in that.
        other_filepath: As it stands there.
        similarity: How alike they sound, 1 at most.
        offset_s: Where the other's beginning lies in the first.
        relation: How they offend; ``by_design`` for what ``group_id`` says belongs together.
    """

    tier: Literal["copy", "version"]
    manifest: str
    row: int
    filepath: str
    other_manifest: str
    other_row: int
    other_filepath: str
    similarity: float
    offset_s: float
    relation: Relation | Literal["by_design"]


class Exposure(NamedTuple):
    """What one detector met of one audited row."""

    manifest: str
    row: int
    filepath: str
    detector: str
    exposure: ExposureStatus


class Nuisances(NamedTuple):
    """What the file of one audited row gives away without being heard as music.

    Attributes:
        manifest: Name of the audited manifest.
        row: Row in it, from 1.
        filepath: As it stands there.
        target: 0 or 1.
        error: Why it cannot be heard; ``None`` where it can.
        duration_s: Length.
        sample_rate_hz: Its own rate.
        n_channels: Channels.
        codec: Coding of its samples.
        container: What they are wrapped in.
        bit_rate_kbps: Mean over its compressed packets.
        encoder: What wrote it, as its tag says.
        tag_fields: Names of its other metadata fields, with ``|`` between them.
        cover_art: ``yes`` or ``no``: whether it holds a cover picture.
        peak_dbfs: This and the rest: see ``audio.channel``.
    """

    manifest: str
    row: int
    filepath: str
    target: int
    error: str | None = None
    duration_s: float | None = None
    sample_rate_hz: int | None = None
    n_channels: int | None = None
    codec: str | None = None
    container: str | None = None
    bit_rate_kbps: int | None = None
    encoder: str | None = None
    tag_fields: str | None = None
    cover_art: str | None = None
    peak_dbfs: float | None = None
    loudness_lufs: float | None = None
    crest_db: float | None = None
    dc_offset: float | None = None
    clipped_share: float | None = None
    lead_silence_s: float | None = None
    trail_silence_s: float | None = None
    silence_share: float | None = None
    lead_zeros_s: float | None = None
    zero_share: float | None = None
    bit_depth: int | None = None
    quiet_db: float | None = None
    bandwidth_hz: float | None = None
    band_edge_hz: float | None = None
    below_40_db: float | None = None
    above_8k_db: float | None = None
    above_16k_db: float | None = None
    floor_db: float | None = None
    stereo_correlation: float | None = None
    stereo_width_db: float | None = None
    balance_db: float | None = None


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class AuditedManifest(_Part):
    """A manifest that took part.

    Attributes:
        name: Its name.
        digest: ``Manifest.digest``: what was found holds for these very rows.
        role: ``audited``, or ``against`` for a set that audited ones must not touch.
        n_rows: Its rows.
        n_real: Reals among them.
        n_fake: Fakes among them.
        roots: Folders that its relative paths start from.
    """

    name: str
    digest: str
    role: Role
    n_rows: Count
    n_real: Count
    n_fake: Count
    roots: list[str] = Field(default_factory=list)


@contextlib.contextmanager
def _in_one_line(what: str) -> Iterator[None]:
    try:
        yield
    except ValidationError as error:
        raise ValueError(f"{what}: {first_problem(error)}") from None


class SliceFigure(_Part):
    """One of ``figures["slices"]`` of a check: how well something tells fakes from reals.

    Attributes:
        real_corpus: Corpus of the reals, or that it is all of them.
        generator: What made the fakes, likewise.
        fake_corpus: Corpus of the fakes, likewise.
        auroc: ``None`` where it is undefined, and ``reason`` says why.
        low: Lower end of its interval; this and the rest: see ``Estimate``.
        finding: Whether it gives fakes away.
    """

    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)

    real_corpus: str | None = None
    generator: str | None = None
    fake_corpus: str | None = None
    auroc: float | None
    low: float | None = None
    high: float | None = None
    n_items: Count = 0
    n_groups: Count = 0
    method: str | None = None
    reason: str | None = None
    conditional_on: str | None = None
    finding: bool = False

    @property
    def estimate(self) -> Estimate:
        """The AUROC with its interval."""
        named = {name: getattr(self, name) for name in Estimate.model_fields if name != "value"}
        return Estimate(value=self.auroc, **named | {"reason": self.reason or _unsaid(self)})

    @model_validator(mode="after")
    def _is_estimate(self) -> Self:
        with _in_one_line("auroc"):
            self.estimate  # noqa: B018 - making it is the check
        return self


def _unsaid(figure: SliceFigure) -> str | None:
    return "not given" if figure.low is None else None


_SLICES: Final = TypeAdapter(list[SliceFigure])


class CheckResult(_Part):
    """What came of one check.

    Attributes:
        name: Its name ("bytes_across").
        title: What it looks for, for people ("the same bytes in another set").
        scope: What it compares.
        verdict: ``pass``, ``finding`` or ``not checked``.
        detail: What was found; for ``not checked``, why nothing was looked into.
        advice: What to do about a finding; empty without one.
        n_rows: Rows of audited manifests that offend.
        n_checked: Rows of audited manifests that were looked at.
        n_unchecked: Rows of audited manifests that could not be looked at.
        relations: Offending rows by relation.
        figures: Numbers and tables behind the detail, by name.
    """

    name: str
    title: str
    scope: Scope
    verdict: Verdict
    detail: str
    advice: str = ""
    n_rows: Count = 0
    n_checked: Count = 0
    n_unchecked: Count = 0
    relations: dict[Relation, Count] = Field(default_factory=dict)
    figures: dict[str, JsonValue] = Field(default_factory=dict)

    @property
    def slices(self) -> list[SliceFigure]:
        """Its ``figures["slices"]``; none where it has none."""
        return _SLICES.validate_python(self.figures.get("slices") or [])

    @model_validator(mode="after")
    def _is_honest(self) -> Self:
        if not self.detail:
            raise ValueError("no detail, expected what was found or why nothing was looked into")
        if self.verdict == "pass" and self.n_checked == 0:
            raise ValueError("a pass with nothing checked")
        if (self.verdict == "finding") is not bool(self.advice):
            raise ValueError("advice goes with a finding, and a finding with advice")
        with _in_one_line("figures.slices"):
            self.slices  # noqa: B018 - reading them is the check
        return self


class AuditReport(_Part):
    """What was looked into, and what was found.

    Attributes:
        schema_version: ``SCHEMA_VERSION``.
        earwitness: Version that made it.
        manifests: What took part, audited ones first.
        detectors: Names of the detectors whose exposure was asked after.
        checks: Every check there is, those that were not made among them.
        findings: Offending rows; not in ``audit.json``.
        links: Pairs that sound alike; not in ``audit.json``.
        exposures: What each detector met of each audited row; not in ``audit.json``.
        nuisances: What the file of each audited row gives away; not in ``audit.json``.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    earwitness: str
    manifests: list[AuditedManifest]
    detectors: list[str] = Field(default_factory=list)
    checks: list[CheckResult]
    findings: tuple[Finding, ...] = Field(default=(), exclude=True, repr=False)
    links: tuple[Link, ...] = Field(default=(), exclude=True, repr=False)
    exposures: tuple[Exposure, ...] = Field(default=(), exclude=True, repr=False)
    nuisances: tuple[Nuisances, ...] = Field(default=(), exclude=True, repr=False)

    @property
    def n_findings(self) -> int:
        """Checks that found something."""
        return sum(check.verdict == "finding" for check in self.checks)

    def without_rows(self) -> AuditReport:
        """Return what ``audit.json`` holds of it."""
        return self.model_copy(
            update={"findings": (), "links": (), "exposures": (), "nuisances": ()}
        )

    def holds_for(self, digest: str | None) -> bool:
        """Return whether a manifest with this digest was audited."""
        return any(m.role == "audited" and m.digest == digest for m in self.manifests)

    def check(self, name: str) -> CheckResult:
        """Return the check of this name.

        Raises:
            KeyError: There is none.
        """
        return {check.name: check for check in self.checks}[name]


def write_audit(report: AuditReport, path: str | Path) -> None:
    """Write ``audit.json``, atomically."""
    write_text(Path(path), report.model_dump_json(indent=1) + "\n")


def read_audit(path: str | Path) -> AuditReport:
    """Read ``audit.json``; rows and links stand in the tables beside it and are not read.

    Raises:
        AuditError: The file cannot be read, or is not what ``write_audit`` writes.
    """
    expected = f"an audit.json, schema_version {SCHEMA_VERSION}"
    return read_model(Path(path), AuditReport, error=AuditError, expected=expected)
