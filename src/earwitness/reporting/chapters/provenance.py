"""Where the figures come from: what was judged, by whom, with what."""

from __future__ import annotations

from earwitness.core.metrics import DetectorInfo, Metrics
from earwitness.reporting.parts import (
    Block,
    Cell,
    Chapter,
    Folded,
    Row,
    Table,
    count_cell,
    text_cell,
)

_UNKNOWN = "unknown"


def provenance(metrics: Metrics) -> Chapter:
    """Return what it takes to make these figures again."""
    blocks: list[Block] = [
        _manifests(metrics),
        _detectors(metrics.detectors),
        _settings(metrics),
        Folded("The files the figures were made from", [_sources(metrics)]),
    ]
    lead = "Hashes are SHA-256, shown in full; a figure can be made again from what they name."
    return Chapter("provenance", "Where it comes from", lead, blocks)


def _manifests(metrics: Metrics) -> Table:
    rows = [
        Row(
            [
                text_cell(one.name, look="name"),
                count_cell(one.n_items),
                count_cell(one.n_real),
                count_cell(one.n_fake),
                _hash(one.digest),
            ]
        )
        for one in metrics.manifests
    ]
    return Table(
        "What was judged", ["manifest", "items", "reals", "fakes", "digest of its rows"], rows
    )


def _detectors(found: list[DetectorInfo]) -> Table:
    rows = []
    for one in found:
        card = one.card or {}
        cells = [
            text_cell(one.name, look="name"),
            text_cell(one.preprocessing or _UNKNOWN),
            text_cell(one.windows or _UNKNOWN),
            text_cell(_listed(card.get("trained_on"))),
            text_cell(_listed(card.get("selected_on"))),
            text_cell(str(card.get("licence") or _UNKNOWN)),
            _hash(one.weights_sha256),
        ]
        rows.append(Row(cells, one.name))
    columns = ["detector", "preprocessing", "windows", "trained on", "selected on", "licence"]
    return Table("Who judged", [*columns, "weights"], rows, texts=6)


def _listed(value: object) -> str:
    """Return a card's list in words: not knowing is not the same as nothing."""
    if value is None:
        return _UNKNOWN
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "nothing"
    return str(value)


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
                count_cell(one.n_rows),
                _hash(one.sha256),
            ],
            one.detector,
        )
        for one in metrics.provenance.sources
    ]
    columns = ["file", "detector", "data set", "role", "rows", "SHA-256"]
    return Table("Files", columns, rows, texts=4)


def _hash(digest: str | None) -> Cell:
    return Cell(_UNKNOWN, None) if digest is None else Cell(digest, digest, look="hash")
