"""An audit beside the figures: carried word for word, and whether it is of what was evaluated.

Convention: an audit names the manifests it looked at by digest, so that one of other rows cannot
pass for one of these.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from earwitness.core.errors import UsageError
from earwitness.core.metrics import Check, ManifestInfo

NAME = "audit_bound"


def read_audit(path: str | Path) -> dict[str, Any]:
    """Read an audit as it is.

    Raises:
        UsageError: It cannot be read, or names no manifests.
    """
    try:
        audit: Any = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror or error})") from None
    except ValueError as error:
        raise UsageError(f"{path}: cannot be read as JSON ({error})") from None
    if not isinstance(audit, dict) or not _audited(audit):
        raise UsageError(
            f"{path}: not an audit, expected manifests with name and digest in it, as "
            "`earwitness audit` writes them"
        )
    return audit


def check_audit(audit: Mapping[str, Any], manifests: Sequence[ManifestInfo]) -> Check:
    """Tell whether an audit is of the manifests that were evaluated, by their digests."""
    audited = _audited(audit)
    unknown = [one.name for one in manifests if one.digest is None]
    other = [one.name for one in manifests if one.digest and one.digest not in audited.values()]
    if not audited:
        return _found("warning", "the audit names no manifest: nothing binds it to these figures")
    if other:
        return _found(
            "warning",
            f"the audit is not of {', '.join(other)}: no manifest of their digest is in it "
            f"(it is of {', '.join(audited)})",
        )
    if unknown:
        detail = f"whether the audit is of {', '.join(unknown)} cannot be told: no digest is known"
        return _found("note", detail)
    n = len(manifests)
    return _found("ok", f"the audit is of {'the manifest' if n == 1 else f'all {n} manifests'}")


def _found(verdict: Any, detail: str) -> Check:
    return Check(detector=None, name=NAME, verdict=verdict, detail=detail)


def _audited(audit: Mapping[str, Any]) -> dict[str, str]:
    """Return name → digest of the manifests that were audited, not merely compared with."""
    named = audit.get("manifests")
    entries = named if isinstance(named, list) else []
    return {
        str(entry.get("name", "?")): str(entry["digest"])
        for entry in entries
        if isinstance(entry, dict) and entry.get("digest") and entry.get("role") != "against"
    }
