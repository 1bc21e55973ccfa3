"""Hearings in words, as a table, as blocks, as JSON and as pictures."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from earwitness.core.cards import ClipContract, DetectorCard, ScoreKind
from earwitness.core.errors import UsageError
from earwitness.evaluation.windows import (
    Segment,
    probability_of,
)
from earwitness.listen.results import (
    DetectorResult,
    SongResult,
    label_score,
)
from earwitness.listen.text import (
    NO_PROOF,
    clock,
    describe_in_full,
    describe_score,
    draw_bar,
    limit_lines,
    remark_lines,
    results_table,
    song_record,
    write_axis,
)
from earwitness.listen.timeline import choose_images, plot_hearing


def card(name: str = "d", *, kind: ScoreKind = "uncalibrated", threshold: float = 0.5):
    return DetectorCard(
        name=name,
        kind="k",
        contract=ClipContract(sample_rate_hz=16_000),
        band_hz=(0, 1),
        score_kind=kind,
        threshold=threshold,
        licence="l",
        source="s",
        limits="Hears loudness alone.",
    )


def opinion(*logits: float, of: DetectorCard | None = None, length_s: float = 5) -> DetectorResult:
    of = of or card()
    windows = tuple(
        Segment(n * length_s, (n + 1) * length_s, logit, probability_of(logit))
        for n, logit in enumerate(logits)
    )
    mean = sum(logits) / len(logits)
    prob = probability_of(mean)
    return DetectorResult(of, label_score(prob, of.threshold), mean, prob, windows)


def song_of(
    *opinions: DetectorResult, path: str = "song.mp3", duration_s: float = 30
) -> SongResult:
    return SongResult(Path(path), duration_s, 44_100, opinions)


def text_of(song: SongResult, width: int = 100) -> str:
    return "\n".join(line.plain for line in describe_in_full(song, width=width))


def table_text(hearings: list[SongResult], cards: list[DetectorCard], width: int = 110) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(results_table(hearings, cards, width=width))
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def test_only_a_card_makes_a_number_a_probability() -> None:
    assert describe_score(opinion(0.0)) == "score 0.50"
    calibrated = opinion(0.0, of=card(kind="probability"))
    assert describe_score(calibrated) == "probability of fake 0.50"
    assert "not a probability" in text_of(song_of(opinion(0.0)))
    assert "not a probability" not in text_of(song_of(calibrated))


@pytest.mark.parametrize(("logit", "expected"), [(9, ">0.99"), (-9, "<0.01"), (800, "1.00")])
def test_numbers_are_not_rounded_to_certainty(logit: float, expected: str) -> None:
    assert describe_score(opinion(logit)) == f"score {expected}"


def test_a_song_in_full() -> None:
    song = song_of(opinion(-3, -3, 3, 3, -3, 3), opinion(-3, of=card("e"), length_s=30))
    shown = " ".join(text_of(song).split())
    assert shown.startswith("song.mp3 0:30 long, 44100 Hz")
    assert "Scores as fake: 0:10–0:20, 0:25–0:30 (50% of the analysed audio)." in shown
    assert "Analysed all of the song, in 6 windows of 5 s." in shown
    assert "One score for the whole song, not for places in it." in shown
    assert "just above the limit (score 0.50, threshold 0.5" in shown
    assert "; but e found nothing." in shown
    assert "Limits: Hears loudness alone." in shown
    assert shown.endswith(NO_PROOF)
    assert "is AI" not in shown


def test_many_stretches_are_counted_and_the_longest_named() -> None:
    song = song_of(opinion(*[3, -3] * 8, 3, 3, -3, length_s=1), duration_s=60)
    shown = " ".join(text_of(song).split())
    assert "0:16–0:18 and 5 shorter ones" in shown
    assert "Analysed 32% of the song" in shown


def test_a_detector_that_could_not_judge_and_a_file_that_could_not_be_read() -> None:
    shown = text_of(song_of(DetectorResult(card(), error="0.1 s long"), opinion(3, of=card("e"))))
    assert "d failed: 0.1 s long" in shown
    assert text_of(SongResult(Path("a.mp3"), error="no such file")) == "a.mp3: no such file"


@pytest.mark.parametrize("width", [30, 300])
def test_lines_fit_the_terminal(width: int) -> None:
    song = song_of(opinion(-3, 3, length_s=15), opinion(3, of=card("e"), length_s=30))
    lines = describe_in_full(song, width=width)
    wrapped = [line.plain for line in lines if "threshold" not in line.plain]
    assert max(map(len, wrapped)) <= min(width, 100)


def test_blocks_rise_with_fakeness_and_leave_gaps_blank() -> None:
    windows = [Segment(0, 10, -9, 0), Segment(20, 30, 9, 1), Segment(30, 40, 0, 0.5)]
    bar = draw_bar(windows, 40, threshold=0.5, n_cells=8)
    assert bar.plain == "▁▁  ██▅▅"
    low = draw_bar(windows, 40, threshold=0.9, n_cells=4)
    assert low.plain == "▁ █▃"


def test_times_are_below_their_cells() -> None:
    axis = write_axis(30, 60)
    assert axis.index("0:10") == 20
    assert axis.index("0:20") == 40
    assert len(write_axis(10_800, 30)) <= 30
    assert write_axis(0.3, 40) == "0:00"


@pytest.mark.parametrize(
    ("seconds", "expected"), [(0, "0:00"), (61.9, "1:01"), (3_600, "1:00:00"), (10_799, "2:59:59")]
)
def test_clock(seconds: float, expected: str) -> None:
    assert clock(seconds) == expected


def test_a_table_has_a_row_a_song_with_what_went_wrong() -> None:
    cards = [card("first"), card("second")]
    songs = [
        song_of(opinion(3, of=cards[0]), opinion(-3, of=cards[1]), path="[red]a ü.mp3"),
        SongResult(Path("text.mp3"), error="a text/HTML file, not audio"),
        song_of(opinion(0, of=cards[0]), DetectorResult(cards[1], error="too short"), path="b.mp3"),
    ]
    for width in (110, 50):
        shown = table_text(songs, cards, width)
        for part in ("[red]a ü.mp3", "disagree", "says fake", "says real", "is undecided"):
            assert part in shown
        assert "text/HTML" in shown
        assert "too short" in shown
        assert max(map(len, shown.splitlines())) <= width


def test_a_table_of_many_detectors_keeps_every_verdict_in_sight() -> None:
    cards = [card(f"sonics-spectttra-alpha-{n}s") for n in range(8)]
    shown = table_text([song_of(*(opinion(3, of=each) for each in cards))], cards, 80)
    for each in cards:
        (line,) = [line for line in shown.splitlines() if each.name in line]
        assert "says fake 0.95" in line


def test_remarks_and_limits_are_shown_once() -> None:
    noted = DetectorResult(card("d"), "says real", -3, 0.05, remarks=("It is short.",))
    other = DetectorResult(card("e"), "says real", -3, 0.05, remarks=("It is short.",))
    songs = [song_of(noted, other, path="a.mp3"), song_of(noted, other, path="b.mp3")]
    (line,) = remark_lines(songs, width=100)
    assert line.plain == "a.mp3 and 1 more, d, e: It is short."
    limits = [line.plain for line in limit_lines([card("d"), card("e")], width=100)]
    assert limits == ["d, e: Hears loudness alone.", NO_PROOF]


def test_a_record_survives_json() -> None:
    record = song_record(song_of(opinion(-3, 3)))
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    (own,) = record["opinions"]
    assert own["sounds_fake"] == [{"start_s": 5, "end_s": 10}]
    assert [w["start_s"] for w in own["windows"]] == [0, 5]
    assert (record["state"], own["false_positives"]) == ("found", None)
    assert record["answer"].startswith("Scored as fake: d in 0:05–0:10")
    assert (own["heard_s"], own["is_probability"], own["verdict"]) == (10, False, "is undecided")


@pytest.mark.parametrize(("suffix", "start"), [(".png", b"\x89PNG"), (".SVG", b"<svg")])
def test_pictures_are_drawn(tmp_path: Path, suffix: str, start: bytes) -> None:
    song = song_of(opinion(-3, 3), DetectorResult(card("e"), error="too short"), path="[red]é.mp3")
    path = plot_hearing(song, tmp_path / "neu" / f"bild{suffix}")
    content = path.read_bytes()
    assert content.startswith(start)
    if suffix == ".SVG":
        text = content.decode()
        assert "[red]é.mp3" in text
        assert "d is undecided, score 0.50" in text


def test_there_is_nothing_to_draw_without_a_verdict(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no detector gave a verdict"):
        plot_hearing(SongResult(Path("a.mp3"), error="gone"), tmp_path / "a.png")
    with pytest.raises(UsageError, match=r"ends in \.png or \.svg"):
        plot_hearing(song_of(opinion(1)), tmp_path / "a.gif")


def test_where_pictures_go(tmp_path: Path) -> None:
    one, two = [Path("a/song.mp3")], [Path("a/song.mp3"), Path("b/Song.mp3")]
    assert choose_images(one, tmp_path / "x.svg") == [tmp_path / "x.svg"]
    assert choose_images(one, tmp_path) == [tmp_path / "song.png"]
    assert choose_images(two, tmp_path / "neu") == [
        tmp_path / "neu" / "song.png",
        tmp_path / "neu" / "Song__2.png",
    ]
    with pytest.raises(UsageError, match="one image for 2 songs, expected a folder"):
        choose_images(two, tmp_path / "x.png")
    with pytest.raises(UsageError, match=r"expected a \.png or \.svg file, or a folder"):
        choose_images(one, tmp_path / "x.jpg")
