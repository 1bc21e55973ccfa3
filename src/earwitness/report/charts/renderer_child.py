"""The process that draws charts: reads a JSON request a line, writes a byte, a length and content.

Conventions: it is run as a script, imports vl-convert only, and ends when its input ends. A chart
that makes vl-convert abort ends this process and not the command.
"""

from __future__ import annotations

import json
import signal
import sys

import vl_convert


def main() -> None:
    """Answer requests until there are no more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the command, which closes us
    for line in sys.stdin.buffer:
        request = json.loads(line)
        try:
            draw = getattr(vl_convert, f"vegalite_to_{request['format']}")
            drawn = draw(request["spec"], **request["options"])
            kind, content = b"+", drawn.encode() if isinstance(drawn, str) else drawn
        except ValueError as error:
            kind, content = b"-", str(error).encode(errors="replace")
        sys.stdout.buffer.write(kind + len(content).to_bytes(8, "big") + content)
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
