"""``earwitness listen``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from earwitness.cli import console
from earwitness.cli.options import (
    comma_list,
    preprocessing_choice,
    weights_by_name,
    windows_choice,
)

if TYPE_CHECKING:
    from earwitness.core.cards import DetectorCard
    from earwitness.detectors.base import Detector
    from earwitness.listen.types import SongResult


def listen(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE", help="Songs; a folder stands for the audio files in it."),
    ],
    *,
    detector: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAMES",
            help="Detectors by name, hub id or folder, by comma (default: all whose weights are "
            "here; see earwitness detectors).",
        ),
    ] = None,
    weights: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=PATH",
            help="Where weights lie; a bare path serves a single detector. Else "
            "$EARWITNESS_WEIGHTS/NAME is looked for, then the hub.",
        ),
    ] = None,
    preprocessing: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="correct: audio is brought to the detector's rate. published: as the published "
            "loader of the SpecTTTra detectors has it, which does not.",
        ),
    ] = "correct",
    windows: Annotated[
        str | None,
        typer.Option(
            metavar="N",
            help="Clips per song: published (the detector's single one), N spread evenly, or all, "
            "one after another (default: all, of songs over ten minutes so many that at most ten "
            "minutes are heard).",
        ),
    ] = None,
    device: Annotated[
        str, typer.Option(metavar="DEVICE", help="auto, cpu, cuda, cuda:N or mps.")
    ] = "auto",
    save: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="Draw the timeline: a .png or .svg file; of several songs a folder of PNGs.",
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON to stdout, and nothing else there.")
    ] = False,
) -> None:
    """Hear what detectors say of a song, and of which seconds of it.

    A verdict says what a detector heard, not how the song was made. Exit code 0 even where some
    files could not be judged; 1 when none could.
    """
    from earwitness.listen.listen import find_songs
    from earwitness.listen.listen import listen as listen_to
    from earwitness.listen.timeline import choose_pictures

    chosen = windows_choice(windows) if windows is not None else None
    songs = find_songs(files)
    pictures = choose_pictures([song.path for song in songs], save) if save is not None else []
    with console.err.status("opening detectors") as status:
        detectors = _open(detector, weights, preprocessing=preprocessing, device=device)
        hearings = list(listen_to(songs, detectors, windows=chosen, working=status.update))
    cards = [opened.card for opened in detectors]
    if as_json:
        print(json.dumps(_record(hearings, cards), indent=2, allow_nan=False))
    else:
        _tell(hearings, cards)
    if save is not None:
        _draw(hearings, pictures)
    if not any(hearing.is_judged for hearing in hearings):
        raise typer.Exit(1)


def _open(
    asked: list[str] | None, given: list[str] | None, *, preprocessing: str, device: str
) -> list[Detector]:
    """Open the detectors named, or all whose weights are here."""
    from earwitness.cli.options import choose_device
    from earwitness.detectors.loading import open_detectors
    from earwitness.listen.listen import find_detectors

    kind = preprocessing_choice(preprocessing)
    names = comma_list(asked)
    if names:
        places = weights_by_name(given, names)
    elif given:
        names = [value.partition("=")[0] for value in given]
        places = weights_by_name(given, names)
    else:
        places, problems = find_detectors()
        names = list(places)
        for problem in problems:
            console.remark(problem)
    device = choose_device(device, None, console.remark)
    detectors = open_detectors(names, weights=places, device=device, preprocessing=kind)
    for opened in detectors:
        if opened.card.preprocessing != kind and asked:
            console.remark(
                f"{opened.card.name} knows one preprocessing only: {opened.card.preprocessing}"
            )
    return detectors


def _record(hearings: Sequence[SongResult], cards: Sequence[DetectorCard]) -> dict[str, object]:
    from earwitness import __version__
    from earwitness.cli.detector_text import card_record
    from earwitness.listen.text import hearing_record

    return {
        "earwitness": __version__,
        "detectors": [card_record(card) for card in cards],
        "songs": [hearing_record(hearing) for hearing in hearings],
    }


def _tell(hearings: Sequence[SongResult], cards: Sequence[DetectorCard]) -> None:
    from earwitness.listen.text import (
        hearings_table,
        tell_hearing,
        tell_limits,
        tell_remarks,
    )

    width = console.out.width
    if len(hearings) == 1:
        lines = tell_hearing(hearings[0], width=width)
    else:
        console.out.print(hearings_table(hearings, cards, width=width), soft_wrap=False)
        console.out.print()
        lines = [*tell_remarks(hearings, width=width), *tell_limits(cards, width=width)]
    for line in lines:
        console.out.print(line)


def _draw(hearings: Sequence[SongResult], pictures: Sequence[Path]) -> None:
    from earwitness.listen.timeline import plot_hearing

    for hearing, path in zip(hearings, pictures, strict=True):
        if hearing.is_judged:
            plot_hearing(hearing, path)
            console.remark(f"timeline drawn in {path}")
