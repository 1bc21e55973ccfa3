"""Where the figures come from: what was judged, by whom, with what."""

from __future__ import annotations

from earwitness.evaluation.schema import DetectorInfo, Metrics
from earwitness.report.tables import (
    Block,
    Cell,
    Chapter,
    Folded,
    Look,
    Row,
    Table,
    count_cell,
    text_cell,
)

_UNKNOWN = "unknown"
_WEIGHTS = "weights (SHA-256)"


def provenance(metrics: Metrics) -> Chapter:
    """Return what it takes to make these figures again."""
    blocks: list[Block] = [
        _manifests(metrics),
        _detectors(metrics.detectors),
        Folded("Versions and settings", [_settings(metrics)]),
        Folded("The files the figures were made from", [_sources(metrics)]),
    ]
    lead = "What it takes to make these figures again. Hashes are shown in full."
    return Chapter("provenance", "Where it comes from", lead, blocks)


def _manifests(metrics: Metrics) -> Table:
    rows = [
        Row(
            [
                text_cell(one.name, look="name"),
                _hash(one.digest),
                count_cell(one.n_items),
                count_cell(one.n_real),
                count_cell(one.n_fake),
            ]
        )
        for one in metrics.manifests
    ]
    columns = ["manifest", "digest of its rows (SHA-256)", "items", "reals", "fakes"]
    return Table("What was judged", columns, rows, texts=2)


def _detectors(found: list[DetectorInfo]) -> Table:
    """Return what is known of detectors; what is known of none stands below, in a note."""
    told = [_told(one) for one in found]
    names = list(told[0]) if told else []
    known = [name for name in names if any(one[name] is not None for one in told)]
    rows = [
        Row(
            [
                text_cell(info.name, look="name"),
                *(_known(one[name], look="hash" if name == _WEIGHTS else "") for name in known),
            ],
            info.name,
        )
        for info, one in zip(found, told, strict=True)
    ]
    unknown = [name for name in names if name not in known]
    notes = [f"Unknown of all: {', '.join(unknown)}."] if unknown else []
    return Table("Who judged", ["detector", *known], rows, notes, texts=1 + len(known))


def _told(info: DetectorInfo) -> dict[str, str | None]:
    card = info.card or {}
    return {
        "preprocessing": info.preprocessing,
        "windows": info.windows,
        "trained on": _listed(card.get("trained_on")),
        "selected on": _listed(card.get("selected_on")),
        "licence": _listed(card.get("licence")),
        _WEIGHTS: info.weights_sha256,
    }


def _known(value: str | None, *, look: Look) -> Cell:
    return Cell(_UNKNOWN) if value is None else text_cell(value, look=look)


def _listed(value: object) -> str | None:
    """Return what a card says, in words: not knowing is not the same as nothing."""
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "nothing"
    return None if value is None else str(value)


def _settings(metrics: Metrics) -> Table:
    found = metrics.provenance
    shown = {
        "earwitness": found.earwitness,
        "Python": found.python,
        **found.libraries,
        **{name.replace("_", " "): value for name, value in found.settings.model_dump().items()},
    }
    rows = [Row([text_cell(name), text_cell(_said(value))]) for name, value in shown.items()]
    return Table("Versions and settings", ["what", "value"], rows, texts=2)


def _said(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None else f"{value}"


def _sources(metrics: Metrics) -> Table:
    rows = [
        Row(
            [
                text_cell(one.path, look="name"),
                text_cell(one.detector, look="name"),
                text_cell(one.dataset, look="name"),
                text_cell(one.role),
                _hash(one.sha256),
                count_cell(one.n_rows),
            ],
            one.detector,
        )
        for one in metrics.provenance.sources
    ]
    columns = ["file", "detector", "data set", "role", "SHA-256", "rows"]
    return Table("Files", columns, rows, texts=5)


def _hash(digest: str | None) -> Cell:
    return Cell(_UNKNOWN, None) if digest is None else Cell(digest, digest, look="hash")
