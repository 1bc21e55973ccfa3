"""``earwitness listen``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from earwitness.cli import console
from earwitness.cli.options import (
    Weights,
    choose_device,
    comma_list,
    option,
    parse_option,
    predict_option,
    switch,
    weights_by_name,
)

if TYPE_CHECKING:
    from earwitness.core.cards import DetectorCard
    from earwitness.detectors.base import AnyDetector
    from earwitness.listen.listen import Song
    from earwitness.listen.results import SongResult


def listen(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE", help="Songs, or folders of audio files.")
    ],
    *,
    detector: Annotated[
        list[str] | None,
        option(
            "NAMES",
            "Detectors by name, hub id or folder, comma-separated (default: all with local "
            "weights; see earwitness detectors).",
        ),
    ] = None,
    weights: Weights = None,
    preprocessing: Annotated[str, predict_option("preprocessing")] = "correct",
    windows: Annotated[
        str | None,
        option(
            "N",
            "Clips per song: published (one, as the detector was evaluated), N evenly spaced, "
            "or all (default: all, up to ten minutes of audio per song).",
        ),
    ] = None,
    device: Annotated[str, predict_option("device")] = "auto",
    fake_label: Annotated[str | None, predict_option("fake_label")] = None,
    save: Annotated[
        Path | None,
        option("PATH", "Save the timeline as .png or .svg; for several songs, a folder of PNGs."),
    ] = None,
    as_json: Annotated[bool, switch("--json", "Print JSON, and nothing else, to stdout.")] = False,
) -> None:
    """Score songs with several detectors, as a whole and over time.

    A verdict describes a detector's output, not how a song was made. The exit status is 0 if any
    file was scored, else 1.
    """
    from earwitness.listen.listen import find_songs
    from earwitness.listen.listen import listen as listen_to

    chosen = parse_option("windows", windows) if windows is not None else None
    songs = find_songs(files)
    pictures = _choose_pictures(songs, save) if save is not None else []
    with console.err.status("opening detectors") as status:
        detectors = open_detectors(
            detector, weights, preprocessing=preprocessing, device=device, fake_label=fake_label
        )
        results = list(listen_to(songs, detectors, windows=chosen, working=status.update))
    cards = [opened.card for opened in detectors]
    if as_json:
        print(json.dumps(_record(results, cards), indent=2, allow_nan=False))
    else:
        _tell(results, cards)
    if save is not None:
        _draw(results, pictures)
    if not any(result.has_verdict for result in results):
        raise typer.Exit(1)


def open_detectors(
    asked: list[str] | None,
    given: list[str] | None,
    *,
    preprocessing: str,
    device: str,
    fake_label: str | None,
) -> list[AnyDetector]:
    """Return the named detectors, or all with local weights."""
    from earwitness.detectors.loading import check_names, open_detector
    from earwitness.listen.listen import find_detectors

    kind = parse_option("preprocessing", preprocessing)
    names = comma_list(asked) or [value.partition("=")[0] for value in given or ()]
    if names:
        places = weights_by_name(given, names)
    else:
        places, problems = find_detectors()
        names = list(places)
        console.remark(*problems)
    device = choose_device(device)
    detectors = check_names(
        [
            open_detector(
                name, weights=places, device=device, preprocessing=kind, fake_label=fake_label
            )
            for name in names
        ]
    )
    for opened in detectors:
        if opened.card.preprocessing != kind and asked:
            console.remark(
                f"{opened.card.name} has only one preprocessing: {opened.card.preprocessing}"
            )
    return detectors


def _record(results: Sequence[SongResult], cards: Sequence[DetectorCard]) -> dict[str, object]:
    from earwitness import __version__
    from earwitness.cli.detectors import card_record
    from earwitness.listen.text import song_record

    return {
        "earwitness": __version__,
        "detectors": [card_record(card) for card in cards],
        "songs": [song_record(result) for result in results],
    }


def _tell(results: Sequence[SongResult], cards: Sequence[DetectorCard]) -> None:
    from earwitness.listen.text import describe_in_full, limit_lines, remark_lines, results_table

    width = console.out.width
    if len(results) == 1:
        lines = describe_in_full(results[0], width=width)
    else:
        console.out.print(results_table(results, cards, width=width), soft_wrap=False)
        console.out.print()
        lines = [*remark_lines(results, width=width), *limit_lines(cards, width=width)]
    for line in lines:
        console.out.print(line)


def _choose_pictures(songs: Sequence[Song], save: Path) -> list[Path]:
    from earwitness.listen.timeline import choose_images  # Altair takes long

    return choose_images([song.path for song in songs], save)


def _draw(results: Sequence[SongResult], pictures: Sequence[Path]) -> None:
    from earwitness.listen.spectrum import plot_comb
    from earwitness.listen.timeline import plot_hearing

    for result, path in zip(results, pictures, strict=True):
        if result.has_verdict:
            plot_hearing(result, path)
            console.remark(f"timeline drawn in {path}")
            if (drawn := plot_comb(result, path)) is not None:
                console.remark(f"spectrum drawn in {drawn}")
