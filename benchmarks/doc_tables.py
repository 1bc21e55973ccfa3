"""Tables of the documentation, printed by the benchmarks whose numbers they hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence


def markdown_lines(columns: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Yield the lines of a Markdown table of columns of equal length."""
    for cells in (columns, ["---"] * len(columns), *zip(*columns.values(), strict=True)):
        yield f"| {' | '.join(cells)} |"
