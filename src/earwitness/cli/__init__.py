"""The command line.

Conventions: an option may be written ``--a-b`` or ``--a_b``. User errors are one line on stderr,
with exit status 2; that of Ctrl-C is 130; a bug ends in a traceback.
"""

from __future__ import annotations

import inspect
import io
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.markup import escape
from typer.core import TyperCommand

from earwitness import __version__
from earwitness.core.errors import EarwitnessError, StoppedError, UsageError
from earwitness.core.io import refusal
from earwitness.core.remote import redact

INTERRUPTED = 130
"""Exit status after Ctrl-C, by convention of shells."""


def main() -> None:
    """Run the command that ``sys.argv`` names."""
    _use_utf8()
    _settle_streams()
    try:
        _check_paths(Path.cwd(), *sys.argv[1:])
        sys.exit(make_app()(prog_name="earwitness", standalone_mode=False))
    except EarwitnessError as error:
        print(f"earwitness: {redact(str(error))}", file=sys.stderr)
        sys.exit(INTERRUPTED if isinstance(error, StoppedError) else 2)
    except Exception as error:
        if hasattr(error, "format_message"):  # a usage error of click, or of Typer's copy of it
            _refuse_usage(error)
        if (reason := refusal(error)) is None:
            raise
        # A copy that fails names its source first; what cannot be written is its target.
        where = getattr(error, "filename2", None) or getattr(error, "filename", None)
        print(f"earwitness: {redact(f'{where}: ') if where else ''}{reason}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        _say_stopped()
        sys.exit(INTERRUPTED)
    except SystemExit as end:
        if end.code == INTERRUPTED:
            _say_stopped()
        raise


def _use_utf8() -> None:
    """Restart in Python's UTF-8 mode if the locale has another encoding of file names.

    Paths in tables are UTF-8.
    """
    if sys.platform == "win32" or sys.getfilesystemencoding() == "utf-8":
        return
    environment = os.environ | {"PYTHONUTF8": "1"}
    if sys.stdout is not None:  # what is printed is still for this terminal
        environment.setdefault("PYTHONIOENCODING", sys.stdout.encoding)
    arguments = [sys.executable, "-X", "utf8", *sys.orig_argv[1:]]
    os.execve(sys.executable, arguments, environment)  # noqa: S606 - this very command


def _check_paths(*paths: str | Path) -> None:
    """Raise ``UsageError`` for paths that are not valid Unicode, which tables cannot contain."""
    for path in map(str, paths):
        if not path.isascii() and any("\ud800" <= c <= "\udfff" for c in path):
            shown = path.encode(errors="replace").decode()
            raise UsageError(f"{shown}: its name is not valid Unicode, expected a path in UTF-8")


def _settle_streams() -> None:
    """Replace closed streams by the null device; print unencodable characters as ``?``."""
    # Else the next file that is opened gets the descriptor, and what libraries print to it.
    stderr = 2
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= stderr:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 - open to the end
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _refuse_usage(error: Any) -> NoReturn:
    """Print a usage error, if any, and exit."""
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "earwitness"
    message = str(error.format_message()).replace("Value error, ", "").strip().rstrip(".")
    if message:
        print(f"earwitness: {message} (see {command} --help)", file=sys.stderr)
    sys.exit(2)


def _say_stopped() -> None:
    print("earwitness: stopped; no file is incomplete", file=sys.stderr)


class _Command(TyperCommand):
    """A command whose help is escaped: Rich takes ``[onnx]`` for a style."""

    def __init__(self, name: str | None, **more: Any) -> None:
        for parameter in more.get("params") or ():
            if getattr(parameter, "help", None):
                parameter.help = escape(parameter.help)
        for part in ("help", "short_help", "epilog"):
            if more.get(part):
                more[part] = escape(more[part])
        super().__init__(name, **more)


def _hyphens(option: str) -> str:
    """Return ``--out-dir`` for ``--out_dir``, as in the published scripts."""
    return option.replace("_", "-")


def _print_version(asked: bool) -> None:
    if asked:
        print(f"earwitness {__version__}")
        raise typer.Exit


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
    """Return a docstring without line breaks in paragraphs, for the terminal to wrap."""
    paragraphs = inspect.cleandoc(docstring or "").split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


def make_app() -> typer.Typer:
    """Return the Typer application with all commands."""
    from earwitness.cli import bench, datasets
    from earwitness.cli.audit import audit
    from earwitness.cli.convert import convert
    from earwitness.cli.detectors import detectors, export
    from earwitness.cli.dossier import dossier
    from earwitness.cli.drift import drift
    from earwitness.cli.evaluate import compare, evaluate, plot, report, summarize
    from earwitness.cli.images import classify, render
    from earwitness.cli.listen import listen
    from earwitness.cli.merge import merge
    from earwitness.cli.options import with_cache_options
    from earwitness.cli.perturb import perturb
    from earwitness.cli.predict import predict
    from earwitness.cli.serve import serve
    from earwitness.cli.splits import splits
    from earwitness.cli.status import status
    from earwitness.cli.stress import stress
    from earwitness.cli.train import train

    app = typer.Typer(
        name="earwitness",
        no_args_is_help=True,
        add_completion=True,
        pretty_exceptions_enable=False,
        context_settings={"token_normalize_func": _hyphens, "help_option_names": ["-h", "--help"]},
        help="How far can a detector of AI-generated music be trusted?\n\n"
        "Build balanced manifests from dataset folders (splits), check them for leakage (audit), "
        "score them (predict), and evaluate the scores (summarize, plot, evaluate, report). "
        "0 is real, 1 is fake; higher scores mean fake. Options may be written --like-this or "
        "--like_this.",
    )
    app.callback()(_common)
    commands: tuple[Callable[..., None], ...] = (
        *(splits, audit, perturb, predict, status, merge, stress),
        *(summarize, evaluate, compare, report, plot, convert),
        *(render, train, classify, export, listen, dossier, serve, detectors, drift, bench.demo),
    )
    readers = (splits, audit, perturb, predict, stress, render, train, listen)
    for command in commands:
        run = with_cache_options(command) if command in readers else command
        app.command(cls=_Command, help=_reflowed(command.__doc__))(run)
    benchmark = typer.Typer(
        no_args_is_help=True,
        help="Run a whole benchmark from one file: init writes it, run executes it, diff compares "
        "two runs.",
    )
    for command in (bench.init, bench.run, bench.diff):
        benchmark.command(cls=_Command, help=_reflowed(command.__doc__))(command)
    app.add_typer(benchmark, name="bench")
    layouts = typer.Typer(invoke_without_command=True, help=_reflowed(datasets.list_all.__doc__))
    layouts.callback()(datasets.list_all)
    for command in (datasets.show, datasets.check):
        layouts.command(cls=_Command, help=_reflowed(command.__doc__))(command)
    app.add_typer(layouts, name="datasets")
    return app
