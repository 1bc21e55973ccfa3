"""``earwitness datasets``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from earwitness.cli import console
from earwitness.cli.options import option, switch

if TYPE_CHECKING:
    from earwitness.datasets.catalog import Layout
    from earwitness.splits.dataset_check import Problem

_N_SHOWN = 5


def list_all(context: typer.Context) -> None:
    """List the datasets whose folders can be read, describe one (show), or check one (check).

    Any other folder is read as real/ and fake/<generator>/ (splits --folder).
    """
    if context.invoked_subcommand is not None:
        return
    from earwitness.datasets.catalog import LAYOUTS

    for name, layout in LAYOUTS.items():
        _print(name, layout, ("contains", "size", "licence"))


def show(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME", help="Names (default: all).")
    ] = None,
    *,
    markdown: Annotated[bool, switch("--markdown", "Print sections of a Markdown page.")] = False,
) -> None:
    """Describe datasets: content, layout, licence, size, how to get them, and known leaks."""
    from earwitness.datasets.catalog import LAYOUTS

    for name in names or LAYOUTS:
        if markdown:
            print(_section(name, LAYOUTS.load(name)))
        else:
            _print(name, LAYOUTS.load(name))


def check(
    name: Annotated[str, typer.Argument(help="Name of the dataset.")],
    path: Annotated[Path, typer.Argument(help="Its folder.")],
    *,
    names_only: Annotated[
        bool, switch("--names-only", "Do not open the audio files, only look for them.")
    ] = False,
    out: Annotated[Path | None, option("FILE", "Write every problem to a CSV.")] = None,
) -> None:
    """Say everything that is missing or broken in the folder of a dataset.

    Files are missing (listed, but not found), left out (found, but no item, with the reason), not
    named by the layout, or broken (cannot be decoded). The exit status is 1 if there are any.
    """
    import contextlib

    from earwitness.splits.dataset_check import check_dataset

    with contextlib.ExitStack() as stack:
        checked = check_dataset(
            name,
            path,
            probe=not names_only,
            on_start=lambda n: stack.enter_context(console.progress_bar("opening", n)),
        )
    frame = checked.catalog.frame
    n_fake = int((frame["target"] == 1).sum())
    counts = f"{frame.height - n_fake} real, {n_fake} fake"
    console.echo(f"{checked.catalog.source}: {frame.height} items ({counts})")
    for line in checked.catalog.looked_at:
        console.echo(f"  {line}")
    if out is not None:
        _write(checked.problems, out)
    if not checked.problems:
        console.echo("nothing is missing" + ("" if names_only else " or broken"))
        return
    _print_problems(checked.problems)
    raise typer.Exit(1)


def _print(name: str, layout: Layout, shown: tuple[str, ...] = ()) -> None:
    heading = Text(name, style="bold").append(
        f"  {layout.source} ({_classes(layout)})", style="not bold"
    )
    kept = [field for field in _fields(layout) if not shown or field[0] in shown]
    for line in [heading, *console.labelled_lines(kept, console.out.width), Text()]:
        console.out.print(line)


def _section(name: str, layout: Layout) -> str:
    """Return the Markdown section of a dataset."""
    rows = [
        f"- **{label}**: `{text}`" if label == "layout" else f"- **{label}**: {text}"
        for label, text in _fields(layout)
    ]
    return "\n".join([f"## {name}", f"{layout.source}: {_classes(layout)}.", "", *rows, ""])


def _classes(layout: Layout) -> str:
    words = (word for target, word in enumerate(("real", "fake")) if target in layout.classes)
    return " and ".join(words)


def _fields(layout: Layout) -> list[tuple[str, str]]:
    card = layout.card
    if card is None:
        return []
    return [
        ("contains", card.summary),
        ("layout", card.layout),
        ("licence", card.licence),
        ("size", card.size),
        ("get it", card.get),
        ("leaks", card.leaks),
        ("documentation", card.docs),
    ]


def _print_problems(problems: tuple[Problem, ...]) -> None:
    groups: dict[tuple[str, str], list[str]] = {}
    for problem in problems:
        groups.setdefault((problem.kind, problem.reason), []).append(problem.name)
    for (kind, reason), names in groups.items():
        more = ", … (--out FILE lists all)" if len(names) > _N_SHOWN else ""
        why = "" if kind == "missing" else f", {reason}"
        console.echo(f"{kind}{why}: {len(names)}: {', '.join(names[:_N_SHOWN])}{more}")


def _write(problems: tuple[Problem, ...], out: Path) -> None:
    import polars as pl

    from earwitness.core.io import write_text

    schema = {"kind": pl.String, "name": pl.String, "reason": pl.String}
    write_text(out, pl.DataFrame(problems, schema=schema, orient="row").write_csv())
