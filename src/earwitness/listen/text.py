"""Hearings in words: for a person at a terminal, and as records for JSON.

Conventions: a number is called a probability only where the detector's card does so. Bars of
blocks tell by height alone, colour repeats it.
"""

from __future__ import annotations

import math
import os
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from earwitness.core.cards import DetectorCard
from earwitness.listen.types import DetectorResult, Segment, Silence, SongResult
from earwitness.listen.verdicts import (
    compare_verdicts,
    covered_s,
    fake_segments,
    fakeness,
    probability_of,
    says_both,
    without_overlaps,
)
from earwitness.report.charts.style import break_lines

_STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400)
_MOST_TICKS = 10

NO_PROOF = (
    "A detector reports traces like those it was trained to find; no verdict proves how a song "
    "was made."
)
LEGEND = "▁ sounds real · █ sounds fake · the threshold is half way up · a blank was not heard"
_WIDEST = 100
_MOST_RUNS = 4
_TOUCHING_S = 0.01
_COLUMN_WIDTH = len("is undecided")
_NARROWEST_SONG = 36
REAL_STYLE, FAKE_STYLE = "blue", "red"
_BLOCKS = "▁▂▃▄▅▆▇█"
_STYLES = {"real": REAL_STYLE, "fake": FAKE_STYLE, "undecided": "yellow"}


def describe_score(opinion: DetectorResult) -> str:
    """Return the number that goes with a verdict, called what its card allows."""
    if opinion.prob is None:
        return "no score"
    if opinion.card.score_kind == "probability":
        return f"probability of fake {_two_decimals(opinion.prob)}"
    return f"score {_two_decimals(opinion.prob)}"


def describe_song(hearing: SongResult) -> str:
    """Return a song's length and rate."""
    return f"{clock(hearing.duration_s or 0)} long, {hearing.sample_rate_hz} Hz"


def shown_name(name: str) -> str:
    """Return a file's name as it can be printed: what is no valid Unicode is replaced."""
    return os.fsencode(name).decode("utf-8", "replace")


def tell_hearing(hearing: SongResult, *, width: int) -> list[Text]:
    """Return lines that tell one song's hearing in full.

    Args:
        hearing: What was said of it.
        width: Columns of the terminal.
    """
    width = min(width, _WIDEST)
    name = Text(shown_name(str(hearing.path)), style="bold")
    if hearing.error is not None:
        return [name.append(f": {hearing.error}", style="not bold")]
    lines = [name.append(f"  {describe_song(hearing)}", style="not bold dim"), Text()]
    for opinion in hearing.opinions:
        lines += [*_tell_opinion(opinion, hearing.duration_s or 0, width), Text()]
    if agreement := compare_verdicts(hearing.opinions):
        lines += _wrapped(agreement, width, indent="")
    if hearing.is_judged:
        lines += [Text(LEGEND, style="dim"), *_wrapped(NO_PROOF, width, indent="", style="dim")]
    return lines


def hearings_table(
    hearings: Sequence[SongResult], cards: Sequence[DetectorCard], *, width: int
) -> Table:
    """Return a row a song and a column a detector; under a song stands what went wrong with it.

    Where so many columns do not fit, detectors stand under each song, a row each.
    """
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1))
    table.add_column("song", overflow="fold")
    table.add_column("length", justify="right", no_wrap=True)
    if width < _NARROWEST_SONG + (_COLUMN_WIDTH + 2) * len(cards):
        _fill_narrow(table, hearings)
        return table
    for card in cards:
        heading = "\n".join(break_lines(card.name, _COLUMN_WIDTH))
        table.add_column(Text(heading), overflow="fold")
    for hearing in hearings:
        cells = [_cell(opinion, "\n") for opinion in hearing.opinions]
        table.add_row(_song_cell(hearing), _length(hearing), *(cells or [Text("–")] * len(cards)))
    return table


def _fill_narrow(table: Table, hearings: Sequence[SongResult]) -> None:
    table.add_column("verdict", no_wrap=True)
    for hearing in hearings:
        table.add_row(_song_cell(hearing), _length(hearing), "")
        for opinion in hearing.opinions:
            table.add_row(Text(f"  {opinion.card.name}"), "", _cell(opinion, " "))
        table.add_section()


def tell_remarks(hearings: Sequence[SongResult], *, width: int) -> list[Text]:
    """Return each remark once, with the songs and detectors that it concerns."""
    detectors: dict[str, dict[str, None]] = {}
    songs: dict[str, dict[str, None]] = {}
    for hearing in hearings:
        for opinion in hearing.opinions:
            for remark in opinion.remarks:
                detectors.setdefault(remark, {})[opinion.card.name] = None
                songs.setdefault(remark, {})[shown_name(str(hearing.path))] = None
    lines = []
    for remark, names in detectors.items():
        first, *others = songs[remark]
        more = f" and {len(others)} more" if others else ""
        told = f"{first}{more}, {', '.join(names)}: {remark}"
        lines += _wrapped(told, min(width, _WIDEST), indent="")
    return lines


def tell_limits(cards: Sequence[DetectorCard], *, width: int) -> list[Text]:
    """Return what is known not to be told by detectors, each kind of limit once."""
    by_limits: dict[str, list[str]] = {}
    for card in cards:
        by_limits.setdefault(card.limits, []).append(card.name)
    width = min(width, _WIDEST)
    lines = []
    for limits, names in by_limits.items():
        lines += _wrapped(f"{', '.join(names)}: {limits}", width, indent="")
    return [*lines, *_wrapped(NO_PROOF, width, indent="", style="dim")]


def hearing_record(hearing: SongResult) -> dict[str, Any]:
    """Return a hearing as JSON has it; windows as they were heard, overlaps and all."""
    return {
        "file": str(hearing.path),
        "duration_s": hearing.duration_s,
        "sample_rate_hz": hearing.sample_rate_hz,
        "error": hearing.error,
        "summary": compare_verdicts(hearing.opinions),
        "opinions": [_opinion_record(opinion) for opinion in hearing.opinions],
    }


def _opinion_record(opinion: DetectorResult) -> dict[str, Any]:
    runs = fake_segments(opinion.windows, opinion.card.threshold)
    return {
        "detector": opinion.card.name,
        "verdict": opinion.verdict,
        "logit": opinion.logit,
        "pred_prob": opinion.prob,
        "is_probability": opinion.card.score_kind == "probability",
        "threshold": opinion.card.threshold,
        "heard_s": covered_s(opinion.windows),
        "sounds_fake": [{"start_s": start_s, "end_s": end_s} for start_s, end_s in runs],
        "windows": [
            {"start_s": w.start_s, "end_s": w.end_s, "logit": w.logit, "pred_prob": w.prob}
            for w in opinion.windows
        ],
        "silences": [silence._asdict() for silence in opinion.silences],
        "encoders": dict(opinion.encoders),
        "limits": opinion.card.limits,
        "remarks": list(opinion.remarks),
        "abstained": opinion.abstained,
        "error": opinion.error,
    }


def _tell_opinion(opinion: DetectorResult, duration_s: float, width: int) -> Iterator[Text]:
    name = opinion.card.name
    if opinion.abstained is not None:
        yield from _wrapped(f"{name} gives no verdict: {opinion.abstained}.", width, indent="")
        return
    if opinion.verdict is None:
        yield from _wrapped(f"{name} could not judge it: {opinion.error}", width, indent="")
        return
    style = _STYLES[opinion.verdict.split()[-1]]
    headline = Text(name, style="bold").append(f" {opinion.verdict}", style=style)
    yield headline.append(f", {_score_in_full(opinion)}", style="not bold")
    n_cells = width - 4
    threshold = opinion.card.threshold
    bar = draw_bar(opinion.windows, duration_s, threshold=threshold, n_cells=n_cells)
    yield Text("  ").append_text(bar)
    yield Text("  " + write_axis(duration_s, n_cells), style="dim")
    for sentence in _sentences(opinion, duration_s):
        yield from _wrapped(sentence, width)
    yield from _wrapped(f"Limits: {opinion.card.limits}", width, style="dim")


def _score_in_full(opinion: DetectorResult) -> str:
    told = describe_score(opinion)
    is_probability = opinion.card.score_kind == "probability"
    note = "" if is_probability else ", not a probability"
    threshold = opinion.card.threshold
    return f"{told} (0 real, 1 fake, threshold {threshold:g}{note})"


def _sentences(opinion: DetectorResult, duration_s: float) -> Iterator[str]:
    yield f"{_where_fake(opinion)} {_how_much_heard(opinion, duration_s)}"
    if opinion.silences:
        yield _where_silent(opinion)
    likeliest = max(opinion.encoders, key=lambda name: opinion.encoders[name], default="real")
    if opinion.verdict in ("leans fake", "says fake") and likeliest != "real":
        yield f"Of the encoders it knows, {likeliest} is nearest."
    yield from opinion.remarks


def _where_fake(opinion: DetectorResult) -> str:
    runs = fake_segments(opinion.windows, opinion.card.threshold)
    stretches = without_overlaps(opinion.windows)
    if not runs:
        return "No stretch of it sounds fake."
    if all(stretch.prob >= opinion.card.threshold for stretch in stretches):
        return "All that was heard sounds fake."
    longest = sorted(sorted(runs, key=lambda run: run[0] - run[1])[:_MOST_RUNS])
    told = ", ".join(f"{clock(start_s)}–{clock(end_s)}" for start_s, end_s in longest)
    others = len(runs) - len(longest)
    fake_s = sum(s.end_s - s.start_s for s in stretches if s.prob >= opinion.card.threshold)
    share = fake_s / covered_s(opinion.windows)
    more = f" and {others} shorter stretch{'es' if others > 1 else ''}" if others else ""
    return f"Sounds fake: {told}{more} ({share:.0%} of what was heard)."


def _where_silent(opinion: DetectorResult) -> str:
    """Tell where a detector abstained, neighbours of one reason joined."""
    runs: list[Silence] = []
    for silence in opinion.silences:
        last = runs[-1] if runs else None
        if last and last.reason == silence.reason and silence.start_s <= last.end_s + _TOUCHING_S:
            runs[-1] = last._replace(end_s=max(last.end_s, silence.end_s))
        else:
            runs.append(silence)
    told = ", ".join(f"{clock(run.start_s)}–{clock(run.end_s)}" for run in runs[:_MOST_RUNS])
    others = len(runs) - _MOST_RUNS
    more = f" and {others} more" if others > 0 else ""
    return f"No verdict on {told}{more}: {runs[0].reason}."


def _how_much_heard(opinion: DetectorResult, duration_s: float) -> str:
    longest_s = max(window.end_s - window.start_s for window in opinion.windows)
    n = len(opinion.windows)
    windows = f"{n} window{'s' if n > 1 else ''} of {longest_s:.3g} s"
    share = covered_s(opinion.windows) / duration_s
    return f"Heard {'all' if share > 0.995 else f'{share:.0%}'} of the song, in {windows}."


def _cell(opinion: DetectorResult, separator: str) -> Text:
    if opinion.abstained is not None:
        return Text("no verdict", style="dim")
    if opinion.verdict is None:
        return Text("–", style="dim")
    style = _STYLES[opinion.verdict.split()[-1]]
    return Text(f"{opinion.verdict}{separator}{_two_decimals(opinion.prob or 0)}", style=style)


def _length(hearing: SongResult) -> str:
    return "–" if hearing.duration_s is None else clock(hearing.duration_s)


def _song_cell(hearing: SongResult) -> Text:
    text = Text(shown_name(str(hearing.path)))
    for error in _errors(hearing):
        text.append(f"\n  {error}", style="red")
    if says_both(hearing.opinions):
        text.append("\n  the detectors disagree", style="dim")
    return text


def _errors(hearing: SongResult) -> list[str]:
    if hearing.error is not None:
        return [hearing.error]
    reasons = [(each.card.name, each.error or each.abstained) for each in hearing.opinions]
    return [f"{name}: {reason}" for name, reason in reasons if reason]


def _two_decimals(prob: float) -> str:
    """Two decimals; what is neither 0 nor 1 is not rounded to either."""
    if 0 < prob < 0.005:
        return "< 0.01"
    return "> 0.99" if 0.995 <= prob < 1 else f"{prob:.2f}"


def _wrapped(text: str, width: int, *, indent: str = "  ", style: str = "") -> list[Text]:
    lines = textwrap.wrap(text, width - len(indent), break_on_hyphens=False) or [""]
    return [Text(indent + line, style=style) for line in lines]


def clock(seconds: float) -> str:
    """Write a time as ``m:ss`` or ``h:mm:ss``."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def draw_bar(
    windows: Sequence[Segment], duration_s: float, *, threshold: float, n_cells: int
) -> Text:
    """Return a block a cell, as high as what was heard in it sounds fake.

    Args:
        windows: What was heard of a song.
        duration_s: Length of the song.
        threshold: Number between 0 and 1 that stands half way up.
        n_cells: Characters to draw.
    """
    text = Text()
    for logit in _cell_logits(without_overlaps(windows), duration_s, n_cells):
        if logit is None:
            text.append(" ")
            continue
        value = fakeness(probability_of(logit), threshold)
        block = _BLOCKS[min(int(value * len(_BLOCKS)), len(_BLOCKS) - 1)]
        text.append(block, style=FAKE_STYLE if value >= 0.5 else REAL_STYLE)
    return text


def _cell_logits(
    stretches: Sequence[Segment], duration_s: float, n_cells: int
) -> list[float | None]:
    """Return the mean logit of what was heard in each cell, ``None`` where nothing was."""
    cell_s = duration_s / n_cells
    logits: list[float | None] = []
    for at in range(n_cells):
        inside = [(s.logit, _shared_s(s, at * cell_s, (at + 1) * cell_s)) for s in stretches]
        total_s = sum(shared_s for _, shared_s in inside)
        weighted = sum(logit * shared_s for logit, shared_s in inside)
        logits.append(weighted / total_s if total_s > 1e-6 * cell_s else None)
    return logits


def _shared_s(stretch: Segment, start_s: float, end_s: float) -> float:
    return max(0.0, min(stretch.end_s, end_s) - max(stretch.start_s, start_s))


def write_axis(duration_s: float, n_cells: int) -> str:
    """Return times under the cells that they fall into."""
    line = ""
    for tick in tick_seconds(duration_s, n_most=max(2, n_cells // 9)):
        column = int(tick / duration_s * n_cells)
        label = clock(tick)
        if column + len(label) <= n_cells:
            line = line.ljust(column) + label
    return line


def tick_seconds(duration_s: float, n_most: int = _MOST_TICKS) -> list[int]:
    """Return round times within a song, at most ``n_most`` and the start always among them."""
    step = next((s for s in _STEPS_S if duration_s / s < n_most), None)
    step = step or math.ceil(duration_s / n_most / _STEPS_S[-1]) * _STEPS_S[-1]
    return list(range(0, math.floor(duration_s) + 1, step))
