"""Rows whose files are one file: by path, name, bytes, packets or samples.

Conventions: paths are compared after ``..``, links and relative beginnings are resolved; names
without regard to case and only within one corpus, for ``track01.mp3`` is in many; hashes are
SHA-256.
"""

from __future__ import annotations

import os
import posixpath
from collections import Counter

from earwitness.audit.context import AuditContext, Outcome
from earwitness.audit.overlap import SharedKey, compare_across, compare_inside
from earwitness.audit.results import CheckSpec, make_result
from earwitness.audit.schema import Finding
from earwitness.core.io import tidy_path

_NOT_READ = "no file could be read"

PATH = SharedKey("path", "the same path", "there is no row")
NAME = SharedKey(
    "name",
    "the same file name in the same corpus",
    "no row has a file name",
    advice_across="look whether it is the same music; if so, drop these rows",
)
BYTES = SharedKey("bytes", "the same bytes", _NOT_READ)
PACKETS = SharedKey(
    "packets", "the same compressed packets (tags apart)", "no file's packets could be told"
)
SAMPLES = SharedKey("samples", "the same samples when decoded", "no file could be decoded")


def check_path(scene: AuditContext) -> list[Outcome]:
    """Compare resolved paths."""
    resolved = [_resolved(path) for path in scene.rows["file"].to_list()]
    return [compare_across(scene, PATH, resolved), compare_inside(scene, PATH, resolved)]


def check_name(scene: AuditContext) -> list[Outcome]:
    """Compare file names across sets; inside a set, reconstructions bear their track's name."""
    rows = scene.rows.select("filepath", "source_dataset").iter_rows()
    return [compare_across(scene, NAME, [_name(path, corpus) for path, corpus in rows])]


def check_bytes(scene: AuditContext) -> list[Outcome]:
    """Compare the bytes of files."""
    return _compare_sounds(scene, BYTES, "sha256")


def check_packets(scene: AuditContext) -> list[Outcome]:
    """Compare what files hold besides their tags."""
    return _compare_sounds(scene, PACKETS, "packets_sha256")


def check_samples(scene: AuditContext) -> list[Outcome]:
    """Compare decoded samples."""
    return _compare_sounds(scene, SAMPLES, "samples_sha256")


def _compare_sounds(scene: AuditContext, likeness: SharedKey, hashed: str) -> list[Outcome]:
    files = scene.rows["file"].to_list()
    keys = [getattr(scene.sounds[path], hashed) for path in files]
    return [compare_across(scene, likeness, keys), compare_inside(scene, likeness, keys)]


def _resolved(path: str) -> str:
    """Return where a path leads; a name that no disk can hold leads nowhere else."""
    try:
        return os.path.realpath(path)
    except ValueError:
        return path


def _name(path: str, corpus: str | None) -> str | None:
    name = posixpath.basename(tidy_path(path)).casefold()
    return f"{(corpus or '').casefold()}\0{name}" if name else None


_SUBJECT = CheckSpec(
    "readable",
    "files that cannot be heard",
    "rows",
    "bring the files back, or drop these rows: whoever judges the rest judges fewer items",
)
_SHOWN = 3


def check_readable(scene: AuditContext) -> list[Outcome]:
    """List every audited row whose file is missing, broken or empty."""
    rows = scene.audited_rows
    findings = [
        Finding(
            check=_SUBJECT.name,
            manifest=scene.manifests[row["set"]].name,
            row=row["row"],
            filepath=row["filepath"],
            target=row["target"],
            relation="unreadable",
            detail=error,
        )
        for row in rows.iter_rows(named=True)
        if (error := scene.sounds[row["file"]].error) is not None
    ]
    errors = Counter(finding.detail for finding in findings)
    commonest = errors.most_common(_SHOWN)
    detail = ", ".join(f"{error} ({n})" for error, n in commonest)
    if n_more := errors.total() - sum(n for _, n in commonest):
        detail += f", other reasons ({n_more})"
    lost = [error for sound in _others(scene) if (error := sound)]
    if lost:
        detail = "; ".join(filter(None, (detail, f"{len(lost)} rows of other sets, too")))
    return [make_result(_SUBJECT, findings, n_checked=rows.height, detail=detail)]


def _others(scene: AuditContext) -> list[str | None]:
    files = scene.rows["file"].to_list()[scene.audited_rows.height :]
    return [scene.sounds[path].error for path in files]
