"""``earwitness serve``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from earwitness.cli import console
from earwitness.cli.listen import open_detectors
from earwitness.cli.options import Weights, option, predict_option
from earwitness.core.errors import UsageError


def serve(
    *,
    detector: Annotated[
        list[str] | None,
        option("NAMES", "Detectors, as for listen (default: all with local weights)."),
    ] = None,
    weights: Weights = None,
    runs: Annotated[Path | None, option("DIR", "Folder of runs to show.")] = None,
    host: Annotated[
        str, option("HOST", "Address to listen on; others than loopback are open to the network.")
    ] = "127.0.0.1",
    public_name: Annotated[
        str | None,
        option("NAME", "Name of a proxy that passes requests on, as of a Hugging Face Space."),
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8765,
    keep: Annotated[
        Path | None,
        option("DIR", "Keep uploads there (default: delete them after an hour and at the end)."),
    ] = None,
    time_limit: Annotated[
        float,
        option("SECONDS", "Longest time to score a song; then it has an error.", min=1),
    ] = 600,
    device: Annotated[str, predict_option("device")] = "auto",
) -> None:
    """Serve a local web page that scores songs and shows runs.

    Drop songs on it to see findings, timelines with playback, and what changes do to the scores.
    Nothing leaves this machine. It ends with Ctrl-C, which deletes what was uploaded.
    """
    try:
        import python_multipart  # noqa: F401 - reads uploads
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise UsageError(
            f"serve: {error.name} is not installed, expected pip install 'earwitness[web]'"
        ) from error
    from earwitness.perturb.suites import load_suite
    from earwitness.web.security import is_loopback
    from earwitness.web.server import run_server

    if runs is not None and not runs.is_dir():
        raise UsageError(f"--runs {runs}: no such folder")
    if not is_loopback(host):
        warning = (
            f"listening on {host}, so everyone who reaches this machine can upload songs "
            "and see results; there is no password and no encryption"
        )
        console.err.print(f"warning: {warning}", markup=False)
    with console.err.status("opening detectors"):
        opened = open_detectors(
            detector, weights, preprocessing="correct", device=device, fake_label=None
        )
    run_server(
        opened,
        load_suite("quick"),
        host=host,
        public_name=public_name,
        port=port,
        runs=runs,
        keep=keep,
        time_limit_s=time_limit,
        on_start=lambda address: console.echo(f"open {address} (Ctrl-C ends it)"),
    )
