"""The section of spectra: what detectors found in flagged files, which are read again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

import polars as pl
from pydantic import ValidationError

from earwitness.core.cards import DetectorCard
from earwitness.core.errors import AudioError, ChartError
from earwitness.core.manifest import Manifest
from earwitness.core.remote import redact, to_path
from earwitness.detectors.base import Explain
from earwitness.detectors.loading import find_explain
from earwitness.evaluation.rows import built_in_card
from earwitness.evaluation.schema import DetectorInfo, Flagged, Metrics
from earwitness.report import formatting
from earwitness.report.blocks import Block, ChartCard, Gallery, Note, Section
from earwitness.report.charts.comb import comb_picture, describe_lines
from earwitness.report.charts.renderer import draw_inline


def spectra(
    metrics: Metrics, n_items: int, *, audio_roots: Sequence[str | Path] = ()
) -> Section | None:
    """Return pictures of up to so many flagged items of each detector; ``None`` for 0.

    Args:
        metrics: Results of an evaluation.
        n_items: Pictures per detector.
        audio_roots: Folders or URLs to search for files, after the roots of their manifests.
    """
    if not n_items:
        return None
    roots = {one.name: [*one.roots, *audio_roots] for one in metrics.manifests}
    blocks: list[Block] = []
    for info in metrics.detectors:
        card = _card(info)
        if card is None or (explain := find_explain(card)) is None:
            continue
        shown = [
            _picture(one, card, explain, roots.get(one.dataset, audio_roots))
            for one in info.flagged[:n_items]
        ]
        if shown:
            blocks.append(Gallery(shown, title=info.name))
        else:
            why = "flagged nothing, or metrics.json has no details of it; evaluate writes them"
            blocks.append(Note(why, label=info.name, detector=info.name))
    if not blocks:
        blocks = [Note("None of these detectors can show what it found in a file.")]
    lead = (
        "Evenly spaced lines in the mean spectrum of flagged files, which were read again: of each "
        "corpus and generator in turn the file with the highest score, reals first. A trace of a "
        "decoder does not say who made the music."
    )
    return Section("spectra", "Spectra of flagged files", lead, blocks)


def _card(info: DetectorInfo) -> DetectorCard | None:
    try:
        return DetectorCard.model_validate(info.card)
    except ValidationError:  # not recorded, or by another version
        return built_in_card(info.name)


def _picture(
    item: Flagged, card: DetectorCard, explain: Explain, roots: Sequence[str | Path]
) -> ChartCard:
    """Return the picture of an item, or why there is none."""
    name = str(PurePosixPath(*PurePosixPath(redact(item.filepath)).parts[-2:]))
    charts = []
    try:
        found = explain(_locate(item, roots), item.details, card)
        picture = comb_picture(found, item.details, title=None)
        charts.append(draw_inline(picture, aria_label=f"Spectrum of {name}, folded by its lines."))
        problem = ""
    except (AudioError, ChartError) as error:
        reason = error.reason if isinstance(error, AudioError) else error
        problem = f" No picture: {reason}."
    note = f"{' · '.join(_origin(item))}: {describe_lines(item.details)}.{problem}"
    return ChartCard(name, charts, note=note, detector=card.name, is_wide=True)


def _origin(item: Flagged) -> Iterator[str]:
    yield f"Fake by {item.generator or 'an unknown generator'}" if item.target else "Real"
    yield item.corpus or item.dataset
    if item.pred_prob is not None:
        yield f"score {formatting.number(item.pred_prob)}"


def _locate(item: Flagged, roots: Sequence[str | Path]) -> Path:
    """Return the path of an item's file as predict finds it."""
    frame = pl.DataFrame({"filepath": [item.filepath]})
    folders = tuple(to_path(root) for root in roots)
    return Manifest(item.dataset, frame, folders).locate(item.filepath)
