"""The command line: thin, it parses, calls and prints.

Conventions: an option may be written ``--a-b`` or ``--a_b``; errors a user can cause end in one
line on stderr and exit 2; Ctrl-C exits 130; a bug ends in a traceback.
"""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from typing import Any, NoReturn

from earwitness.core.errors import EarwitnessError, StoppedError, UsageError
from earwitness.core.io import refusal

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it."""

_STDERR = 2


def main() -> None:
    """Run the command that ``sys.argv`` names."""
    _use_utf8()
    _settle_streams()
    from earwitness.cli.app import app

    try:
        _check_paths(Path.cwd(), *sys.argv[1:])
        sys.exit(app(prog_name="earwitness", standalone_mode=False))
    except EarwitnessError as error:
        print(f"earwitness: {error}", file=sys.stderr)
        sys.exit(INTERRUPTED if isinstance(error, StoppedError) else 2)
    except Exception as error:
        if hasattr(error, "format_message"):  # a usage error of click, or of Typer's copy of it
            _refuse_usage(error)
        if (reason := refusal(error)) is None:
            raise
        # A copy that fails names its source first; what cannot be written is its target.
        where = getattr(error, "filename2", None) or getattr(error, "filename", None)
        print(f"earwitness: {f'{where}: ' if where else ''}{reason}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        _say_stopped()
        sys.exit(INTERRUPTED)
    except SystemExit as end:
        if end.code == INTERRUPTED:
            _say_stopped()
        raise


def _use_utf8() -> None:
    """Start again in Python's UTF-8 mode where a locale has file names in another encoding.

    Names in tables are UTF-8 and could else not be found on the disk, nor written to a table.
    """
    if sys.platform == "win32" or sys.getfilesystemencoding() == "utf-8":
        return
    environment = os.environ | {"PYTHONUTF8": "1"}
    if sys.stdout is not None:  # what is printed is still for this terminal
        environment.setdefault("PYTHONIOENCODING", sys.stdout.encoding)
    arguments = [sys.executable, "-X", "utf8", *sys.orig_argv[1:]]
    os.execve(sys.executable, arguments, environment)  # noqa: S606 - this very command


def _check_paths(*paths: str | Path) -> None:
    """Refuse paths that are no text: they could not be written to a table.

    Raises:
        UsageError: The name of one is not valid Unicode.
    """
    for path in map(str, paths):
        if not path.isascii() and any("\ud800" <= c <= "\udfff" for c in path):
            shown = path.encode(errors="replace").decode()
            raise UsageError(f"{shown}: its name is not valid Unicode, expected a path in UTF-8")


def _settle_streams() -> None:
    """Print to a closed stream nothing, and what an encoding lacks as question marks.

    The descriptor of a closed stream is taken, too: else the next file that is opened gets it, and
    what libraries and workers print there.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= _STDERR:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 - open to the end
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _refuse_usage(error: Any) -> NoReturn:
    """Print a usage error in one line; a command without arguments has printed its help."""
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "earwitness"
    message = str(error.format_message()).replace("Value error, ", "").strip().rstrip(".")
    if message:
        print(f"earwitness: {message} (see {command} --help)", file=sys.stderr)
    sys.exit(2)


def _say_stopped() -> None:
    print("earwitness: stopped; files that are there are whole", file=sys.stderr)
