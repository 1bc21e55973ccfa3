"""The answer of all detectors for one song, in a sentence and as a state.

Found means that a detector's score reaches its threshold; nothing found never means real.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from earwitness.core.cards import DetectorCard
from earwitness.evaluation.windows import (
    merge_windows,
)
from earwitness.listen.results import (
    DetectorResult,
    SongResult,
    compare_lines,
    fake_segments,
    sureness,
)
from earwitness.report import formatting

State = Literal["found", "nothing_found", "not_decidable", "error"]
"""Found by any detector; by none; every detector that did not fail abstained; or all failed."""

_MAX_RANGES = 3


def song_state(song: SongResult) -> State:
    """Return the state of a song over all detectors."""
    if _flagged(song):
        return "found"
    if _unflagged(song):
        return "nothing_found"
    return "not_decidable" if _abstained(song) else "error"


def full_answer(song: SongResult) -> str:
    """Return the answer with detectors, places, scores, false positives and limits."""
    state = song_state(song)
    if state == "error":
        return f"No answer: {_failures(song)}."
    notes = [*_abstentions(song), *([f"failed: {_failures(song)}"] if _failed(song) else [])]
    if state == "not_decidable":
        return f"Not decidable: {'; '.join(notes)}."
    if state == "found":
        flagged = _flagged(song)
        found = "; ".join(_finding(result, flagged, song.duration_s or 0) for result in flagged)
        without = _names(_unflagged(song))
        others = [f"but {_list(without)} found nothing"] if without else []
        return f"{'; '.join([f'{_heading(song)}: {found}', *others, *notes])}."
    found = f"Nothing found by {_list(_names(_unflagged(song)))}, {_ignorance(_unflagged(song))}"
    return f"{'; '.join([found, *notes])}; this does not say that the music is real."


def brief_answer(song: SongResult) -> str:
    """Return the answer in a few words, for tables."""
    state = song_state(song)
    if state == "error":
        return "no answer"
    if state == "not_decidable":
        return "not decidable"
    if state == "nothing_found":
        return f"nothing found by {_brief(_unflagged(song))}, which does not say real"
    others = f", not by {_brief(_unflagged(song))}" if _unflagged(song) else ""
    return f"{_heading(song).lower()} by {_brief(_flagged(song))}{others}"


def clock(seconds: float) -> str:
    """Format a time as ``m:ss`` or ``h:mm:ss``."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _flagged(song: SongResult) -> list[DetectorResult]:
    return [r for r in song.opinions if r.prob is not None and r.prob >= r.card.threshold]


def _unflagged(song: SongResult) -> list[DetectorResult]:
    return [r for r in song.opinions if r.prob is not None and r.prob < r.card.threshold]


def _abstained(song: SongResult) -> list[DetectorResult]:
    return [result for result in song.opinions if result.abstained is not None]


def _failed(song: SongResult) -> list[DetectorResult]:
    return [result for result in song.opinions if result.error is not None]


def _failures(song: SongResult) -> str:
    if song.error is not None:
        return song.error
    return "; ".join(f"{r.card.name}: {r.error}" for r in _failed(song)) or "no detector"


def _abstentions(song: SongResult) -> list[str]:
    """Return each reason for abstaining once, with its detectors."""
    names: dict[str, list[str]] = {}
    for result in _abstained(song):
        names.setdefault(result.abstained or "", []).append(result.card.name)
    return [f"{_list(some)} abstained ({reason})" for reason, some in names.items()]


def _heading(song: SongResult) -> str:
    traces = any(result.card.one_sided for result in _flagged(song))
    return "Trace of a decoder found" if traces else "Scored as fake"


def _finding(result: DetectorResult, flagged: Sequence[DetectorResult], duration_s: float) -> str:
    card = result.card
    guess = result.details.get("decoder_guess")
    period_hz = result.details.get("decoder_period_hz")
    lines = f"lines every {period_hz:.4g} Hz, as from " if period_hz is not None else ""
    named = f" ({lines}{guess})" if guess else ""
    if shared := compare_lines(result, flagged[: flagged.index(result)]):
        named = f" ({shared})"
    score = formatting.number(result.prob, decimals=2)
    sure = sureness(result.prob or 0, card.threshold)
    return (
        f"{card.name}{named} in {_place(result, duration_s)}, {sure} (score {score}, threshold "
        f"{card.threshold:.3g}; {_false_positives(card)})"
    )


def _place(result: DetectorResult, duration_s: float) -> str:
    """Return the ranges that score as fake; a detector of whole files has one."""
    segments = merge_windows(result.windows)
    runs = fake_segments(result.windows, result.card.threshold)
    if not runs:
        return "the mean over its windows"
    if runs == [(segments[0].start_s, segments[-1].end_s)]:
        whole = segments[0].start_s < 1 and segments[-1].end_s > duration_s - 1
        start_s, end_s = runs[0]
        return "the whole song" if whole else f"the analysed {clock(start_s)}–{clock(end_s)}"
    longest = sorted(sorted(runs, key=lambda run: run[0] - run[1])[:_MAX_RANGES])
    ranges = ", ".join(f"{clock(start_s)}–{clock(end_s)}" for start_s, end_s in longest)
    return ranges + (" and elsewhere" if len(runs) > len(longest) else "")


def _false_positives(card: DetectorCard) -> str:
    rate = card.false_positives
    if rate is None:
        return "false-positive rate unknown"
    return f"it flagged {rate.n_flagged} of {rate.n_items} real {rate.corpus}"


def _ignorance(results: Sequence[DetectorResult]) -> str:
    """Return what none of the detectors finds, and which detectors' kinds are unknown."""
    cards = [result.card for result in results]
    found = {kind for card in cards for kind in card.known_kinds or ()}
    missed = dict.fromkeys(k for c in cards for k in c.unknown_kinds or () if k not in found)
    parts = [f"which {_do(results)} not find {_list(missed)}, among others"] if missed else []
    unsaid = [card.name for card in cards if card.unknown_kinds is None]
    if unsaid:
        parts.append(f"what {_list(unsaid)} {'misses' if len(unsaid) == 1 else 'miss'} is unknown")
    return "; ".join(parts) or "which may miss other kinds"


def _do(results: Sequence[DetectorResult]) -> str:
    return "does" if len(results) == 1 else "do"


def _names(results: Iterable[DetectorResult]) -> list[str]:
    return [result.card.name for result in results]


def _brief(results: Sequence[DetectorResult]) -> str:
    return _list(_names(results)) if len(results) < 4 else f"{len(results)} detectors"


def _list(words: Iterable[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last
