"""``earwitness status``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from earwitness.cli import console
from earwitness.cli.options import option


def status(
    out: Annotated[
        Path, typer.Argument(help="Run folder, folder of shards, or --out of audit or render.")
    ],
    *,
    seconds: Annotated[
        float, option("SECONDS", "Time over which the rate is measured; 0 leaves it out.", min=0)
    ] = 5.0,
) -> None:
    """Show the finished and failed rows or files of shards and runs, the rate, and the time left.

    It may still be running, on this machine or on others.
    """
    from earwitness.scoring.status import rate_between, read_progress

    began, before = time.monotonic(), read_progress(out)
    after, rate = before, 0.0
    if seconds and any(part.n_done < part.n_rows for part in before):
        time.sleep(seconds)
        after = read_progress(out)
        rate = rate_between(before, after, time.monotonic() - began)
    for part in after:
        console.echo(
            f"{part.name}: {_of(part.n_done, part.n_rows)} {part.unit} done, "
            f"{console.thousands(part.n_failed)} failed"
        )
    n_done, n_rows = sum(part.n_done for part in after), sum(part.n_rows for part in after)
    n_complete = sum(part.n_done == part.n_rows for part in after)
    unit = after[0].unit
    line = f"{n_complete} of {len(after)} complete, {_of(n_done, n_rows)} {unit} done"
    if rate > 0:
        line += f", {rate:.2g} {unit}/s, {_duration((n_rows - n_done) / rate)} left"
    elif seconds and n_done < n_rows:
        line += f", none in the last {seconds:g} s"
    console.echo(line)


def _of(n: int, total: int) -> str:
    return f"{console.thousands(n)} of {console.thousands(total)}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}"
