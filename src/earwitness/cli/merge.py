"""``earwitness merge``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from earwitness.cli import console
from earwitness.cli.options import switch


def merge(
    out: Annotated[Path, typer.Argument(help="Run folder to write, new or empty.")],
    shards: Annotated[
        list[Path], typer.Argument(help="Run folders of shards, or folders of such folders.")
    ],
    *,
    partial: Annotated[
        bool, switch("--partial", "Write the rows there are if shards are missing or unfinished.")
    ] = False,
) -> None:
    """Merge the run folders of shards (predict --shard) into what one run would have written.

    All shards must be of one run: the same detectors, weights, options and manifests, each row
    once. Missing shards are named with the command that makes them. The exit status is that of one
    run: 1 if every row failed.
    """
    from earwitness.scoring.merge import merge_shards

    merged = merge_shards(out, shards, partial=partial)
    console.remark(*map(str, merged.lacks))
    n_rows = sum(found.frame.height for found in merged.written.values())
    n_failed = sum(found.n_failed for found in merged.written.values())
    counts = f"{console.thousands(n_rows)} rows merged, {console.thousands(n_failed)} failed"
    console.out.print(counts)
    if n_rows and n_failed == n_rows and not merged.lacks:
        raise typer.Exit(1)
