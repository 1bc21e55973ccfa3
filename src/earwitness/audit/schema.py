"""Schema of ``audit.json`` and of the tables beside it; see docs/audit-json.md."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, Self

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
SCHEMA_VERSION: Final = 1

Verdict = Literal["pass", "finding", "not checked"]
Role = Literal["audited", "against"]
Scope = Literal["across", "inside", "rows", "exposure", "shortcuts"]
ExposureStatus = Literal["trained_on", "selected_on", "unseen", "unknown"]
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


class Finding(NamedTuple):
    """One audited row that a check flagged: a row of ``findings.csv``.

    Attributes:
        check: Name of the check.
        manifest: Name of the audited manifest.
        row: Its row, from 1.
        filepath: As in the manifest.
        target: 0 or 1.
        relation: What is wrong with it.
        detail: The same as text.
        other_manifest: Manifest of the nearest row it conflicts with; ``None`` without one.
        other_filepath: File of that row.
        other_target: Label of that row.
        n_others: Number of rows it conflicts with.
        similarity: Of both recordings, at most 1; ``None`` if not measured.
        offset_s: Start of the other in it; ``None`` if not measured.
        drop: Whether dropping the row solves the problem.
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
    """An audited row and another of the same music: a row of ``links.csv``, see ``Finding``.

    Attributes:
        relation: What is wrong; ``by_design`` for rows that ``group_id`` joins.
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
    """Exposure of one detector to one audited row: a row of ``exposure.csv``."""

    manifest: str
    row: int
    filepath: str
    detector: str
    exposure: ExposureStatus


class Nuisances(NamedTuple):
    """Properties of one audited row's file, apart from the music: a row of ``nuisances.csv``.

    Attributes:
        error: Why it cannot be decoded; ``None`` if it can.
        measures: Values of ``shortcuts.MEASURES`` by name.
    """

    manifest: str
    row: int
    filepath: str
    target: int
    error: str | None
    measures: Mapping[str, int | float | str | None]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class AuditedManifest(_Part):
    """A manifest of an audit.

    Attributes:
        name: Name of the manifest.
        digest: ``Manifest.digest``: the audit holds for exactly these rows.
        role: ``audited``, or ``against`` for a set to compare with.
        n_rows: Number of rows.
        n_real: Number of reals.
        n_fake: Number of fakes.
        roots: Folders that relative paths start from.
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


class SliceAuroc(_Part):
    """One entry of ``figures["slices"]`` of a check: how well measures separate the classes.

    Attributes:
        real_corpus: Corpus of the reals, or ``all``.
        generator: Generator of the fakes, or ``all``.
        fake_corpus: Corpus of the fakes, or ``all``.
        baseline: Name of the baseline; ``None`` for one measure.
        usual_real: Median or commonest category of the reals; ``None`` for a baseline.
        usual_fake: Likewise of the fakes.
        finding: Whether it separates fakes from reals.
        p_holm: Corrected p-value; ``None`` without a test.
        auroc: ``None`` if undefined; for this and the rest see ``Estimate``.
    """

    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)

    real_corpus: str | None = None
    generator: str | None = None
    fake_corpus: str | None = None
    baseline: str | None = None
    usual_real: float | str | None = None
    usual_fake: float | str | None = None
    finding: bool = False
    p_holm: float | None = None
    auroc: float | None
    low: float | None = None
    high: float | None = None
    n_items: Count = 0
    n_groups: Count = 0
    method: str | None = None
    reason: str | None = None
    conditional_on: str | None = None

    @classmethod
    def of(cls, estimate: Estimate, **fields: Any) -> Self:
        """Return the entry of an AUROC."""
        named = estimate.model_dump()
        return cls(auroc=named.pop("value"), **named, **fields)

    @property
    def estimate(self) -> Estimate:
        """The AUROC with its interval."""
        named = {name: getattr(self, name) for name in Estimate.model_fields if name != "value"}
        reason = self.reason or ("not given" if self.low is None else None)
        return Estimate(value=self.auroc, **named | {"reason": reason})

    @model_validator(mode="after")
    def _check_estimate(self) -> Self:
        with _in_one_line("auroc"):
            self.estimate  # noqa: B018 - making it is the check
        return self


_SLICES: Final = TypeAdapter(list[SliceAuroc])


class CheckResult(_Part):
    """Result of one check.

    Attributes:
        name: Name of the check ("bytes_across").
        title: What it searches, for people ("the same bytes in another set").
        scope: What it compares.
        verdict: ``pass``, ``finding`` or ``not checked``.
        detail: What was found; for ``not checked``, the reason.
        advice: What to do about a finding; empty without one.
        n_rows: Number of flagged rows.
        n_checked: Number of checked rows.
        n_unchecked: Number of rows that could not be checked.
        relations: Number of flagged rows by relation.
        figures: Values and tables behind the detail.
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
    def slices(self) -> list[SliceAuroc]:
        """AUROCs behind the detail, if any."""
        return _SLICES.validate_python(self.figures.get("slices") or [])

    @model_validator(mode="after")
    def _check_consistent(self) -> Self:
        if not self.detail:
            raise ValueError("no detail, expected what was found or why nothing was checked")
        if self.verdict == "pass" and self.n_checked == 0:
            raise ValueError("a pass with nothing checked")
        if (self.verdict == "finding") is not bool(self.advice):
            raise ValueError("advice goes with a finding, and a finding with advice")
        with _in_one_line("figures.slices"):
            self.slices  # noqa: B018 - reading them is the check
        return self


class AuditReport(_Part):
    """Result of an audit.

    Attributes:
        schema_version: ``SCHEMA_VERSION``.
        earwitness: Version of the package.
        manifests: All manifests, audited ones first.
        detectors: Names of the detectors whose exposure was checked.
        checks: Results of all checks, also those not made.
        findings: Flagged rows; this and the rest is not in ``audit.json``.
        links: Pairs of rows of the same music.
        exposures: Exposure of each detector to each audited row.
        nuisances: Properties of each audited row's file.
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
        """Number of checks with a finding."""
        return sum(check.verdict == "finding" for check in self.checks)

    def without_rows(self) -> AuditReport:
        """Return the part that ``audit.json`` holds."""
        return self.model_copy(
            update={"findings": (), "links": (), "exposures": (), "nuisances": ()}
        )

    def holds_for(self, digest: str | None) -> bool:
        """Return whether a manifest with this digest was audited."""
        return any(m.role == "audited" and m.digest == digest for m in self.manifests)

    def check(self, name: str) -> CheckResult:
        """Return the result of a check by name.

        Raises:
            KeyError: No such check.
        """
        return {check.name: check for check in self.checks}[name]


def write_audit(report: AuditReport, path: str | Path) -> None:
    """Write ``audit.json``, atomically."""
    write_text(Path(path), report.model_dump_json(indent=1) + "\n")


def read_audit(path: str | Path) -> AuditReport:
    """Read ``audit.json``, without the tables beside it.

    Raises:
        AuditError: The file cannot be read or is invalid.
    """
    expected = f"an audit.json, schema_version {SCHEMA_VERSION}"
    return read_model(Path(path), AuditReport, error=AuditError, expected=expected)
