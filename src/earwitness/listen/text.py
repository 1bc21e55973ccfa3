"""Results for one song as text for the terminal, and as records for JSON.

A score is called a probability only if the detector's card does so.
"""

from __future__ import annotations

import os
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from earwitness.core.cards import DetectorCard
from earwitness.evaluation.windows import (
    Segment,
    covered_s,
    merge_windows,
    probability_of,
    tick_seconds,
)
from earwitness.listen.answer import brief_answer, clock, full_answer, song_state
from earwitness.listen.results import (
    DetectorResult,
    Silence,
    SongResult,
    compare_verdicts,
    fake_segments,
    fakeness,
    is_contested,
    side_of,
    sureness,
)
from earwitness.report import formatting

_TRACE = (
    "Music generators end in such a decoder; so do neural codecs, source separation and "
    "restoration, which music that people made may have gone through."
)
NO_PROOF = (
    "A detector finds artifacts of the kinds that it knows; no verdict proves how a song was made."
)
_MAX_WIDTH = 100
_MAX_SEGMENTS = 4
_COLUMN_WIDTH = len("finds no trace")
REAL_STYLE, FAKE_STYLE = "blue", "red"
NO_TRACE_STYLE = "default"
_STYLES = {
    "real": REAL_STYLE,
    "fake": FAKE_STYLE,
    "undecided": "yellow",
    "no trace": NO_TRACE_STYLE,
}


def describe_verdict(result: DetectorResult) -> str:
    """Return the verdict; of a trace also how sure it is, in the words of the answer."""
    if result.verdict != "finds a trace":
        return result.verdict or "no verdict"
    return f"{result.verdict}, {sureness(result.prob or 0, result.card.threshold)}"


def describe_score(result: DetectorResult) -> str:
    """Return the score as text, called a probability only if the card allows it."""
    if result.prob is None:
        return "no score"
    kind = "probability of fake" if result.card.score_kind == "probability" else "score"
    return f"{kind} {formatting.number(result.prob, decimals=2)}"


def describe_song(song: SongResult) -> str:
    """Return a song's length and sample rate as text."""
    return f"{clock(song.duration_s or 0)} long, {song.sample_rate_hz} Hz"


def printable_name(name: str) -> str:
    """Return a file name with invalid Unicode replaced."""
    return os.fsencode(name).decode("utf-8", "replace")


def describe_in_full(song: SongResult, *, width: int) -> list[Text]:
    """Return all results for one song as lines for a terminal of ``width`` columns."""
    width = min(width, _MAX_WIDTH)
    name = Text(printable_name(str(song.path)), style="bold")
    if song.error is not None:
        return [name.append(f": {song.error}", style="not bold")]
    lines = [name.append(f"  {describe_song(song)}", style="not bold dim"), Text()]
    lines += [*_wrap(full_answer(song), width, indent="", style="bold"), Text()]
    if any(result.verdict == "finds a trace" for result in song.opinions):
        lines += [*_wrap(_TRACE, width, indent=""), Text()]
    for result in song.opinions:
        lines += [*_detector_lines(result, song.duration_s or 0, width), Text()]
    if song.has_verdict:
        lines += [
            Text(_legend(song.opinions), style="dim"),
            *_wrap(NO_PROOF, width, indent="", style="dim"),
        ]
    return lines


def _legend(results: Sequence[DetectorResult]) -> str:
    """Return what the ends of the bars mean, in the words of the detectors that have one."""
    sided = {result.card.one_sided for result in results if result.verdict is not None}
    low, high = (
        " or ".join(_ends(one_sided=one)[at] for one in (False, True) if one in sided)
        for at in (0, 1)
    )
    return f"▁ {low} · █ {high} · the threshold is at half height · blank: not analysed"


def _ends(*, one_sided: bool) -> tuple[str, str]:
    """Return in words what scores of 0 and 1 mean."""
    return ("no trace", "trace") if one_sided else ("real", "fake")


def results_table(
    results: Sequence[SongResult], cards: Sequence[DetectorCard], *, width: int
) -> Table:
    """Return a row per song and a column per detector, or a row for each if that does not fit."""
    from earwitness.report.charts.style import break_lines  # Altair takes long

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1))
    table.add_column("song", overflow="fold")
    table.add_column("length", justify="right", no_wrap=True)
    if width < 36 + (_COLUMN_WIDTH + 2) * len(cards):
        _fill_narrow(table, results)
        return table
    for card in cards:
        heading = "\n".join(break_lines(card.name, _COLUMN_WIDTH))
        table.add_column(Text(heading), overflow="fold")
    for song in results:
        cells = [_cell(result, "\n") for result in song.opinions]
        table.add_row(_song_cell(song), _length(song), *(cells or [Text("–")] * len(cards)))
    return table


def _fill_narrow(table: Table, results: Sequence[SongResult]) -> None:
    table.add_column("verdict", no_wrap=True)
    for song in results:
        table.add_row(_song_cell(song), _length(song), "")
        for result in song.opinions:
            table.add_row(Text(f"  {result.card.name}"), "", _cell(result, " "))
        table.add_section()


def remark_lines(results: Sequence[SongResult], *, width: int) -> list[Text]:
    """Return each remark once, with its songs and detectors."""
    detectors: dict[str, dict[str, None]] = {}
    songs: dict[str, dict[str, None]] = {}
    for song in results:
        for result in song.opinions:
            for remark in result.remarks:
                detectors.setdefault(remark, {})[result.card.name] = None
                songs.setdefault(remark, {})[printable_name(str(song.path))] = None
    lines = []
    for remark, names in detectors.items():
        first, *others = songs[remark]
        more = f" and {len(others)} more" if others else ""
        remark_line = f"{first}{more}, {', '.join(names)}: {remark}"
        lines += _wrap(remark_line, min(width, _MAX_WIDTH), indent="")
    return lines


def limit_lines(cards: Sequence[DetectorCard], *, width: int) -> list[Text]:
    """Return the limits of the detectors, each once."""
    by_limits: dict[str, list[str]] = {}
    for card in cards:
        by_limits.setdefault(card.limits, []).append(card.name)
    width = min(width, _MAX_WIDTH)
    lines = []
    for limits, names in by_limits.items():
        lines += _wrap(f"{', '.join(names)}: {limits}", width, indent="")
    return [*lines, *_wrap(NO_PROOF, width, indent="", style="dim")]


def song_record(song: SongResult) -> dict[str, Any]:
    """Return the results for a song as a record for JSON; windows may overlap."""
    return {
        "file": str(song.path),
        "duration_s": song.duration_s,
        "sample_rate_hz": song.sample_rate_hz,
        "error": song.error,
        "state": song_state(song),
        "answer": full_answer(song),
        "summary": compare_verdicts(song.opinions),
        "opinions": [_detector_record(result) for result in song.opinions],
    }


def _detector_record(result: DetectorResult) -> dict[str, Any]:
    runs = fake_segments(result.windows, result.card.threshold)
    rate = result.card.false_positives
    return {
        "detector": result.card.name,
        "verdict": result.verdict,
        "logit": result.logit,
        "pred_prob": result.prob,
        "is_probability": result.card.score_kind == "probability",
        "threshold": result.card.threshold,
        "heard_s": covered_s(result.windows),
        "sounds_fake": [{"start_s": start_s, "end_s": end_s} for start_s, end_s in runs],
        "windows": [
            {"start_s": w.start_s, "end_s": w.end_s, "logit": w.logit, "pred_prob": w.prob}
            for w in result.windows
        ],
        "silences": [silence._asdict() for silence in result.silences],
        "encoders": dict(result.encoders),
        "details": dict(result.details),
        "limits": result.card.limits,
        "false_positives": rate and rate.model_dump(),
        "remarks": list(result.remarks),
        "abstained": result.abstained,
        "error": result.error,
    }


def _detector_lines(result: DetectorResult, duration_s: float, width: int) -> Iterator[Text]:
    name = result.card.name
    if result.abstained is not None:
        yield from _wrap(f"{name} abstained: {result.abstained}.", width, indent="")
        return
    if result.verdict is None:
        yield from _wrap(f"{name} failed: {result.error}", width, indent="")
        return
    style = _STYLES[side_of(result.verdict)]
    headline = Text(name, style="bold").append(f" {describe_verdict(result)}", style=style)
    threshold = result.card.threshold
    note = "" if result.card.score_kind == "probability" else ", not a probability"
    low, high = _ends(one_sided=result.card.one_sided)
    scale = f"0 {low}, 1 {high}, threshold {threshold:g}{note}"
    yield headline.append(f", {describe_score(result)} ({scale})", style="not bold")
    n_cells = width - 4
    below = NO_TRACE_STYLE if result.card.one_sided else REAL_STYLE
    bar = draw_bar(
        result.windows, duration_s, threshold=threshold, n_cells=n_cells, below_style=below
    )
    yield Text("  ").append_text(bar)
    yield Text("  " + write_axis(duration_s, n_cells), style="dim")
    for sentence in _sentences(result, duration_s):
        yield from _wrap(sentence, width)
    yield from _wrap(f"Limits: {result.card.limits}", width, style="dim")


def _sentences(result: DetectorResult, duration_s: float) -> Iterator[str]:
    if len(result.windows) == 1:
        yield _only_window_sentence(result.windows[0], duration_s)
    else:
        yield f"{_fake_sentence(result)} {_coverage_sentence(result, duration_s)}"
    if result.silences:
        yield _abstention_sentence(result)
    likeliest = max(result.encoders, key=lambda name: result.encoders[name], default="real")
    if result.verdict and side_of(result.verdict) == "fake" and likeliest != "real":
        yield f"Nearest of its known encoders: {likeliest}."
    if guess := result.details.get("decoder_guess"):
        period_hz, n_teeth = result.details["decoder_period_hz"], result.details["n_teeth"]
        yield (
            f"Trace of a decoder: lines in the spectrum every {period_hz:.4g} Hz ({n_teeth} of "
            f"them), as from {guess}."
        )
    yield from result.remarks


def _only_window_sentence(window: Segment, duration_s: float) -> str:
    share = (window.end_s - window.start_s) / duration_s
    if share > 0.995:
        return "One score for the whole song, not for places in it."
    where = f"{clock(window.start_s)}–{clock(window.end_s)}"
    return f"One score for {where} ({share:.0%} of the song), not for places in it."


def _fake_sentence(result: DetectorResult) -> str:
    one_sided = result.card.one_sided
    runs = fake_segments(result.windows, result.card.threshold)
    segments = merge_windows(result.windows)
    if not runs:
        return "No trace in any segment." if one_sided else "No segment scores as fake."
    if all(segment.prob >= result.card.threshold for segment in segments):
        return (
            "A trace in all analysed segments."
            if one_sided
            else "All analysed segments score as fake."
        )
    longest = sorted(sorted(runs, key=lambda run: run[0] - run[1])[:_MAX_SEGMENTS])
    ranges = ", ".join(f"{clock(start_s)}–{clock(end_s)}" for start_s, end_s in longest)
    others = len(runs) - len(longest)
    fake_s = sum(s.end_s - s.start_s for s in segments if s.prob >= result.card.threshold)
    share = fake_s / covered_s(result.windows)
    more = f" and {formatting.plural(others, 'shorter one')}" if others else ""
    found = "A trace in" if one_sided else "Scores as fake:"
    return f"{found} {ranges}{more} ({share:.0%} of the analysed audio)."


def _abstention_sentence(result: DetectorResult) -> str:
    """Return the ranges on which a detector abstained, joined where they touch."""
    runs: list[Silence] = []
    for silence in result.silences:
        last = runs[-1] if runs else None
        if last and last.reason == silence.reason and silence.start_s <= last.end_s + 0.01:
            runs[-1] = last._replace(end_s=max(last.end_s, silence.end_s))
        else:
            runs.append(silence)
    ranges = ", ".join(f"{clock(run.start_s)}–{clock(run.end_s)}" for run in runs[:_MAX_SEGMENTS])
    others = len(runs) - _MAX_SEGMENTS
    more = f" and {others} more" if others > 0 else ""
    return f"Abstained on {ranges}{more}: {runs[0].reason}."


def _coverage_sentence(result: DetectorResult, duration_s: float) -> str:
    longest_s = max(window.end_s - window.start_s for window in result.windows)
    windows = f"{formatting.plural(len(result.windows), 'window')} of {longest_s:.3g} s"
    share = covered_s(result.windows) / duration_s
    return f"Analysed {'all' if share > 0.995 else f'{share:.0%}'} of the song, in {windows}."


def _cell(result: DetectorResult, separator: str) -> Text:
    if result.abstained is not None:
        return Text("abstained", style="dim")
    if result.verdict is None:
        return Text("–", style="dim")
    score = formatting.number(result.prob, decimals=2)
    return Text(f"{result.verdict}{separator}{score}", style=_STYLES[side_of(result.verdict)])


def _length(song: SongResult) -> str:
    return "–" if song.duration_s is None else clock(song.duration_s)


def _song_cell(song: SongResult) -> Text:
    text = Text(printable_name(str(song.path)))
    reasons = [(each.card.name, each.error or each.abstained) for each in song.opinions]
    errors = [f"{name}: {reason}" for name, reason in reasons if reason]
    for error in errors if song.error is None else [song.error]:
        text.append(f"\n  {error}", style="red")
    if song.error is None:
        text.append(f"\n  {brief_answer(song)}")
    if is_contested(song.opinions):
        text.append("\n  the detectors disagree", style="dim")
    return text


def _wrap(text: str, width: int, *, indent: str = "  ", style: str = "") -> list[Text]:
    lines = textwrap.wrap(text, width - len(indent), break_on_hyphens=False) or [""]
    return [Text(indent + line, style=style) for line in lines]


def draw_bar(
    windows: Sequence[Segment],
    duration_s: float,
    *,
    threshold: float,
    n_cells: int,
    below_style: str = REAL_STYLE,
) -> Text:
    """Return a bar of block characters whose height rises with fakeness."""
    text, blocks = Text(), "▁▂▃▄▅▆▇█"
    for logit in _cell_logits(merge_windows(windows), duration_s, n_cells):
        if logit is None:
            text.append(" ")
            continue
        value = fakeness(probability_of(logit), threshold)
        block = blocks[min(int(value * len(blocks)), len(blocks) - 1)]
        text.append(block, style=FAKE_STYLE if value >= 0.5 else below_style)
    return text


def _cell_logits(
    segments: Sequence[Segment], duration_s: float, n_cells: int
) -> list[float | None]:
    """Return the mean logit in each cell; ``None`` where nothing was analysed."""
    cell_s = duration_s / n_cells
    logits: list[float | None] = []
    for at in range(n_cells):
        start_s, end_s = at * cell_s, (at + 1) * cell_s
        shared_s = [max(0.0, min(s.end_s, end_s) - max(s.start_s, start_s)) for s in segments]
        total_s = sum(shared_s)
        weighted = sum(one.logit * s for one, s in zip(segments, shared_s, strict=True))
        logits.append(weighted / total_s if total_s > 1e-6 * cell_s else None)
    return logits


def write_axis(duration_s: float, n_cells: int) -> str:
    """Return a time axis below the bar."""
    line = ""
    for tick in tick_seconds(duration_s, n_max=max(2, n_cells // 9)):
        column = int(tick / duration_s * n_cells)
        label = clock(tick)
        if column + len(label) <= n_cells:
            line = line.ljust(column) + label
    return line
