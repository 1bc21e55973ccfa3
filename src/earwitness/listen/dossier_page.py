"""The dossier of one file as a self-contained page: findings, limits, and alternatives.

Findings are worded no stronger than the evidence; ``redact`` leaves out names and tags.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path

from earwitness import __version__
from earwitness.core.io import write_text
from earwitness.listen.answer import clock, full_answer, song_state
from earwitness.listen.dossier import CONFIDENCE, Dossier, error_of_card
from earwitness.listen.song_sections import (
    ALTERNATIVES,
    changes_sections,
    findings_section,
    places_sections,
)
from earwitness.listen.text import NO_PROOF, printable_name
from earwitness.report import formatting
from earwitness.report.blocks import Block, Note, Section, Stat
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
        findings_section(song),
        *_errors(dossier, redact=redact),
        *places_sections(song, name=name),
        *changes_sections(song, dossier.recoded),
        *_matches(dossier, redact=redact),
        _limits(dossier, command),
    ]
    page = render_page(
        Headline(lead, [NO_PROOF, ALTERNATIVES[song_state(song)]]),
        sections,
        stats=stats,
        detectors=[result.card.name for result in song.opinions],
        title=f"earwitness dossier: {name}",
        brand="dossier",
    )
    write_text(path, page)


def _file(dossier: Dossier, name: str, *, redact: bool) -> Section:
    features, info = dossier.features, dossier.info
    cover = {"yes": "one, not shown", "no": "none"}
    known: dict[str, object] = {
        "name": name,
        "size": f"{formatting.count(dossier.n_bytes)} bytes",
        "SHA-256 of the file": features.sha256,
        "SHA-256 of its packets, without tags": features.packets_sha256,
        "SHA-256 of its samples, 16 bit": features.samples_sha256,
        "container and codec": f"{features.container}, {features.codec}",
        "sample rate": f"{features.sample_rate_hz} Hz, {_channels(features.n_channels)}",
        "bit rate": None if features.bit_rate_kbps is None else f"{features.bit_rate_kbps} kbit/s",
        "encoder tag": features.encoder,
        "cover picture": cover.get(features.cover_art or ""),
        "C2PA manifest": dossier.credentials.state,
        "decoded by": None if info is None else _reader(info.reader),
    }
    if features.error:
        known = {
            key: known[key] for key in ("name", "size", "SHA-256 of the file", "C2PA manifest")
        }
        known["error"] = features.error
    blocks: list[Block] = [_pairs("Identity and decoding", known)]
    if dossier.credentials.claims and not redact:
        claims: dict[str, object] = dict(dossier.credentials.claims)
        blocks.append(_pairs("Claims of its C2PA manifest", claims))
    if dossier.tags and not redact:
        blocks.append(_pairs("Tags", dict(dossier.tags)))
    lead = (
        "Tags and manifests are claims of others, and in no score. The hash of the packets "
        "stays when only tags change, that of the samples when the file is repacked."
    )
    return Section("file", "The file", lead, blocks)


def _channels(n_channels: int | None) -> str:
    return "1 channel" if n_channels == 1 else f"{n_channels} channels"


def _reader(reader: str) -> str:
    libraries = {"seek": "soundfile", "stream": "soundfile"}
    library = libraries.get(reader, "av")
    return f"{library} {version(library)}, float samples; resampled by soxr {version('soxr')}"


def _errors(dossier: Dossier, *, redact: bool) -> Iterator[Section]:
    """Yield the errors of each detector on reals, of its card and of reference predictions."""
    stated = [error_of_card(result.card) for result in dossier.song.opinions]
    rows = [
        make_row(
            *(name_cell(one.detector), one.reals, one.fpr.n_items),
            *(round((one.fpr.value or 0) * one.fpr.n_items), one.fpr),
            detector=one.detector,
        )
        for one in (*filter(None, stated), *dossier.errors)
    ]
    columns = [
        *text_columns("detector", "reals"),
        Column("files", "count"),
        Column("flagged", "count"),
        Column("share flagged"),
    ]
    lead = (
        "How often each detector flags music that people made, at the threshold used here. "
        f"Intervals are at {CONFIDENCE:.0%}, over groups of files of one origin; a card states no "
        "groups, so its interval takes each file by itself and may be too short."
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
            Note(
                "Errors on real music like this file (of its sample rate, codec and length) were "
                "not measured, and no likelihood ratio is stated: no reference predictions were "
                "given (--reference)."
            )
        )
    if dossier.reference and not redact:
        named = ", ".join(map(printable_name, dossier.reference))
        blocks.append(Note(f"Reference predictions: {named}."))
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


def _pairs(caption: str, known: dict[str, object]) -> Table:
    rows = [make_row(key, text_cell(str(value))) for key, value in known.items() if value]
    return Table(caption, text_columns("property", "value"), rows)
