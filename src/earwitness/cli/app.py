"""The Typer application."""

from __future__ import annotations

import inspect
from typing import Annotated, Any

import typer
from rich.markup import escape
from typer.core import TyperCommand

from earwitness import __version__
from earwitness.cli import bench
from earwitness.cli.audit import audit
from earwitness.cli.demo import demo
from earwitness.cli.detectors import detectors, export
from earwitness.cli.evaluate import compare, evaluate
from earwitness.cli.images import classify, render
from earwitness.cli.listen import listen
from earwitness.cli.predict import predict
from earwitness.cli.splits import splits
from earwitness.cli.tables import plot, report, summarize
from earwitness.cli.train import train


class _Command(TyperCommand):
    """A command whose help shows every bracket: Rich takes ``[onnx]`` for a style and drops it."""

    def __init__(self, name: str | None, **more: Any) -> None:
        for parameter in more.get("params") or ():
            if getattr(parameter, "help", None):
                parameter.help = escape(parameter.help)
        for part in ("help", "short_help", "epilog"):
            if more.get(part):
                more[part] = escape(more[part])
        super().__init__(name, **more)


def _hyphens(option: str) -> str:
    """Accept ``--out_dir``, as the published scripts write it, for ``--out-dir``."""
    return option.replace("_", "-")


app = typer.Typer(
    name="earwitness",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"token_normalize_func": _hyphens, "help_option_names": ["-h", "--help"]},
    help=(
        "How far can a detector of AI-made music be trusted?\n\n"
        "Build balanced manifests from dataset folders (splits), check them for leakage (audit), "
        "score them (predict), and evaluate the scores (summarize, plot, evaluate, report). "
        "0 is real, 1 is fake; higher scores mean fake. Options may be written --like-this or "
        "--like_this."
    ),
)


def _print_version(asked: bool) -> None:
    if asked:
        print(f"earwitness {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    pass


def _reflowed(docstring: str | None) -> str:
    """Join the lines of each paragraph, so that the terminal breaks them where it ends."""
    paragraphs = inspect.cleandoc(docstring or "").split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


_COMMANDS = (
    *(splits, audit, predict, summarize, evaluate, compare, report, plot),
    *(render, train, classify, export, listen, detectors, demo),
)
for _command in _COMMANDS:
    app.command(cls=_Command, help=_reflowed(_command.__doc__))(_command)

_bench = typer.Typer(
    no_args_is_help=True,
    help="Run a whole benchmark from one file: init writes it, run executes it, diff compares "
    "two runs.",
)
for _part in (bench.init, bench.run, bench.diff):
    _bench.command(cls=_Command, help=_reflowed(_part.__doc__))(_part)
app.add_typer(_bench, name="bench")
