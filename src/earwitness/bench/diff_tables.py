"""Differences between two runs as tables and sentences, for the terminal and for pages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from earwitness.bench.diff import Flip, MetricDiff, RowsDiff, RunDiff, ScoresDiff
from earwitness.report.formatting import UNDEFINED, number, p_value, plural
from earwitness.report.tables import (
    Cell,
    Table,
    make_row,
    number_cell,
    number_columns,
    text_columns,
)

_CLASSES = ("real", "fake")


def diff_parts(diff: RunDiff, *, n_shown: int = 10) -> Iterator[Table | str]:
    """Yield tables and sentences, in the order to show them.

    Args:
        diff: The differences.
        n_shown: Number of flipped items, and of added or removed files, that are shown.
    """
    if diff.is_same:
        yield "nothing differs: options, versions, weights, rows, scores and decisions are the same"
        return
    yield from _changes(diff, 3 * n_shown)
    yield from _rows(diff.rows, n_shown)
    for scores in diff.scores:
        yield from _scores(scores, n_shown)


def _changes(diff: RunDiff, n_shown: int) -> Iterator[Table | str]:
    if not diff.changes:
        yield "made with the same options, versions and weights"
        return
    rows = [
        make_row(change.kind, *map(_cell, (change.name, change.first, change.second)))
        for change in diff.changes[:n_shown]
    ]
    columns = text_columns("what", "name", "first", "second")
    yield Table("Made with", columns, rows, _more(len(diff.changes) - n_shown))


def _rows(rows: Sequence[RowsDiff], n_shown: int) -> Iterator[Table | str]:
    changed = [part for part in rows if not part.is_same]
    if rows and not changed:
        yield f"the same rows in {plural(len(rows), 'manifest')} that both have"
    if not changed:
        return
    kinds = ("added", "removed", "relabelled")
    counted = [
        make_row(
            part.manifest, part.n_first, part.n_second, *(len(getattr(part, k)) for k in kinds)
        )
        for part in changed
    ]
    columns = [*text_columns("manifest"), *number_columns("first", "second", *kinds)]
    yield Table("Rows", columns, counted)
    for kind in kinds:
        paths = list(dict.fromkeys(path for part in changed for path in getattr(part, kind)))
        if paths:
            more = f" and {len(paths) - n_shown} more" if len(paths) > n_shown else ""
            yield f"  {kind}: {', '.join(paths[:n_shown])}{more}"


def _scores(scores: ScoresDiff, n_shown: int) -> Iterator[Table | str]:
    if scores.is_same and not scores.metrics:
        yield f"{scores.detector}: the same scores on {plural(scores.n_common, 'item')}"
        return
    text = f"{scores.detector}: {scores.n_changed} of {scores.n_common} scores differ"
    if scores.largest is not None and scores.mean is not None:
        text += f", by {scores.mean:.3g} on average and {scores.largest:.3g} at most"
    text += f"; {plural(len(scores.flips), 'decision')} flipped"
    for n, which in ((scores.n_first_only, "first"), (scores.n_second_only, "second")):
        text += f"; {plural(n, 'item')} scored in the {which} alone" if n else ""
    yield text
    if scores.flips:
        yield _flips(scores, n_shown)
    if scores.metrics:
        yield _metrics(scores)
    if scores.no_metrics:
        yield f"  no metrics: {scores.no_metrics}"


def _flips(scores: ScoresDiff, n_shown: int) -> Table:
    rows = [make_row(*_flip_cells(flip)) for flip in scores.flips[:n_shown]]
    columns = [
        *text_columns("flipped, worst first", "is"),
        *number_columns("first", "second"),
        *text_columns("now"),
    ]
    caption = f"{scores.detector}: other decisions"
    return Table(caption, columns, rows, _more(len(scores.flips) - n_shown), has_filter=True)


def _flip_cells(flip: Flip) -> Iterator[Cell | str]:
    yield _cell(flip.filepath, end=True)
    yield _CLASSES[flip.target]
    yield number_cell(flip.first_prob)
    yield number_cell(flip.second_prob)
    right = "right" if flip.is_right_now else "wrong"
    yield f"{'flagged' if flip.second_label else 'not flagged'}, {right}"


def _metrics(scores: ScoresDiff) -> Table:
    tests: dict[str, list[str]] = {}
    for metric in scores.metrics:
        tests.setdefault(metric.test, []).append(metric.metric)
    columns = [*text_columns("metric"), *number_columns(*_OF_METRICS)]
    rows = [make_row(row.metric, *_metric_cells(row)) for row in scores.metrics]
    notes = [f"{', '.join(names)}: {test}" for test, names in tests.items() if test]
    return Table(f"{scores.detector}: metrics on common items", columns, rows, notes)


_OF_METRICS = ("first", "second", "difference", "p", "Holm")


def _metric_cells(row: MetricDiff) -> Iterator[Cell]:
    yield number_cell(row.first)
    yield number_cell(row.second)
    gap = number(row.difference, signed=True)
    note = ""
    if row.low is not None and row.high is not None:
        note = f"[{number(row.low, signed=True)}, {number(row.high, signed=True)}]"
    yield Cell(gap, row.difference, note, f"{gap}\n{note}".rstrip())
    yield Cell(p_value(row.p), row.p)
    yield Cell(p_value(row.p_holm), row.p_holm)


def _more(n: int) -> list[str]:
    return [f"and {n} more (bench diff --json prints all)"] * (n > 0)


def _cell(text: str | None, *, end: bool = False, most: int = 40) -> Cell:
    """Return a text that is cut on the terminal, at its beginning or its end."""
    if text is None:
        return Cell(UNDEFINED)
    short = text
    if len(text) > most:
        short = f"…{text[1 - most :]}" if end else f"{text[: most - 1]}…"
    return Cell(text, text, short=short, look="name" if end else "")
