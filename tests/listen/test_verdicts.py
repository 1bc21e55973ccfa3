"""Scores in words, windows without overlaps, and segments that sound fake."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from earwitness.core.cards import ClipContract, DetectorCard
from earwitness.evaluation.windows import (
    Segment,
    covered_s,
    merge_windows,
    probability_of,
)
from earwitness.listen.results import (
    DetectorResult,
    Verdict,
    compare_verdicts,
    fake_segments,
    fakeness,
    is_contested,
    label_score,
)

PROBS = st.floats(0, 1)


def segment(start_s: float, end_s: float, logit: float) -> Segment:
    return Segment(start_s, end_s, logit, probability_of(logit))


def opinion(name: str, verdict: Verdict | None) -> DetectorResult:
    card = DetectorCard(
        name=name,
        kind="k",
        contract=ClipContract(sample_rate_hz=16_000),
        band_hz=(0, 1),
        licence="l",
        source="s",
        limits="None.",
    )
    return DetectorResult(card, verdict, error=None if verdict else "too short")


@pytest.mark.parametrize(
    ("prob", "threshold", "verdict"),
    [
        (0.0, 0.5, "says real"),
        (0.1, 0.5, "says real"),
        (0.3, 0.5, "leans real"),
        (0.5, 0.5, "is undecided"),
        (0.7, 0.5, "leans fake"),
        (1.0, 0.5, "says fake"),
        (0.7, 0.9, "leans real"),
        (0.995, 0.9, "says fake"),
        (0.3, 0.1, "leans fake"),
        (0.0, 0.0, "is undecided"),
        (1.0, 1.0, "says fake"),
        (0.99, 1.0, "is undecided"),
    ],
)
def test_words_follow_the_threshold(prob: float, threshold: float, verdict: Verdict) -> None:
    assert label_score(prob, threshold) == verdict
    one_sided = label_score(prob, threshold, one_sided=True)
    assert one_sided == ("finds a trace" if prob >= threshold else "finds no trace")


@given(PROBS, PROBS, PROBS)
def test_fakeness_rises_and_passes_one_half_at_the_threshold(
    first: float, second: float, threshold: float
) -> None:
    low, high = sorted((first, second))
    assert 0 <= fakeness(low, threshold) <= fakeness(high, threshold) <= 1
    assert (fakeness(low, threshold) >= 0.5) == (low >= threshold) or math.isclose(low, threshold)


def test_where_windows_overlap_their_mean_logit_holds() -> None:
    windows = [segment(0, 5, -2), segment(5, 10, 1), segment(7, 12, 3)]
    assert [(s.start_s, s.end_s, s.logit) for s in merge_windows(windows)] == [
        (0, 5, -2),
        (5, 7, 1),
        (7, 10, 2),
        (10, 12, 3),
    ]
    assert covered_s(windows) == 12


def test_gaps_are_in_no_segment() -> None:
    windows = [segment(0, 1, 0), segment(4, 5, 0)]
    assert [s[:2] for s in merge_windows(windows)] == [(0, 1), (4, 5)]
    assert covered_s(windows) == 2
    assert merge_windows([]) == []


@given(
    st.lists(
        st.tuples(st.integers(0, 50), st.integers(1, 9), st.floats(-5, 5)), min_size=1, max_size=12
    )
)
def test_stretches_cover_what_windows_cover_once(rows: list[tuple[int, int, float]]) -> None:
    windows = [segment(start, start + length, logit) for start, length, logit in rows]
    segments = merge_windows(windows)
    assert all(a.end_s <= b.start_s for a, b in itertools.pairwise(segments))
    seconds = {t for start, length, _ in rows for t in range(start, start + length)}
    assert covered_s(windows) == pytest.approx(len(seconds))
    for second in seconds:
        inside = [w.logit for w in windows if w.start_s <= second < w.end_s]
        (found,) = [s.logit for s in segments if s.start_s <= second < s.end_s]
        assert found == pytest.approx(sum(inside) / len(inside))


def test_neighbours_that_sound_fake_make_one_run_over_gaps() -> None:
    windows = [segment(2 * n, 2 * n + 1, logit) for n, logit in enumerate([-1, 2, 3, -1, 2])]
    assert fake_segments(windows, 0.5) == [(2, 5), (8, 9)]
    assert fake_segments(windows, 0.99) == []


@pytest.mark.parametrize(
    ("verdicts", "expected", "both"),
    [
        (["says fake"], None, False),
        (["says fake", None], None, False),
        (["says fake", "leans fake"], "Both detectors point to fake.", False),
        (["says real"] * 3, "All 3 detectors point to real.", False),
        (["is undecided"] * 2, "Both detectors are undecided.", False),
        (["finds a trace", "says fake"], "Both detectors point to fake.", False),
        (
            ["finds a trace", "says real"],
            "The detectors disagree: d0 finds a trace, d1 says real.",
            True,
        ),
        (["finds a trace"] * 2, "Both detectors find a trace.", False),
        (["finds no trace"] * 2, "Both detectors find no trace.", False),
        (
            ["finds no trace", "says real"],
            "The detectors agree only in part: d0 finds no trace, d1 says real.",
            False,
        ),
        (
            ["says fake", "is undecided"],
            "The detectors agree only in part: d0 says fake, d1 is undecided.",
            False,
        ),
        (
            ["says fake", None, "leans real"],
            "The detectors disagree: d0 says fake, d2 leans real.",
            True,
        ),
    ],
)
def test_agreement_is_described(
    verdicts: list[Verdict | None], expected: str | None, both: bool
) -> None:
    opinions = [opinion(f"d{n}", verdict) for n, verdict in enumerate(verdicts)]
    assert compare_verdicts(opinions) == expected
    assert is_contested(opinions) is both


def test_extreme_logits_do_not_overflow() -> None:
    assert probability_of(-1e4) == 0
    assert probability_of(1e4) == 1
    assert probability_of(0) == 0.5
