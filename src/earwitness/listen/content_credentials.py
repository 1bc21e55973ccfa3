"""What the C2PA manifest of a file claims, and whether the file is what was signed.

Claims are the signer's: anyone can sign, and an intact manifest proves no origin. Nothing is
fetched from the network.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

_NETWORK_OFF = {"verify": {"remote_manifest_fetch": False, "ocsp_fetch": False}}
_STATES = {
    "Trusted": "the file is as it was signed, by a signer on the trust list of c2pa-python",
    "Valid": (
        "the file is as it was signed, but the signer is on no trust list: anyone can sign so"
    ),
    "Invalid": "the file is not as it was signed, or the signature is broken",
}
_SOURCES = {
    "trainedAlgorithmicMedia": "made by a trained model",
    "compositeWithTrainedAlgorithmicMedia": "partly made by a trained model",
    "algorithmicMedia": "made by a program that is not a trained model",
    "digitalCapture": "recorded",
    "humanEdits": "edited by people",
}
"""Kinds of digital sources, as IPTC names them."""


class Credentials(NamedTuple):
    """The manifest of a file.

    Attributes:
        state: Whether it is intact, or why that is not known.
        claims: What it claims, by property; empty without a manifest.
    """

    state: str
    claims: Mapping[str, str]


def read_credentials(path: Path) -> Credentials:
    """Return what the C2PA manifest of a file claims, or why that is not known."""
    try:
        import c2pa
    except ImportError:
        return Credentials("not checked: it needs earwitness[c2pa]", {})
    try:
        context = c2pa.Context(c2pa.Settings.from_dict(_NETWORK_OFF))
        with c2pa.Reader(str(path), context=context) as reader:
            state, found = str(reader.get_validation_state()), json.loads(reader.json())
    except c2pa.C2paError as error:
        return Credentials(_failure(str(error)), {})
    problems = [status["code"] for status in found.get("validation_status", [])]
    said = _STATES.get(state, f"validation state {state}")
    active = found["manifests"][found["active_manifest"]]
    why = f" ({', '.join(problems)})" if problems else ""
    return Credentials(f"{said}{why}", {name: text for name, text in _claims(active) if text})


def _failure(error: str) -> str:
    kind, _, detail = error.partition(": ")
    if kind == "ManifestNotFound":
        return "no manifest"
    if kind == "NotSupported":
        return "not checked: c2pa-python does not read this kind of file"
    return f"a manifest that cannot be read ({detail or kind})"


def _claims(manifest: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the claims of a manifest that concern how the file was made."""
    signature = manifest.get("signature_info") or {}
    signer = [signature.get("common_name"), signature.get("issuer"), signature.get("time")]
    yield "signed by", ", ".join(dict.fromkeys(str(part) for part in signer if part))
    programs = manifest.get("claim_generator_info") or []
    named = [f"{one.get('name', '')} {one.get('version', '')}".strip() for one in programs]
    yield "written by", ", ".join(named) or str(manifest.get("claim_generator") or "")
    actions = [
        action
        for assertion in manifest.get("assertions", [])
        if assertion.get("label", "").startswith("c2pa.actions")
        for action in assertion["data"].get("actions", [])
    ]
    yield "actions", "; ".join(map(_action, actions))


def _action(action: Mapping[str, Any]) -> str:
    """Return ``created (made by a trained model)``; unknown kinds by the last part of the name."""
    name = str(action.get("action", "")).removeprefix("c2pa.")
    source = str(action.get("digitalSourceType") or "").rpartition("/")[2]
    source = _SOURCES.get(source, source)
    return f"{name} ({source})" if source else name
