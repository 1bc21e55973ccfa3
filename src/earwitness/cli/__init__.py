"""The command line: thin, it parses, calls and prints.

Conventions: an option may be written ``--a-b`` or ``--a_b``; errors a user can cause end in one
line on stderr and exit 2; Ctrl-C exits 130; a bug ends in a traceback.
"""

from __future__ import annotations

import sys

from earwitness.core.errors import EarwitnessError


def main() -> None:
    """Run the command that ``sys.argv`` names."""
    from earwitness.cli.app import app

    try:
        app()
    except EarwitnessError as error:
        print(f"earwitness: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("earwitness: stopped", file=sys.stderr)
        sys.exit(130)
