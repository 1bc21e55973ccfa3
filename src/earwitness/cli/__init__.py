"""The command line: thin, it parses, calls and prints.

Conventions: an option may be written ``--a-b`` or ``--a_b``; errors a user can cause end in one
line on stderr and exit 2; Ctrl-C exits 130; a bug ends in a traceback.
"""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

from earwitness.core.errors import EarwitnessError, StoppedError
from earwitness.core.files import refusal

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it."""


def main() -> None:
    """Run the command that ``sys.argv`` names."""
    _settle_streams()
    from earwitness.cli.app import app

    try:
        app(prog_name="earwitness")
    except EarwitnessError as error:
        print(f"earwitness: {error}", file=sys.stderr)
        sys.exit(INTERRUPTED if isinstance(error, StoppedError) else 2)
    except Exception as error:
        if (reason := refusal(error)) is None:
            raise
        where = getattr(error, "filename", None)
        print(f"earwitness: {f'{where}: ' if where else ''}{reason}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        _say_stopped()
        sys.exit(INTERRUPTED)
    except SystemExit as end:
        if end.code == INTERRUPTED:
            _say_stopped()
        raise


def _settle_streams() -> None:
    """Print to a closed stream nothing, and what an encoding lacks as question marks."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 - open to the end
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _say_stopped() -> None:
    print("earwitness: stopped; files that are there are whole", file=sys.stderr)
