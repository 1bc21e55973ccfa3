"""Tables of the differences between two runs, for the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from earwitness.bench.diff import Flip, MetricDiff, RowsDiff, RunDiff, ScoresDiff
from earwitness.report.formatting import UNDEFINED, number, p_value, plural

_N_SHOWN = 10
_CLASSES = ("real", "fake")


def diff_parts(diff: RunDiff) -> Iterator[Table | str]:
    """Yield tables and lines, in the order to print them."""
    if diff.is_same:
        yield "nothing differs: options, versions, weights, rows, scores and decisions are the same"
        return
    yield from _changes(diff)
    yield from _rows(diff.rows)
    for scores in diff.scores:
        yield from _scores(scores)


def _changes(diff: RunDiff) -> Iterator[Table | str]:
    if not diff.changes:
        yield "made with the same options, versions and weights"
        return
    table = _table("Made with", "what", "", "first", "second")
    for change in diff.changes[: 3 * _N_SHOWN]:
        table.add_row(change.kind, *map(_cell, (change.name, change.first, change.second)))
    _say_more(table, len(diff.changes) - 3 * _N_SHOWN)
    yield table


def _rows(rows: Sequence[RowsDiff]) -> Iterator[Table | str]:
    changed = [part for part in rows if not part.is_same]
    if rows and not changed:
        yield f"the same rows in {plural(len(rows), 'manifest')} that both have"
    if not changed:
        return
    kinds = ("added", "removed", "relabelled")
    table = _table("Rows", "manifest", "first", "second", *kinds)
    for part in changed:
        counts = (part.n_first, part.n_second, *(len(getattr(part, kind)) for kind in kinds))
        table.add_row(Text(part.manifest), *map(str, counts))
    yield table
    for kind in kinds:
        paths = list(dict.fromkeys(path for part in changed for path in getattr(part, kind)))
        if paths:
            more = f" and {len(paths) - _N_SHOWN} more" if len(paths) > _N_SHOWN else ""
            yield f"  {kind}: {', '.join(paths[:_N_SHOWN])}{more}"


def _scores(scores: ScoresDiff) -> Iterator[Table | str]:
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
        yield _flips(scores.flips)
    if scores.metrics:
        yield _metrics(scores.metrics)
    if scores.no_metrics:
        yield f"  no metrics: {scores.no_metrics}"


def _flips(flips: Sequence[Flip]) -> Table:
    table = _table(None, "flipped, worst first", "is", "first", "second", "now")
    for flip in flips[:_N_SHOWN]:
        probs = (number(flip.first_prob), number(flip.second_prob))
        right = "right" if flip.is_right_now else "wrong"
        now = f"{'flagged' if flip.second_label else 'not flagged'}, {right}"
        table.add_row(_cell(flip.filepath, end=True), _CLASSES[flip.target], *probs, now)
    _say_more(table, len(flips) - _N_SHOWN)
    return table


def _metrics(metrics: Sequence[MetricDiff]) -> Table:
    table = _table(None, "metric", "first", "second", "difference", "p", "Holm")
    tests: dict[str, list[str]] = {}
    for row in metrics:
        tests.setdefault(row.test, []).append(row.metric)
        gap = number(row.difference, signed=True)
        if row.low is not None and row.high is not None:
            gap += f" [{number(row.low, signed=True)}, {number(row.high, signed=True)}]"
        cells = (row.metric, number(row.first), number(row.second), gap)
        table.add_row(*map(Text, (*cells, p_value(row.p), p_value(row.p_holm))))
    lines = "\n".join(f"{', '.join(names)}: {test}" for test, names in tests.items() if test)
    table.caption, table.caption_justify = Text(lines), "left"
    return table


def _table(title: str | None, *headings: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    table.title, table.title_justify = (Text(title, style="bold") if title else None), "left"
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table


def _say_more(table: Table, n: int) -> None:
    if n > 0:
        table.caption, table.caption_justify = f"and {n} more (--json prints all)", "left"


def _cell(text: str | None, *, end: bool = False, most: int = 40) -> Text:
    if text is None:
        return Text(UNDEFINED, style="dim")
    if len(text) <= most:
        return Text(text)
    return Text(f"…{text[1 - most :]}" if end else f"{text[: most - 1]}…")
