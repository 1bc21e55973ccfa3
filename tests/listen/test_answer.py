"""Answers of all detectors for one song."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from earwitness.core.cards import ClipContract, DetectorCard, FalsePositives
from earwitness.evaluation.windows import (
    Segment,
    probability_of,
)
from earwitness.listen.answer import brief_answer, full_answer, song_state
from earwitness.listen.results import (
    DetectorResult,
    SongResult,
    found_lines,
    label_score,
)
from earwitness.listen.text import describe_in_full


def card(name: str, **changes: object) -> DetectorCard:
    common: dict[str, object] = {
        "name": name,
        "kind": "k",
        "contract": ClipContract(sample_rate_hz=16_000),
        "band_hz": (0, 1),
        "one_sided": True,
        "licence": "l",
        "source": "s",
        "limits": "None.",
    }
    return DetectorCard.model_validate(common | changes)


def result(of: DetectorCard, *logits: float, **details: object) -> DetectorResult:
    windows = tuple(
        Segment(10 * n, 10 * n + 10, logit, probability_of(logit)) for n, logit in enumerate(logits)
    )
    mean = sum(logits) / len(logits)
    prob = probability_of(mean)
    verdict = label_score(prob, of.threshold, one_sided=of.one_sided)
    return DetectorResult(of, verdict, mean, prob, windows, details=details)


def song(*results: DetectorResult, duration_s: float = 30) -> SongResult:
    return SongResult(Path("a.mp3"), duration_s, 44_100, results)


COMB = card(
    "comb",
    false_positives=FalsePositives(corpus="tracks", n_items=150, n_flagged=1),
    known_kinds=("YuE",),
    unknown_kinds=("Udio", "Griffin-Lim"),
)
LR = card("lr", one_sided=False, known_kinds=("Udio",), unknown_kinds=("YuE",))


def test_a_trace_is_told_with_its_decoder_place_score_and_false_positives() -> None:
    found = song(result(COMB, 5, 5, 5, decoder_guess="YuE", decoder_period_hz=50.0))
    assert song_state(found) == "found"
    assert full_answer(found) == (
        "Trace of a decoder found: comb (lines every 50 Hz, as from YuE) in the whole song, "
        "clearly (score 0.99, threshold 0.5; it flagged 1 of 150 real tracks)."
    )


@pytest.mark.parametrize(
    ("period_hz", "words"),
    [
        (50.0, "the same lines as comb"),
        (350.0, "one in 7 of the lines of comb, every 350 Hz"),
        (12.5, "lines every 12.5 Hz, of which comb found one in 4"),
        (86.13, "lines every 86.13 Hz, as from unlisted"),
    ],
)
def test_lines_that_another_detector_found_are_told_and_drawn_once(
    period_hz: float, words: str
) -> None:
    first = result(COMB, 5, decoder_guess="YuE", decoder_period_hz=50.0)
    box = result(card("box"), 5, decoder_guess="unlisted", decoder_period_hz=period_hz)
    assert f"; box ({words}) in " in full_answer(song(first, box))
    assert len(found_lines([first, box])) == (2 if "unlisted" in words else 1)


def test_one_window_is_no_statement_on_places() -> None:
    for duration_s, words in ((10, "the whole song"), (40, "0:00–0:10 (25% of the song)")):
        lines = describe_in_full(song(result(COMB, 5), duration_s=duration_s), width=100)
        shown = " ".join(line.plain.strip() for line in lines)
        assert f"One score for {words}, not for places in it." in shown
        assert "segments" not in shown


def test_windows_give_the_ranges_that_score_as_fake() -> None:
    answer = full_answer(song(result(LR, 9, -3, 2)))
    assert answer.startswith("Scored as fake: lr in 0:00–0:10, 0:20–0:30, clearly")
    assert "false-positive rate unknown" in answer


def test_a_part_of_a_long_song_is_not_called_the_whole() -> None:
    assert "in the analysed 0:00–0:10," in full_answer(song(result(COMB, 5), duration_s=300))


def test_disagreement_is_part_of_the_answer() -> None:
    split = song(result(COMB, 5), result(LR, -5))
    assert song_state(split) == "found"
    assert full_answer(split).endswith("; but lr found nothing.")
    assert brief_answer(split) == "trace of a decoder found by comb, not by lr"


def test_nothing_found_names_what_no_detector_finds_and_never_says_real() -> None:
    alone, both = song(result(COMB, -5)), song(result(COMB, -5), result(LR, -5))
    assert song_state(alone) == song_state(both) == "nothing_found"
    assert full_answer(alone) == (
        "Nothing found by comb, which does not find Udio and Griffin-Lim, among others; this "
        "does not say that the music is real."
    )
    assert "comb and lr, which do not find Griffin-Lim, among others;" in full_answer(both)
    unknown = song(result(card("x"), -5))
    assert "what x misses is unknown" in full_answer(unknown)


def test_abstention_of_all_is_not_decidable_and_of_some_is_told() -> None:
    silent = DetectorResult(COMB, abstained="digital silence")
    assert song_state(song(silent)) == "not_decidable"
    assert full_answer(song(silent)) == "Not decidable: comb abstained (digital silence)."
    some = song(silent, result(LR, -5))
    assert song_state(some) == "nothing_found"
    assert "comb abstained (digital silence)" in full_answer(some)


def test_failures_give_no_answer() -> None:
    failed = DetectorResult(COMB, error="too short")
    assert song_state(song(failed)) == "error"
    assert full_answer(song(failed)) == "No answer: comb: too short."
    unreadable = SongResult(Path("a.mp3"), error="empty")
    assert (song_state(unreadable), full_answer(unreadable)) == ("error", "No answer: empty.")
    assert "failed: comb: too short" in full_answer(song(failed, result(LR, -5)))


def test_more_cannot_be_flagged_than_measured() -> None:
    with pytest.raises(ValidationError, match="expected at most 3"):
        FalsePositives(corpus="tracks", n_items=3, n_flagged=4)


@pytest.mark.parametrize(
    ("logit", "words"), [(0.05, "just above the limit"), (1, "likely"), (5, "clearly")]
)
def test_details_say_how_sure_a_trace_is_in_the_words_of_the_answer(
    logit: float, words: str
) -> None:
    found = song(result(COMB, logit))
    assert f", {words} (score" in full_answer(found)
    details = "\n".join(line.plain for line in describe_in_full(found, width=100))
    assert f"comb finds a trace, {words}, score" in details
    assert "undecided" not in details


def test_a_trace_just_below_the_limit_is_not_found_in_the_details_either() -> None:
    missed = song(result(COMB, -0.05))
    assert song_state(missed) == "nothing_found"
    assert "comb finds no trace, score" in "\n".join(
        line.plain for line in describe_in_full(missed, width=100)
    )


def test_a_detector_of_traces_never_says_real_or_fake_on_the_terminal() -> None:
    for own in (result(COMB, 5, -5, 5, -5), result(COMB, -5), result(COMB, 5)):
        shown = " ".join(line.plain for line in describe_in_full(song(own), width=100))
        detector = shown[shown.index("comb finds") :]
        assert "real" not in detector
        assert "fake" not in detector
        assert "0 no trace, 1 trace" in shown
        assert "▁ no trace · █ trace" in shown
    both = describe_in_full(song(result(COMB, -5), result(LR, -5)), width=100)
    assert "▁ real or no trace · █ fake or trace" in " ".join(line.plain for line in both)
