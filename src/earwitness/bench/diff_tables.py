"""What changed between two runs, as short tables for the terminal.

Conventions: the second run is told against the first; a long list is cut, and how many more there
are is said; parts without a difference are a line.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from earwitness.bench.diff import FigureDiff, Flip, RowsDiff, RunDiff, ScoresDiff

N_SHOWN = 10
_N_LETTERS = 40
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
    for change in diff.changes[: 3 * N_SHOWN]:
        table.add_row(change.kind, *map(_cell, (change.name, change.first, change.second)))
    _say_more(table, len(diff.changes) - 3 * N_SHOWN)
    yield table


def _rows(rows: Sequence[RowsDiff]) -> Iterator[Table | str]:
    changed = [part for part in rows if not part.is_same]
    if rows and not changed:
        yield f"the same rows in {_count(len(rows), 'manifest')} that both have"
    if not changed:
        return
    table = _table("Rows", "manifest", "first", "second", "added", "removed", "relabelled")
    for part in changed:
        counts = (part.n_first, part.n_second, *map(len, _lists(part)))
        table.add_row(Text(part.manifest), *map(str, counts))
    yield table
    for what, paths in zip(("added", "removed", "relabelled"), _union(changed), strict=True):
        if paths:
            yield f"  {what}: {_listed(paths)}"


def _lists(part: RowsDiff) -> tuple[list[str], list[str], list[str]]:
    return part.added, part.removed, part.relabelled


def _union(rows: Sequence[RowsDiff]) -> list[list[str]]:
    """Return added, removed and relabelled files of all manifests, each file once."""
    return [
        list(dict.fromkeys(path for part in rows for path in _lists(part)[at])) for at in range(3)
    ]


def _scores(scores: ScoresDiff) -> Iterator[Table | str]:
    if scores.is_same and not scores.figures:
        yield f"{scores.detector}: the same scores on {_count(scores.n_common, 'item')}"
        return
    told = f"{scores.detector}: {scores.n_changed} of {scores.n_common} scores differ"
    if scores.largest is not None and scores.mean is not None:
        told += f", by {scores.mean:.3g} on average and {scores.largest:.3g} at most"
    told += f"; {_count(len(scores.flips), 'decision')} flipped"
    for n, which in ((scores.n_first_only, "first"), (scores.n_second_only, "second")):
        told += f"; {_count(n, 'item')} scored in the {which} alone" if n else ""
    yield told
    if scores.flips:
        yield _flips(scores.flips)
    if scores.figures:
        yield _figures(scores.figures)
    if scores.no_figures:
        yield f"  no figures: {scores.no_figures}"


def _flips(flips: Sequence[Flip]) -> Table:
    table = _table(None, "flipped, worst first", "is", "first", "second", "now")
    for flip in flips[:N_SHOWN]:
        probs = (_figure(flip.first_prob), _figure(flip.second_prob))
        verdict = "right" if flip.is_right_now else "wrong"
        now = f"{_CLASSES[flip.second_label]}, {verdict}"
        table.add_row(_cell(flip.filepath, end=True), _CLASSES[flip.target], *probs, now)
    _say_more(table, len(flips) - N_SHOWN)
    return table


def _figures(figures: Sequence[FigureDiff]) -> Table:
    table = _table(None, "figure", "first", "second", "difference", "p", "Holm")
    tests: dict[str, list[str]] = {}
    for figure in figures:
        tests.setdefault(figure.told, []).append(figure.metric)
        gap = _figure(figure.difference, sign="+")
        if figure.low is not None and figure.high is not None:
            gap += f" [{figure.low:+.3f}, {figure.high:+.3f}]"
        cells = (figure.metric, _figure(figure.first), _figure(figure.second), gap)
        table.add_row(*map(Text, (*cells, _chance(figure.p), _chance(figure.p_holm))))
    told = "\n".join(f"{', '.join(names)}: {test}" for test, names in tests.items() if test)
    table.caption, table.caption_justify = Text(told), "left"
    return table


def _table(title: str | None, *headings: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    table.title, table.title_justify = (Text(title, style="bold") if title else None), "left"
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table


def _say_more(table: Table, n: int) -> None:
    if n > 0:
        table.caption, table.caption_justify = f"and {n} more (--json tells all)", "left"


def _listed(paths: Sequence[str]) -> str:
    more = f" and {len(paths) - N_SHOWN} more" if len(paths) > N_SHOWN else ""
    return ", ".join(paths[:N_SHOWN]) + more


def _cell(text: str | None, *, end: bool = False) -> Text:
    if text is None:
        return Text("–", style="dim")
    if len(text) <= _N_LETTERS:
        return Text(text)
    return Text(f"…{text[1 - _N_LETTERS :]}" if end else f"{text[: _N_LETTERS - 1]}…")


def _count(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


def _figure(value: float | None, sign: str = "") -> str:
    return "–" if value is None else f"{value:{sign}.3f}"


def _chance(p: float | None) -> str:
    return "<0.001" if p is not None and p < 0.001 else _figure(p)
