"""The dossier of one file as a self-contained page: findings, limits, and alternatives.

Findings are worded no stronger than the evidence; ``redact`` leaves out names and tags.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path

from earwitness import __version__
from earwitness.core.errors import AudioError, ChartError
from earwitness.core.io import write_text
from earwitness.evaluation.windows import merge_windows
from earwitness.listen.answer import clock, full_answer, song_state
from earwitness.listen.dossier import CONFIDENCE, Dossier
from earwitness.listen.results import DetectorResult, compare_verdicts
from earwitness.listen.text import NO_PROOF, describe_score, describe_verdict, printable_name
from earwitness.report import formatting
from earwitness.report.blocks import Block, ChartCard, Gallery, Note, Section, Stat
from earwitness.report.charts.comb import comb_picture, read_comb
from earwitness.report.charts.renderer import draw_inline
from earwitness.report.charts.timeline import Band, timeline_chart
from earwitness.report.headline import Headline
from earwitness.report.page import render_page
from earwitness.report.tables import (
    Column,
    Table,
    make_row,
    name_cell,
    number_cell,
    number_columns,
    text_cell,
    text_columns,
)

_LEFT_OUT = "left out"
_ALTERNATIVES = {
    "found": (
        "A trace of a decoder is also left by music that people made and that later went through a "
        "neural codec, a separation, an upmix or a restoration, and by speech or instruments "
        "synthesized within human music; detectors also flag some untouched reals (below)."
    ),
    "nothing_found": (
        "Generators whose traces these detectors do not know, and known ones after re-encoding, "
        "filtering or re-recording, leave nothing that is found here."
    ),
    "not_decidable": (
        "The file has too little that can be analysed, or its coding explains what was found: "
        "neither a human nor a machine origin is supported or excluded."
    ),
    "error": "The file could not be analysed; nothing is known of its origin.",
}


def write_dossier(dossier: Dossier, path: Path, *, command: str, redact: bool = False) -> None:
    """Write the page, atomically.

    Args:
        dossier: What it shows.
        path: The HTML file.
        command: The command that makes it again.
        redact: Leave out the names of files and the tags.
    """
    song, features = dossier.song, dossier.features
    name = _LEFT_OUT if redact else printable_name(song.path.name)
    lead = full_answer(song)
    if redact:
        lead = lead.replace(str(song.path), "the file")
    stats = [
        Stat("–" if song.duration_s is None else clock(song.duration_s), "length"),
        Stat(formatting.count(len(song.opinions)), "detectors"),
        Stat((features.sha256 or "")[:12], "SHA-256"),
    ]
    sections = [
        _file(dossier, name, redact=redact),
        _detectors(dossier),
        *_errors(dossier),
        *_places(dossier),
        *_recoded(dossier),
        *_matches(dossier, redact=redact),
        _limits(dossier, command),
    ]
    page = render_page(
        Headline(lead, [NO_PROOF, _ALTERNATIVES[song_state(song)]]),
        sections,
        stats=stats,
        detectors=[result.card.name for result in song.opinions],
        title=f"earwitness dossier: {name}",
        brand="dossier",
    )
    write_text(path, page)


def _file(dossier: Dossier, name: str, *, redact: bool) -> Section:
    features, info = dossier.features, dossier.info
    known: dict[str, object] = {
        "name": name,
        "size": f"{formatting.count(dossier.n_bytes)} bytes",
        "SHA-256 of the file": features.sha256,
        "SHA-256 of its packets, without tags": features.packets_sha256,
        "SHA-256 of its samples, 16 bit": features.samples_sha256,
        "container and codec": f"{features.container}, {features.codec}",
        "sample rate": f"{features.sample_rate_hz} Hz, {features.n_channels} channels",
        "bit rate": None if features.bit_rate_kbps is None else f"{features.bit_rate_kbps} kbit/s",
        "encoder tag": features.encoder,
        "cover picture": None if features.cover_art is None else f"{features.cover_art}, not shown",
        "C2PA": dossier.c2pa,
        "decoded by": None if info is None else _reader(info.reader),
    }
    if features.error:
        known = {key: known[key] for key in ("name", "size", "SHA-256 of the file", "C2PA")}
        known["error"] = features.error
    blocks: list[Block] = [_pairs("Identity and decoding", known)]
    if dossier.tags and not redact:
        blocks.append(_pairs("Tags", dict(dossier.tags)))
    lead = (
        "Tags are unverified claims and in no score. The hash of the packets "
        "stays when only tags change, that of the samples when the file is repacked."
    )
    return Section("file", "The file", lead, blocks)


def _reader(reader: str) -> str:
    libraries = {"seek": "soundfile", "stream": "soundfile"}
    library = libraries.get(reader, "av")
    return f"{library} {version(library)}, float samples; resampled by soxr {version('soxr')}"


def _pairs(caption: str, known: dict[str, object]) -> Table:
    rows = [make_row(key, text_cell(str(value))) for key, value in known.items() if value]
    return Table(caption, text_columns("property", "value"), rows)


def _detectors(dossier: Dossier) -> Section:
    rows = [
        make_row(
            name_cell(result.card.name),
            _verdict(result),
            number_cell(result.prob),
            number_cell(result.card.threshold),
            text_cell(result.card.weights_sha256 or "–", look="hash"),
            text_cell(result.card.preprocessing),
            detector=result.card.name,
        )
        for result in dossier.song.opinions
    ]
    columns = [
        *text_columns("detector", "finding"),
        Column("score"),
        Column("threshold"),
        *text_columns("SHA-256 of its weights", "preprocessing"),
    ]
    blocks: list[Block] = [Table("Findings of each detector", columns, rows)]
    agreement = compare_verdicts(dossier.song.opinions)
    if agreement:
        blocks.append(Note(agreement))
    for result in dossier.song.opinions:
        trained = ", ".join(result.card.trained_on or ()) or "unknown"
        text = f"{result.card.limits} Trained on: {trained}."
        blocks.append(Note(text, label=result.card.name, detector=result.card.name))
        blocks += [Note(remark, label=result.card.name) for remark in result.remarks]
    lead = "Scores from 0 to 1; from its threshold up, a detector calls a file fake."
    return Section("detectors", "Findings", lead, blocks)


def _verdict(result: DetectorResult) -> str:
    if result.error is not None:
        return f"failed: {result.error}"
    if result.abstained is not None:
        return f"abstains: {result.abstained}"
    guess = result.details.get("decoder_guess")
    return f"{result.verdict}{f' ({guess})' if guess else ''}"


def _errors(dossier: Dossier) -> Iterator[Section]:
    """Yield the errors of each detector on reals, of its card and of reference predictions."""
    rows = []
    for result in dossier.song.opinions:
        measured = result.card.false_positives
        if measured is not None:
            share = measured.n_flagged / measured.n_items
            rows.append(
                make_row(
                    name_cell(result.card.name),
                    f"{measured.corpus} (its card)",
                    measured.n_items,
                    measured.n_flagged,
                    number_cell(share),
                    detector=result.card.name,
                )
            )
    for one in dossier.errors:
        n_flagged = round((one.fpr.value or 0) * one.fpr.n_items)
        rows.append(
            make_row(
                *(name_cell(one.detector), one.reals, one.fpr.n_items, n_flagged, one.fpr),
                detector=one.detector,
            )
        )
    columns = [
        *text_columns("detector", "reals"),
        Column("files", "count"),
        Column("flagged", "count"),
        Column("share flagged"),
    ]
    lead = (
        "How often each detector flags music that people made, at the threshold used here. "
        f"Intervals are at {CONFIDENCE:.0%}, over groups of files of one origin."
    )
    blocks: list[Block] = [Table("False positives on real music", columns, rows)]
    silent = [
        result.card.name
        for result in dossier.song.opinions
        if not any(row.detector == result.card.name for row in rows)
    ]
    if silent:
        blocks.append(Note(f"No measured error: {', '.join(silent)}. Its findings have no weight."))
    if dossier.ratios:
        blocks.append(_ratios(dossier))
    elif not dossier.reference:
        blocks.append(
            Note("No reference predictions were given, so no likelihood ratio is stated.")
        )
    yield Section("errors", "Measured errors", lead, blocks)


def _ratios(dossier: Dossier) -> Table:
    rows = [
        make_row(
            name_cell(one.detector),
            text_cell(
                f"{'at least ' if abs(one.log10) >= one.bound_log10 else ''}"
                f"{10 ** abs(one.log10):.3g} times likelier if "
                f"{'fake' if one.log10 > 0 else 'real'}"
            ),
            number_cell(one.log10),
            *(one.n_real, one.n_fake),
            detector=one.detector,
        )
        for one in dossier.ratios
    ]
    columns = [
        *text_columns("detector", "such a score is"),
        Column("log10"),
        Column("reals", "count"),
        Column("fakes", "count"),
    ]
    note = (
        "Platt scaling of the reference predictions; it holds for fakes and reals like those, and "
        "is bounded by their numbers. Ratios of several detectors are not independent."
    )
    return Table("Likelihood ratios", columns, rows, [note])


def _places(dossier: Dossier) -> Iterator[Section]:
    song = dossier.song
    if song.duration_s is None or not song.has_verdict:
        return
    cards = []
    for result in song.opinions:
        if result.verdict is None:
            continue
        name = result.card.name
        said = f"{describe_verdict(result)}, {describe_score(result)}"
        band = Band(
            said, merge_windows(result.windows), result.card.threshold, result.card.one_sided
        )
        chart = timeline_chart([band], title="", subtitle="", duration_s=song.duration_s)
        label = f"Scores of {name} over {clock(song.duration_s)}: {said}."
        charts = [draw_inline(chart, aria_label=label)]
        cards += [ChartCard(name, charts, detector=name, is_wide=True), *_combs(dossier, result)]
    lead = "Scores over time, upwards for fake from the threshold; what is blank was not analysed."
    yield Section("places", "Where in the file", lead, [Gallery(cards)])


def _combs(dossier: Dossier, result: DetectorResult) -> Iterator[ChartCard]:
    """Yield the picture of the comb that a detector found, or why there is none."""
    if not result.details.get("decoder_period_hz"):
        return
    name, charts, note = result.card.name, [], ""
    try:
        path, details = dossier.song.path, result.details
        comb = comb_picture(read_comb(path, details, result.card), details, title=path.name)
        charts.append(draw_inline(comb, aria_label=f"Spectrum of the comb that {name} found."))
    except (AudioError, ChartError) as error:
        note = f"No picture: {error}"
    yield ChartCard(f"{name}: the comb", charts, note=note, detector=name, is_wide=True)


def _recoded(dossier: Dossier) -> Iterator[Section]:
    if not dossier.recoded:
        return
    names = [result.card.name for result in dossier.song.opinions]
    given = [("as it is", dossier.song), *((one.perturbation, one.song) for one in dossier.recoded)]
    rows = []
    for perturbation, song in given:
        found = {r.card.name: r for r in (song.opinions if song else ())}
        cells = [text_cell(_brief(found[name]) if name in found else "–") for name in names]
        rows.append(make_row(perturbation, *cells))
    failed = [
        f"{one.perturbation}: {one.error}" for one in dossier.recoded if one.error is not None
    ]
    lead = (
        "The file was changed in each of these ways, and scored again: findings that vanish after "
        "an ordinary re-encoding could have vanished before the file came here."
    )
    table = Table("Scores after changes", text_columns("change", *names), rows, failed)
    yield Section("changes", "After re-encoding", lead, [table])


def _brief(result: DetectorResult) -> str:
    if result.prob is None:
        return "abstains" if result.abstained else "failed"
    mark = " (flagged)" if result.prob >= result.card.threshold else ""
    return f"{formatting.number(result.prob)}{mark}"


def _matches(dossier: Dossier, *, redact: bool) -> Iterator[Section]:
    if dossier.matches is None:
        return
    rows = [
        make_row(
            name_cell(f"match {at}" if redact else match.path),
            match.relation,
            match.n_others,
            number_cell(match.similarity),
            number_cell(match.offset_s),
        )
        for at, match in enumerate(dossier.matches, 1)
    ]
    columns = [
        *text_columns("file", "relation"),
        Column("such files", "count"),
        *number_columns("similarity", "offset in s"),
    ]
    block: Block = Table("The same music", columns, rows)
    if not rows:
        block = Note("None of the files that were searched holds the same music.", tone="ok")
    lead = "Searched for in the given collection by hashes and acoustic fingerprints."
    yield Section("matches", "The same music elsewhere", lead, [block])


def _limits(dossier: Dossier, command: str) -> Section:
    missing: Sequence[str] = [
        *(
            ["likelihood ratios and errors on music like this (--reference)"]
            if not dossier.reference
            else []
        ),
        *(["other copies of this music (--against)"] if dossier.matches is None else []),
        *(["what changes do to the scores (--suite)"] if not dossier.recoded else []),
        "who made the music, and with what; lyrics; the voice; rights",
        "genre, for which no error is stated apart",
    ]
    notes: list[Block] = [Note(f"Not checked: {'; '.join(missing)}.")]
    libraries = ("numpy", "scipy", "soxr", "soundfile", "av")
    versions: dict[str, object] = {
        "earwitness": __version__,
        "Python": platform.python_version(),
        **{name: version(name) for name in libraries},
    }
    repeat = _pairs("To repeat it", {"command": command, **versions})
    lead = "Everything above follows from the file, the weights and this command."
    return Section("limits", "Limits, and how to repeat it", lead, [*notes, repeat])
